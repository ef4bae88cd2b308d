// SPDX-License-Identifier: BSD-2-Clause
// The end.
#pragma once

#include "bsd-walk/acpi.hpp"

namespace pvh::kernels::bsd {

// To the debug exit, 0x10 or 0x11, if there is the word debug-exit; else, and where nobody listens
// there, as FreeBSD's shutdown -p: acpi_shutdown_final(), and then cpu_reset().
[[noreturn]] void finish(const Acpi& acpi, const Environment& environment, bool conforming);

}  // namespace pvh::kernels::bsd
