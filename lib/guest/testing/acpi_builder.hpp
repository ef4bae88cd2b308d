// SPDX-License-Identifier: BSD-2-Clause
// ACPI tables in a FakeMachine, with right lengths and checksums.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/abi/acpi.hpp>
#include <pvh/guest/acpi.hpp>

#include "lib/guest/testing/fake_machine.hpp"

namespace pvh::guest::testing {

using AcpiBytes = std::vector<std::byte>;

template <base::Wire T>
void append(AcpiBytes& to, const T& value) {
  const auto bytes = base::to_bytes(value);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// A table of this body behind its header.
[[nodiscard]] AcpiBytes acpi_table(std::string_view signature, const AcpiBytes& body,
                                   std::uint8_t revision = 1);
// The FADT's first `size` bytes; its header is made here.
[[nodiscard]] AcpiBytes acpi_fadt(const abi::acpi_table_fadt& fadt,
                                  std::size_t size = sizeof(abi::acpi_table_fadt));
// Definition blocks, whose body is `aml`.
[[nodiscard]] AcpiBytes acpi_dsdt(std::string_view aml);
[[nodiscard]] AcpiBytes acpi_xsdt(const std::vector<std::uint64_t>& tables);
[[nodiscard]] AcpiBytes acpi_rsdt(const std::vector<std::uint32_t>& tables);
// 36 bytes of revision 2, or 20 of revision 0 when there is no XSDT.
[[nodiscard]] AcpiBytes acpi_rsdp(std::uint32_t rsdt, std::uint64_t xsdt);

[[nodiscard]] abi::acpi_madt_local_apic local_apic(std::uint8_t uid, std::uint8_t id,
                                                   std::uint32_t flags = abi::ACPI_MADT_ENABLED);
[[nodiscard]] abi::acpi_madt_local_x2apic local_x2apic(
    std::uint32_t uid, std::uint32_t id, std::uint32_t flags = abi::ACPI_MADT_ENABLED);

}  // namespace pvh::guest::testing
