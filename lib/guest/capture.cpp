// SPDX-License-Identifier: BSD-2-Clause
// From EBX to a Boot: reads everything once and notes what is in use.
#include <algorithm>
#include <array>

#include <pvh/base/checked.hpp>
#include <pvh/base/try.hpp>
#include <pvh/guest/boot.hpp>
#include <pvh/guest/mp_table.hpp>
#include <pvh/guest/xen.hpp>

namespace pvh::guest {
namespace {

using memory_map::RawEntry;

constexpr std::uint32_t kRam = to_raw(memory_map::Type::kRam);

// How far from start_info and the module list a module's text may lie outside of RAM.
constexpr std::uint64_t kBootArea = 65536;

bool is_near(base::PhysAddr a, std::optional<base::PhysAddr> b) {
  if (!b) {
    return false;
  }
  const std::uint64_t distance = a > *b ? a.value() - b->value() : b->value() - a.value();
  return distance < kBootArea;
}

// The last byte of an entry that is not empty. RAM that wraps is none, what is not RAM then ends at
// the top.
std::optional<std::uint64_t> last_of(const RawEntry& entry) {
  const auto last = entry.size == 0 ? std::nullopt : base::checked_add(entry.addr, entry.size - 1);
  return last || entry.size == 0 || entry.type == kRam ? last : UINT64_MAX;
}

// Whether every byte of the range is in entries of type RAM, and none in another.
bool all_ram(std::span<const RawEntry> raw, base::Range range) {
  std::uint64_t at = range.first().value();
  while (true) {
    // As far as one entry leads from here.
    std::optional<std::uint64_t> reach;
    for (const RawEntry& entry : raw) {
      const auto last = last_of(entry);
      if (!last) {
        continue;
      }
      if (entry.type != kRam) {
        if (entry.addr <= range.last().value() && range.first().value() <= *last) {
          return false;
        }
      } else if (entry.addr <= at && at <= *last && (!reach || *last > *reach)) {
        reach = *last;
      }
    }
    if (!reach) {
      return false;
    }
    if (*reach >= range.last().value()) {
      return true;
    }
    at = *reach + 1;
  }
}

}  // namespace

class Capture {
 public:
  Capture(Machine& machine, base::Range image, const Storage& storage, const BootOptions& options,
          Boot& boot)
      : machine_(machine), image_(image), options_(options), boot_(boot) {
    boot_.machine_ = &machine;
    boot_.storage_ = storage;
    boot_.reservations_ = storage.reservations.first(0);
  }

  static std::expected<Boot, BootError> run(Machine& machine, base::PhysAddr start_info,
                                            base::Range image, const Storage& storage,
                                            const BootOptions& options) {
    std::expected<Boot, BootError> result = Boot();
    const auto failed = Capture(machine, image, storage, options, *result).fill(start_info);
    if (failed) {
      result = std::unexpected(*failed);
    }
    return result;
  }

 private:
  // All of these answer with what ended the boot.
  using Failure = std::optional<BootError>;
  [[nodiscard]] Failure fill(base::PhysAddr start_info);
  [[nodiscard]] Failure take_map();
  [[nodiscard]] Failure take_modules();
  [[nodiscard]] Failure take_module(std::uint32_t index, const abi::hvm_modlist_entry& record);
  [[nodiscard]] Failure take_command_line();
  void take_acpi();
  void take_mp_table();
  void take_xen_pages();
  void note_overlaps();

  void reserve(base::Range range, ReservationKind kind, std::uint32_t index = 0);
  void reserve(base::PhysAddr first, std::uint64_t size, ReservationKind kind);

  // A text that ends with a NUL.
  struct Text {
    base::Range range;  // with its NUL
    std::string_view view;
  };
  [[nodiscard]] std::optional<Text> take_text(base::PhysAddr address, ReservationKind kind,
                                              std::uint32_t index);
  [[nodiscard]] bool is_believable_text(base::PhysAddr address) const;
  // The address of the NUL, or where the search ended without one.
  struct Scan {
    std::uint64_t length = 0;
    bool terminated = false;
  };
  [[nodiscard]] Scan scan_text(base::PhysAddr address);

