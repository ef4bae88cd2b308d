// SPDX-License-Identifier: BSD-2-Clause
// What ACPI's readers share: sums, tables at an address, and structures that a table may have only
// the first part of.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/acpi.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest::acpi {

// Of all bytes, modulo 256.
[[nodiscard]] std::uint8_t sum_of(base::Bytes bytes);
// Nothing when not all of it can be read.
[[nodiscard]] std::optional<std::uint8_t> sum_of(Machine& machine, base::Range range);

// What may be a table: readable, and of a length that a table can have.
[[nodiscard]] std::optional<AcpiTable> read_table(Machine& machine, base::PhysAddr address);

template <base::Wire T>
[[nodiscard]] std::optional<T> read_struct(Machine& machine, base::PhysAddr address) {
  std::array<std::byte, sizeof(T)> bytes;
  return machine.read(address, bytes) ? std::optional(std::bit_cast<T>(bytes)) : std::nullopt;
}

// What lies behind the table's end is zeros.
template <base::Wire T>
[[nodiscard]] std::optional<T> read_prefix(Machine& machine, base::Range table) {
  std::array<std::byte, sizeof(T)> bytes{};
  const auto size =
      static_cast<std::size_t>(std::min<std::uint64_t>(table.size().value(), sizeof(T)));
  return machine.read(table.first(), base::MutableBytes(bytes).first(size))
             ? std::optional(std::bit_cast<T>(bytes))
             : std::nullopt;
}

}  // namespace pvh::guest::acpi
