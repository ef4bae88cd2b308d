// SPDX-License-Identifier: BSD-2-Clause
// The ACPI tables of a hardware-reduced machine: RSDP, XSDT, FADT, MADT, DSDT. A pure function.
//
// Hardware-reduced, because there is no power management hardware to emulate: sleep and reset are
// three ports (lib/devices, AcpiPm), and Linux, finding the flag, leaves 8259 and PIT alone and
// asks nothing of a PM timer. What it needs in their place is CPUID's TSC-deadline timer and
// kvm-clock.
#pragma once

#include <expected>
#include <vector>

#include <pvh/vmm/machine_description.hpp>

namespace pvh::vmm {

// The RSDP first, at description.rsdp; then the others, in description.acpi_room, in ascending
// order of address. Up to 4096 CPUs; 255 of them need less than 12 KiB.
[[nodiscard]] std::expected<std::vector<Table>, TableFault> build_acpi(
    const MachineDescription& description);

}  // namespace pvh::vmm