  Machine& machine_;
  base::Range image_;
  const BootOptions& options_;
  Boot& boot_;
  std::size_t reservations_ = 0;  // how many there should be
  std::size_t used_strings_ = 0;
};

void Capture::reserve(base::Range range, ReservationKind kind, std::uint32_t index) {
  ++reservations_;
  // Where there is no room the number tells of it in the end.
  static_cast<void>(boot_.note(range, kind, index));
}

void Capture::reserve(base::PhysAddr first, std::uint64_t size, ReservationKind kind) {
  auto range = base::Range::from_size(first, base::ByteSize(size));
  if (!range && size != 0) {
    boot_.diagnostics_.add(DiagnosticKind::kReservationOutsideSpace, first.value());
    range = base::Range::from_last(first, base::PhysAddr(UINT64_MAX));
  }
  if (range) {
    reserve(*range, kind);
  }
}

Capture::Failure Capture::fill(base::PhysAddr start_info) {
  boot_.hypervisors_ = detect_hypervisors(machine_, options_.detect);
  const auto info = read_start_info(machine_, start_info, boot_.diagnostics_);
  if (!info) {
    return info.error();
  }
  boot_.info_ = *info;
  const auto structure = base::Range::from_size(info->address, info->size());
  if (!structure || structure->overlaps(image_)) {
    return BootError{BootErrorCode::kStartInfoInsideImage, info->address.value()};
  }
  reserve(image_, ReservationKind::kImage);
  reserve(*structure, ReservationKind::kStartInfo);

  if (const Failure failure = take_map()) {
    return failure;
  }
  if (const Failure failure = take_modules()) {
    return failure;
  }
  if (const Failure failure = take_command_line()) {
    return failure;
  }
  take_acpi();
  take_mp_table();
  take_xen_pages();
  if (reservations_ > boot_.room() || reservations_ > boot_.reservations_.size()) {
    return BootError{BootErrorCode::kTooManyReservations, reservations_};
  }
  note_overlaps();
  return std::nullopt;
}

Capture::Failure Capture::take_map() {
  memory_map::NormalizeOptions options = options_.normalize;
  options.phys_bits = physical_address_bits(machine_);
  const Storage& storage = boot_.storage_;
  auto map = acquire_map(machine_, boot_.info_, boot_.xen(), options,
                         {.raw = storage.raw, .map = storage.map, .scratch = storage.scratch},
                         boot_.diagnostics_);
  if (!map) {
    return map.error();
  }
  boot_.acquired_ = *map;
  if (boot_.info_.memmap) {
    reserve(*boot_.info_.memmap,
            boot_.info_.memmap_entries * std::uint64_t{sizeof(abi::hvm_memmap_table_entry)},
            ReservationKind::kMemoryMap);
  }
  return std::nullopt;
}

Capture::Failure Capture::take_modules() {
  const std::uint32_t count = boot_.info_.nr_modules;
  if (count == 0) {
    return std::nullopt;
  }
  if (!boot_.info_.modlist) {
    boot_.diagnostics_.add(DiagnosticKind::kModuleListMissing, count);
    return std::nullopt;
  }
  if (count > kMostModules || count > boot_.storage_.modules.size()) {
    return BootError{BootErrorCode::kTooManyModules, count};
  }
  abi::hvm_modlist_entry record;
  const base::PhysAddr list = *boot_.info_.modlist;
  reserve(list, count * std::uint64_t{sizeof(record)}, ReservationKind::kModuleList);
  const auto noted = boot_.reservations_;
  const std::size_t reservations = reservations_;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto place = list.checked_add(base::ByteSize(i * std::uint64_t{sizeof(record)}));
    if (!place || !machine_.read(*place, std::as_writable_bytes(std::span(&record, 1)))) {
      boot_.diagnostics_.add(DiagnosticKind::kModuleListMissing, count);
      boot_.modules_ = {};
      boot_.reservations_ = noted;
      reservations_ = reservations;
      return std::nullopt;
    }
    if (const Failure failure = take_module(i, record)) {
      return failure;
    }
  }
  return std::nullopt;
}

