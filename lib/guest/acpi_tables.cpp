// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <pvh/abi/acpi.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/guest/acpi.hpp>

#include "internal/acpi_bytes.hpp"

namespace pvh::guest {
namespace {

constexpr std::array<char, 4> kXsdt{'X', 'S', 'D', 'T'};
constexpr std::array<char, 4> kRsdt{'R', 'S', 'D', 'T'};
constexpr std::array<char, 4> kFadt{'F', 'A', 'C', 'P'};

void tell(Diagnostics& diagnostics, std::array<char, 4> signature, base::PhysAddr address) {
  diagnostics.add(DiagnosticKind::kAcpiTableBad, address.value(),
                  std::bit_cast<std::uint32_t>(signature));
}

std::array<char, 4> signature_at(Machine& machine, base::PhysAddr address) {
  return acpi::read_struct<std::array<char, 4>>(machine, address).value_or(std::array<char, 4>{});
}

// Notes ranges in `out`, fewer where they are neighbours.
class RangeList {
 public:
  explicit RangeList(std::span<base::Range> out) : out_(out) {}

  void add(base::Range range) {
    for (base::Range& each : out_.first(used_)) {
      if (page_of(range.first()) <= page_of(each.last()) + 1 &&
          page_of(each.first()) <= page_of(range.last()) + 1) {
        each = *base::Range::from_last(std::min(each.first(), range.first()),
                                       std::max(each.last(), range.last()));
        return;
      }
    }
    ++needed_;
    if (used_ < out_.size()) {
      out_[used_++] = range;
    }
  }
  [[nodiscard]] AcpiRanges result() const { return {out_.first(used_), needed_}; }

 private:
  static std::uint64_t page_of(base::PhysAddr address) {
    return address.value() / base::kPageSize.value();
  }

  std::span<base::Range> out_;
  std::size_t used_ = 0;
  std::size_t needed_ = 0;
};

// What the FADT points to. The 32-bit and the 64-bit field may differ, and who reads which is not
// ours to say.
void add_what_fadt_has(Machine& machine, base::Range table, RangeList& list,
                       Diagnostics& diagnostics) {
  const auto fadt = acpi::read_prefix<abi::acpi_table_fadt>(machine, table);
  if (!fadt) {
    return;
  }
  for (const std::uint64_t value : {std::uint64_t{fadt->dsdt.get()}, fadt->Xdsdt.get(),
                                    std::uint64_t{fadt->facs.get()}, fadt->Xfacs.get()}) {
    if (value == 0) {
      continue;
    }
    const base::PhysAddr address(value);
    // The FACS, too, has its length where a table has it.
    if (const auto pointed = acpi::read_table(machine, address)) {
      list.add(pointed->range);
    } else {
      tell(diagnostics, signature_at(machine, address), address);
    }
  }
}

}  // namespace

namespace acpi {

std::uint8_t sum_of(base::Bytes bytes) {
  // Eight at a time, in four lanes whose upper halves are thrown away before they can run over.
  constexpr std::uint64_t kLanes = 0x00ff00ff00ff00ff;
  std::uint64_t lanes = 0;
  while (bytes.size() >= sizeof(lanes)) {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, bytes.data(), sizeof(word));
    lanes = ((lanes & kLanes) + (word & kLanes)) + (word >> 8 & kLanes);
    bytes = bytes.subspan(sizeof(word));
  }
  std::uint64_t sum = lanes + (lanes >> 16) + (lanes >> 32) + (lanes >> 48);
  for (const std::byte byte : bytes) {
    sum += std::to_integer<std::uint64_t>(byte);
  }
  return static_cast<std::uint8_t>(sum & 0xff);
}

std::optional<std::uint8_t> sum_of(Machine& machine, base::Range range) {
  if (const auto bytes = machine.view(range)) {
    return sum_of(*bytes);
  }
  std::array<std::byte, 256> buffer;
  unsigned sum = 0;
  const std::uint64_t size = range.size().value();
  for (std::uint64_t done = 0; done < size;) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(size - done, buffer.size()));
    const auto bytes = base::MutableBytes(buffer).first(part);
    if (!machine.read(base::PhysAddr(range.first().value() + done), bytes)) {
      return std::nullopt;
    }
    sum += sum_of(bytes);
    done += part;
  }
  return static_cast<std::uint8_t>(sum & 0xff);
}

