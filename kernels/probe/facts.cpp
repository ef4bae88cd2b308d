// SPDX-License-Identifier: BSD-2-Clause
#include "probe/facts.hpp"

#include "common/checksum.hpp"

extern "C" {
extern const char pvh_image_start[];
extern const char pvh_image_end[];
}

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

template <typename T>
std::optional<T> read(guest::Machine& machine, base::PhysAddr address) {
  std::array<std::byte, sizeof(T)> bytes;
  if (!machine.read(address, bytes)) {
    return std::nullopt;
  }
  return base::read_at<T>(bytes, 0);
}

// Element `index` of an array at `list`; nothing when the list is absent or the address wraps.
template <typename T>
std::optional<T> read_element(guest::Machine& machine, std::uint64_t list, std::uint32_t index) {
  const auto address =
      base::PhysAddr(list).checked_add(base::ByteSize(std::uint64_t{index} * sizeof(T)));
  return list != 0 && address ? read<T>(machine, *address) : std::nullopt;
}

// RAM alone: to read a device's registers may do something, and what the firmware owns may change.
bool holds_still(const guest::Boot& boot, base::Range range) {
  return coverage(boot.raw_memory_map(), range).all_ram;
}

}  // namespace

std::optional<base::Range> range_of(const memory_map::RawEntry& entry) {
  return base::Range::from_size(base::PhysAddr(entry.addr), base::ByteSize(entry.size));
}

Coverage coverage(std::span<const memory_map::RawEntry> map, base::Range range) {
  Coverage result;
  result.none = true;
  for (const memory_map::RawEntry& entry : map) {
    const auto entry_range = range_of(entry);
    if (entry_range && entry_range->overlaps(range)) {
      result.none = false;
      result.some_other |= entry.type != abi::XEN_HVM_MEMMAP_TYPE_RAM;
    }
  }
  // Entries come in any order, so from each byte that is reached on to the next that is not: at
  // most as many steps as there are entries.
  base::PhysAddr at = range.first();
  for (std::size_t step = 0; step <= map.size() && !result.all_ram; ++step) {
    for (const memory_map::RawEntry& entry : map) {
      const auto entry_range = range_of(entry);
      if (entry.type != abi::XEN_HVM_MEMMAP_TYPE_RAM || !entry_range ||
          !entry_range->contains(at)) {
        continue;
      }
      if (entry_range->last() >= range.last()) {
        result.all_ram = !result.some_other;
        return result;
      }
      at = *entry_range->end();
      break;
    }
  }
  return result;
}

Facts::Facts(guest::Boot& boot) : boot_(&boot) {
  const std::uint64_t address = boot.start_info().address.value();
  std::array<std::byte, sizeof(abi::hvm_start_info)> bytes{};
  base::MutableBytes all(bytes);
  // What follows a version 0 is somebody else's.
  if (machine().read(base::PhysAddr(address), all.first(abi::kStartInfoSizeV0))) {
    info_ = *base::read_at<abi::hvm_start_info>(bytes, 0);
  }
  if (has_map_fields() && machine().read(base::PhysAddr(address), all)) {
    info_ = *base::read_at<abi::hvm_start_info>(bytes, 0);
  }
  const std::uint64_t size = has_map_fields() ? abi::kStartInfoSizeV1 : abi::kStartInfoSizeV0;

  add("image"sv, image().first().value(), image().size().value(), false);
  pieces_[0].sum.reset();  // its variables change
  add("start_info"sv, address, size);
  if (has_map_fields()) {
    add("memory-map"sv, info_.memmap_paddr.get(),
        std::uint64_t{info_.memmap_entries.get()} * sizeof(abi::hvm_memmap_table_entry));
  }
  add_string("command-line"sv, info_.cmdline_paddr.get());
  add_modules();
  add_acpi();
}

base::Range Facts::image() const {
  const auto range =
      base::Range::from_end(base::PhysAddr(reinterpret_cast<std::uintptr_t>(pvh_image_start)),
                            base::PhysAddr(reinterpret_cast<std::uintptr_t>(pvh_image_end)));
  return *range;
}

std::optional<abi::hvm_modlist_entry> Facts::module(std::uint32_t index) const {
  return read_element<abi::hvm_modlist_entry>(machine(), info_.modlist_paddr.get(), index);
}

std::optional<abi::hvm_memmap_table_entry> Facts::map_entry(std::uint32_t index) const {
  return read_element<abi::hvm_memmap_table_entry>(machine(), info_.memmap_paddr.get(), index);
}

std::optional<std::uint64_t> Facts::string_length(base::PhysAddr address) const {
  for (std::uint64_t length = 0; length < guest::kLongestString; ++length) {
    const auto at = address.checked_add(base::ByteSize(length));
    const auto byte = at ? read<std::uint8_t>(machine(), *at) : std::nullopt;
    if (!byte) {
      return std::nullopt;
    }
    if (*byte == 0) {
      return length;
    }
  }
  return std::nullopt;
}

void Facts::add(std::string_view name, std::uint64_t address, std::uint64_t size, bool is_boot_data,
                std::uint32_t index) {
  const auto range = base::Range::from_size(base::PhysAddr(address), base::ByteSize(size));
  if (address == 0 || !range || count_ == kMostPieces) {
    return;
  }
  Piece& piece = pieces_[count_++];
  piece = {name, index, *range, is_boot_data, std::nullopt};
  if (holds_still(*boot_, *range)) {
    piece.sum = checksum(machine(), *range);
  }
}

void Facts::add_string(std::string_view name, std::uint64_t address, std::uint32_t index) {
  const auto length =
      address != 0 ? string_length(base::PhysAddr(address)) : std::optional<std::uint64_t>();
  if (length) {
    add(name, address, *length + 1, true, index);
  }
}

void Facts::add_modules() {
  const std::uint32_t count = info_.nr_modules.get();
  add("module-list"sv, count == 0 ? 0 : info_.modlist_paddr.get(),
      std::uint64_t{count} * sizeof(abi::hvm_modlist_entry));
  for (std::uint32_t i = 0; i < count && i < kMostModulesLookedAt; ++i) {
    if (const auto entry = module(i)) {
      add("module"sv, entry->paddr.get(), entry->size.get(), false, i);
      add_string("module-text"sv, entry->cmdline_paddr.get(), i);
    }
  }
}

void Facts::add_acpi() {
  if (!boot_->rsdp()) {
    return;
  }
  guest::Diagnostics ignored;
  add("rsdp"sv, boot_->rsdp()->address.value(), boot_->rsdp()->size().value(), false);
  guest::AcpiTables tables(machine(), *boot_->rsdp(), ignored);
  if (tables.root()) {
    add("acpi-root"sv, tables.root()->range.first().value(), tables.root()->range.size().value(),
        false);
  }
  for (std::uint32_t i = 0;; ++i) {
    // Also those that are wrong: their bytes may be needed all the same.
    const std::optional<guest::AcpiTable> table = tables.next_listed();
    if (!table) {
      return;
    }
    add("acpi-table"sv, table->range.first().value(), table->range.size().value(), false, i);
  }
}

const Piece* Facts::overlapped(const Piece& piece) const {
  for (const Piece& other : pieces()) {
    if (&other != &piece && other.range.overlaps(piece.range)) {
      return &other;
    }
  }
  return nullptr;
}

}  // namespace pvh::kernels::probe
