// SPDX-License-Identifier: BSD-2-Clause
#include "lib/guest/testing/acpi_builder.hpp"

#include <algorithm>
#include <span>

namespace pvh::guest::testing {
namespace {

std::byte checksum_of(base::Bytes bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) {
    sum += std::to_integer<unsigned>(byte);
  }
  return static_cast<std::byte>((0x100 - sum % 0x100) % 0x100);
}

}  // namespace

AcpiBytes acpi_table(std::string_view signature, const AcpiBytes& body, std::uint8_t revision) {
  abi::acpi_table_header header{};
  std::ranges::copy(signature.substr(0, 4), header.signature.begin());
  header.length = base::Le32(static_cast<std::uint32_t>(sizeof(header) + body.size()));
  header.revision = revision;
  AcpiBytes table;
  append(table, header);
  table.insert(table.end(), body.begin(), body.end());
  table[offsetof(abi::acpi_table_header, checksum)] = checksum_of(table);
  return table;
}

AcpiBytes acpi_fadt(const abi::acpi_table_fadt& fadt, std::size_t size) {
  const auto bytes = base::to_bytes(fadt);
  const auto body = std::span(bytes).first(size).subspan(sizeof(abi::acpi_table_header));
  return acpi_table("FACP", AcpiBytes(body.begin(), body.end()), 6);
}

AcpiBytes acpi_dsdt(std::string_view aml) {
  const auto bytes = std::as_bytes(std::span(aml));
  return acpi_table("DSDT", AcpiBytes(bytes.begin(), bytes.end()), 2);
}

AcpiBytes acpi_xsdt(const std::vector<std::uint64_t>& tables) {
  AcpiBytes body;
  for (const std::uint64_t table : tables) {
    append(body, base::Le64(table));
  }
  return acpi_table("XSDT", body);
}

AcpiBytes acpi_rsdt(const std::vector<std::uint32_t>& tables) {
  AcpiBytes body;
  for (const std::uint32_t table : tables) {
    append(body, base::Le32(table));
  }
  return acpi_table("RSDT", body);
}

AcpiBytes acpi_rsdp(std::uint32_t rsdt, std::uint64_t xsdt) {
  AcpiBytes bytes;
  append(bytes, abi::acpi_table_rsdp{
                    .signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
                    .checksum = 0,
                    .oem_id = {'T', 'E', 'S', 'T', ' ', ' '},
                    .revision = static_cast<std::uint8_t>(xsdt == 0 ? 0 : 2),
                    .rsdt_physical_address = base::Le32(rsdt),
                    .length = base::Le32(sizeof(abi::acpi_table_rsdp)),
                    .xsdt_physical_address = base::Le64(xsdt),
                    .extended_checksum = 0,
                    .reserved = {},
                });
  bytes[offsetof(abi::acpi_table_rsdp, checksum)] =
      checksum_of(base::Bytes(bytes).first(abi::kRsdpSizeV1));
  if (xsdt == 0) {
    bytes.resize(abi::kRsdpSizeV1);
  } else {
    bytes[offsetof(abi::acpi_table_rsdp, extended_checksum)] = checksum_of(bytes);
  }
  return bytes;
}

abi::acpi_madt_local_apic local_apic(std::uint8_t uid, std::uint8_t id, std::uint32_t flags) {
  return {.type = abi::ACPI_MADT_TYPE_LOCAL_APIC,
          .length = sizeof(abi::acpi_madt_local_apic),
          .processor_id = uid,
          .id = id,
          .lapic_flags = base::Le32(flags)};
}

abi::acpi_madt_local_x2apic local_x2apic(std::uint32_t uid, std::uint32_t id, std::uint32_t flags) {
  return {.type = abi::ACPI_MADT_TYPE_LOCAL_X2APIC,
          .length = sizeof(abi::acpi_madt_local_x2apic),
          .reserved = {},
          .local_apic_id = base::Le32(id),
          .lapic_flags = base::Le32(flags),
          .uid = base::Le32(uid)};
}

}  // namespace pvh::guest::testing
