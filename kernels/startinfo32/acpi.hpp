// SPDX-License-Identifier: BSD-2-Clause
// As much of ACPI as it takes to switch a machine off or to reset it (ACPI 6.5, section 4.8.3 and
// chapter 5).
#pragma once

#include <stdint.h>

namespace pvh::kernels::acpi {

// False when the tables do not say how. After true it may take the machine a while. `rsdp` 0 is an
// absent one.
bool power_off(uint64_t rsdp);
bool reset(uint64_t rsdp);

}  // namespace pvh::kernels::acpi