Capture::Failure Capture::take_module(std::uint32_t index, const abi::hvm_modlist_entry& record) {
  Diagnostics& diagnostics = boot_.diagnostics_;
  Module& module = boot_.storage_.modules[index];
  module = {};
  module.index = index;
  module.command_line = kNoText;
  boot_.modules_ = boot_.storage_.modules.first(index + 1);

  const base::PhysAddr address(record.paddr.get());
  const base::ByteSize size(record.size.get());
  if (address.value() == 0 || size.value() == 0) {
    diagnostics.add(DiagnosticKind::kModuleAbsent, 0, index);
  } else {
    module.range = base::Range::from_size(address, size);
    if (!module.range) {
      diagnostics.add(DiagnosticKind::kModuleWraps, address.value(), index);
    }
  }
  if (module.range) {
    if (module.range->overlaps(image_)) {
      return BootError{BootErrorCode::kModuleOverImage, index};
    }
    reserve(*module.range, ReservationKind::kModule, index);
    module.in_ram = all_ram(boot_.acquired_.raw, *module.range);
    if (!module.in_ram) {
      diagnostics.add(DiagnosticKind::kModuleNotInRam, address.value(), index);
    }
  }

  const base::PhysAddr text(record.cmdline_paddr.get());
  if (text.value() == 0) {
    return std::nullopt;
  }
  if (!is_believable_text(text)) {
    diagnostics.add(DiagnosticKind::kModuleStringNotInRam, text.value(), index);
    return std::nullopt;
  }
  if (const auto taken = take_text(text, ReservationKind::kModuleCommandLine, index)) {
    module.command_line = taken->view;
  }
  return std::nullopt;
}

// qboot hands out pointers that it never set.
bool Capture::is_believable_text(base::PhysAddr address) const {
  if (image_.contains(address)) {
    return false;
  }
  return is_near(address, boot_.info_.address) || is_near(address, boot_.info_.modlist) ||
         all_ram(boot_.acquired_.raw, *base::Range::from_last(address, address));
}

Capture::Failure Capture::take_command_line() {
  const auto address = boot_.info_.command_line;
  if (!address) {
    return std::nullopt;
  }
  const auto text = take_text(*address, ReservationKind::kCommandLine, kCommandLineIndex);
  if (!text) {
    return std::nullopt;
  }
  if (text->range.overlaps(image_)) {
    return BootError{BootErrorCode::kCommandLineOverImage, address->value()};
  }
  boot_.command_line_ = text->view;
  return std::nullopt;
}

// In chunks that do not cross their own size, so no page either; where a chunk cannot be read, byte
// by byte, because the text may end before what is missing.
Capture::Scan Capture::scan_text(base::PhysAddr address) {
  std::array<std::byte, 64> chunk;
  Scan scan;
  std::uint64_t at = address.value();
  bool by_chunk = true;
  while (scan.length < kLongestString) {
    const std::uint64_t left_in_chunk = chunk.size() - at % chunk.size();
    const std::size_t want = static_cast<std::size_t>(
        by_chunk ? std::min(left_in_chunk, kLongestString - scan.length) : 1);
    const base::MutableBytes part = std::span(chunk).first(want);
    if (!machine_.read(base::PhysAddr(at), part)) {
      if (want == 1) {
        break;
      }
      by_chunk = false;
      continue;
    }
    for (const std::byte each : part) {
      ++scan.length;
      if (each == std::byte{0}) {
        scan.terminated = true;
        return scan;
      }
    }
    at += want;
    if (at == 0) {
      break;  // the top of the address space
    }
  }
  return scan;
}

