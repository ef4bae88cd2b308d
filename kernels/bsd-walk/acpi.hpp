// SPDX-License-Identifier: BSD-2-Clause
// sys/x86/acpica: the tables, as they are found before there is an interpreter, and what the MADT
// says of processors and interrupts.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <pvh/abi/acpi.hpp>

#include "bsd-walk/boot.hpp"

namespace pvh::kernels::bsd {

struct Acpi {
  bool root = false;  // there is one
  bool madt = false;  // and it describes the processors, so that no MP table is needed
  std::optional<abi::acpi_table_fadt> fadt;
  std::string_view dsdt;     // its bytes, behind the header
  std::uint32_t inputs = 0;  // of the I/O APICs together
};

Acpi walk_acpi(const Boot& boot, const Environment& environment);

// What all that names one wants to know: its number of inputs, or 0 when no I/O APIC answers there.
std::uint32_t io_apic_inputs(std::uint64_t address);

// Bytes of which the sum is 0.
bool sums_to_zero(std::uint64_t address, std::uint64_t size);

}  // namespace pvh::kernels::bsd