std::optional<AcpiTable> read_table(Machine& machine, base::PhysAddr address) {
  // As far as every table has it; the FACS has no more.
  struct Start {
    std::array<char, 4> signature;
    base::Le32 length;
  };
  const auto start = read_struct<Start>(machine, address);
  if (!start) {
    return std::nullopt;
  }
  const std::uint32_t length = start->length.get();
  const auto range = base::Range::from_size(address, base::ByteSize(length));
  if (!range || length < sizeof(abi::acpi_table_header) || length > kLongestAcpiTable) {
    return std::nullopt;
  }
  const auto sum = sum_of(machine, *range);
  if (!sum) {
    return std::nullopt;
  }
  return AcpiTable{.signature = start->signature, .range = *range, .right = *sum == 0};
}

}  // namespace acpi

AcpiTables::AcpiTables(Machine& machine, const Rsdp& rsdp, Diagnostics& diagnostics)
    : machine_(&machine),
      diagnostics_(&diagnostics),
      root_(acpi::read_table(machine, rsdp.root)),
      entry_size_(rsdp.root_is_xsdt ? sizeof(base::Le64) : sizeof(base::Le32)) {
  // Its name is not looked at, as Linux does not either: the RSDP says what it is, and Xen 4.17
  // gives a dom0's XSDT none when the host has only an RSDT.
  if (!root_ || !root_->right) {
    tell(diagnostics, rsdp.root_is_xsdt ? kXsdt : kRsdt, rsdp.root);
  }
  if (root_) {
    const std::uint64_t entries =
        (root_->range.size().value() - sizeof(abi::acpi_table_header)) / entry_size_;
    count_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(entries, kMostAcpiTables));
  }
}

std::optional<AcpiTable> AcpiTables::next_listed() {
  while (index_ < count_) {
    const std::uint64_t offset =
        sizeof(abi::acpi_table_header) + std::uint64_t{index_} * entry_size_;
    ++index_;
    // An RSDT's entry is the lower half of what an XSDT's would be.
    std::array<std::byte, sizeof(base::Le64)> bytes{};
    if (!machine_->read(base::PhysAddr(root_->range.first().value() + offset),
                        base::MutableBytes(bytes).first(entry_size_))) {
      return std::nullopt;
    }
    const base::PhysAddr address(std::bit_cast<base::Le64>(bytes).get());
    if (address == base::PhysAddr(0)) {
      continue;
    }
    const auto table = acpi::read_table(*machine_, address);
    if (!table || !table->right) {
      tell(*diagnostics_, table ? table->signature : signature_at(*machine_, address), address);
    }
    if (table) {
      return table;
    }
  }
  return std::nullopt;
}

std::optional<AcpiTable> AcpiTables::next() {
  if (!root_ || !root_->right) {
    return std::nullopt;
  }
  while (const auto table = next_listed()) {
    if (table->right) {
      return table;
    }
  }
  return std::nullopt;
}

std::optional<AcpiTable> find_acpi_table(Machine& machine, const Rsdp& rsdp,
                                         std::string_view signature, Diagnostics& diagnostics) {
  AcpiTables tables(machine, rsdp, diagnostics);
  while (const auto table = tables.next()) {
    if (std::string_view(table->signature.data(), table->signature.size()) == signature) {
      return table;
    }
  }
  return std::nullopt;
}

AcpiRanges acpi_ranges(Machine& machine, const Rsdp& rsdp, std::span<base::Range> out,
                       Diagnostics& diagnostics) {
  RangeList list(out);
  if (const auto range = base::Range::from_size(rsdp.address, rsdp.size())) {
    list.add(*range);
  }
  AcpiTables tables(machine, rsdp, diagnostics);
  if (tables.root()) {
    list.add(tables.root()->range);
  }
  while (const auto table = tables.next_listed()) {
    list.add(table->range);
    if (table->signature == kFadt) {
      add_what_fadt_has(machine, table->range, list, diagnostics);
    }
  }
  return list.result();
}

}  // namespace pvh::guest
