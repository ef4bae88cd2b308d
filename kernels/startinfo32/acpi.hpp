// SPDX-License-Identifier: BSD-2-Clause
// As much of ACPI as it takes to switch a machine off or to reset it (ACPI 6.5, section 4.8.3 and
// chapter 5).
#pragma once

#include <stdint.h>

namespace pvh::kernels::acpi {

// Both return only when the tables do not say how, or when the machine did not obey. `rsdp` 0 is an
// absent one.
void power_off(uint64_t rsdp);
void reset(uint64_t rsdp);

}  // namespace pvh::kernels::acpi
