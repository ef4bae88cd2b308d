// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/abi/acpi.hpp>

#include "internal/acpi_bytes.hpp"
#include "internal/madt.hpp"

namespace pvh::guest {
namespace {

// What the first two bytes of every entry say.
struct EntryStart {
  std::uint8_t type;
  std::uint8_t length;
};

// Of the MADT. Before it, a processor that is not enabled may always appear later.
constexpr std::uint8_t kRevisionWithOnlineCapable = 5;
// Addresses of all processors, so of none.
constexpr std::uint8_t kNoApicId = 0xff;
constexpr std::uint32_t kNoX2ApicId = 0xffffffff;

}  // namespace

namespace acpi {

MadtWalk::MadtWalk(Machine& machine, const Rsdp& rsdp, Diagnostics& diagnostics)
    : machine_(&machine) {
  const auto table = find_acpi_table(machine, rsdp, "APIC", diagnostics);
  const auto madt = table ? read_prefix<abi::acpi_table_madt>(machine, table->range) : std::nullopt;
  if (madt) {
    table_ = table->range.first();
    at_ = sizeof(abi::acpi_table_madt);
    size_ = table->range.size().value();
    tells_online_capable_ = madt->header.revision >= kRevisionWithOnlineCapable;
  }
}

std::optional<Processor> MadtWalk::next() {
  while (at_ < size_) {
    const base::PhysAddr address(table_.value() + at_);
    const std::uint64_t rest = size_ - at_;
    const auto start =
        rest < sizeof(EntryStart) ? std::nullopt : read_struct<EntryStart>(*machine_, address);
    // Where the next one begins is not known.
    if (!start || start->length < sizeof(EntryStart) || start->length > rest) {
      at_ = size_;
      return std::nullopt;
    }
    at_ += start->length;

    Processor processor;
    std::uint32_t flags = 0;
    if (start->type == abi::ACPI_MADT_TYPE_LOCAL_APIC &&
        start->length >= sizeof(abi::acpi_madt_local_apic)) {
      const auto entry = read_struct<abi::acpi_madt_local_apic>(*machine_, address);
      if (!entry || entry->id == kNoApicId) {
        continue;
      }
      processor = {.apic_id = entry->id, .uid = entry->processor_id};
      flags = entry->lapic_flags.get();
    } else if (start->type == abi::ACPI_MADT_TYPE_LOCAL_X2APIC &&
               start->length >= sizeof(abi::acpi_madt_local_x2apic)) {
      const auto entry = read_struct<abi::acpi_madt_local_x2apic>(*machine_, address);
      if (!entry || entry->local_apic_id.get() == kNoX2ApicId) {
        continue;
      }
      processor = {.apic_id = entry->local_apic_id.get(), .uid = entry->uid.get()};
      flags = entry->lapic_flags.get();
    } else {
      continue;
    }
    processor.enabled = (flags & abi::ACPI_MADT_ENABLED) != 0;
    const bool may_appear = !tells_online_capable_ || (flags & abi::ACPI_MADT_ONLINE_CAPABLE) != 0;
    if (processor.enabled || may_appear) {
      return processor;
    }
  }
  return std::nullopt;
}

}  // namespace acpi

Processors acpi_processors(Machine& machine, const Rsdp& rsdp, std::span<Processor> out,
                           Diagnostics& diagnostics) {
  acpi::ProcessorList list(out);
  acpi::MadtWalk walk(machine, rsdp, diagnostics);
  while (const auto processor = walk.next()) {
    list.add(*processor);
  }
  return list.result();
}

}  // namespace pvh::guest
