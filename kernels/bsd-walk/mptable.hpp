// SPDX-License-Identifier: BSD-2-Clause
// sys/x86/x86/mptable.c: how processors and interrupts are found without ACPI.
#pragma once

#include <cstdint>

#include "bsd-walk/boot.hpp"

namespace pvh::kernels::bsd {

// `needed`: nothing else describes the machine. Gives the inputs of the I/O APICs.
std::uint32_t walk_mp_table(std::uint32_t base_memory, const Environment& environment, bool needed);

}  // namespace pvh::kernels::bsd
