// SPDX-License-Identifier: BSD-2-Clause
// sys/amd64/amd64/machdep.c: the map, as FreeBSD makes its own of it.
#pragma once

#include <cstdint>

#include "bsd-walk/boot.hpp"

namespace pvh::kernels::bsd {

// getmemsize(), and what is done with the memory behind physfree. Gives basemem, in KiB.
std::uint32_t build_physmap(const Boot& boot, const Environment& environment);

}  // namespace pvh::kernels::bsd