std::optional<Capture::Text> Capture::take_text(base::PhysAddr address, ReservationKind kind,
                                                std::uint32_t index) {
  Diagnostics& diagnostics = boot_.diagnostics_;
  const Scan scan = scan_text(address);
  const auto range = base::Range::from_size(address, base::ByteSize(scan.length));
  if (!range) {
    diagnostics.add(DiagnosticKind::kStringUnreadable, address.value(), index);
    return std::nullopt;
  }
  // Even where it never ends, somebody put something there.
  reserve(*range, kind, kind == ReservationKind::kCommandLine ? 0 : index);
  if (!scan.terminated) {
    diagnostics.add(DiagnosticKind::kStringUnterminated, address.value(), index);
    return std::nullopt;
  }
  const std::size_t length = static_cast<std::size_t>(scan.length - 1);
  if (const auto bytes = machine_.view(*range)) {
    return Text{*range,
                {static_cast<const char*>(static_cast<const void*>(bytes->data())), length}};
  }
  const std::span<char> room = boot_.storage_.strings.subspan(used_strings_);
  if (room.size() < length) {
    diagnostics.add(DiagnosticKind::kStringStorageTooSmall, address.value(), index);
    return Text{*range, kNoText};
  }
  if (length > 0 && !machine_.read(address, std::as_writable_bytes(room.first(length)))) {
    return std::nullopt;
  }
  used_strings_ += length;
  return Text{*range, {room.data(), length}};
}

void Capture::take_acpi() {
  const AcpiFound found = find_acpi(machine_, boot_.info_, boot_.xen().has_value(),
                                    boot_.storage_.ranges, boot_.diagnostics_);
  boot_.rsdp_ = found.rsdp;
  for (const base::Range range : found.ranges.ranges) {
    reserve(range, ReservationKind::kAcpi);
  }
  reservations_ += found.ranges.needed - found.ranges.ranges.size();
}

void Capture::take_mp_table() {
  const auto found = find_mp_table(machine_);
  if (!found) {
    return;
  }
  reserve(found->pointer, ReservationKind::kMpTable);
  if (found->table) {
    reserve(*found->table, ReservationKind::kMpTable);
  }
}

void Capture::take_xen_pages() {
  // A dom0 is asked too: it has none and says so, and a flag alone is no reason to free a ring.
  if (!boot_.xen()) {
    return;
  }
  const xen::SharedPages pages = xen::shared_pages(machine_, *boot_.xen());
  for (const auto page : {pages.console, pages.xenstore}) {
    if (page) {
      reserve(*page, base::kPageSize.value(), ReservationKind::kXen);
    }
  }
}

void Capture::note_overlaps() {
  const auto is_boot_data = [](ReservationKind kind) {
    return kind == ReservationKind::kStartInfo || kind == ReservationKind::kMemoryMap ||
           kind == ReservationKind::kModuleList || kind == ReservationKind::kCommandLine;
  };
  for (const Reservation& module : boot_.reservations_) {
    if (module.kind != ReservationKind::kModule) {
      continue;
    }
    for (const Reservation& other : boot_.reservations_) {
      if (!other.range.overlaps(module.range)) {
        continue;
      }
      if (other.kind == ReservationKind::kModule && other.index < module.index) {
        boot_.diagnostics_.add(DiagnosticKind::kModulesOverlap, other.index, module.index);
      } else if (is_boot_data(other.kind)) {
        boot_.diagnostics_.add(DiagnosticKind::kModuleOverBootData, other.range.first().value(),
                               module.index);
      }
    }
  }
}

std::expected<Boot, BootError> capture(Machine& machine, base::PhysAddr start_info,
                                       base::Range image, const Storage& storage,
                                       const BootOptions& options) {
  return Capture::run(machine, start_info, image, storage, options);
}

}  // namespace pvh::guest
