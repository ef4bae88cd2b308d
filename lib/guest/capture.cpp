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
  const std::uint64_t distance =
      a.value() > b->value() ? a.value() - b->value() : b->value() - a.value();
  return distance < kBootArea;
}

// Whether every byte of the range is in entries of type RAM, and none in another.
bool all_ram(std::span<const RawEntry> raw, base::Range range) {
  std::uint64_t at = range.first().value();
  while (true) {
    // As far as one entry leads from here.
    std::uint64_t reach = 0;
    bool goes_on = false;
    for (const RawEntry& entry : raw) {
      const bool is_ram = entry.type == kRam;
      std::uint64_t last = entry.addr + entry.size - 1;
      if (entry.size == 0 || (is_ram && last < entry.addr)) {
        continue;  // RAM that wraps is none
      }
      if (last < entry.addr) {
        last = UINT64_MAX;
      }
      if (!is_ram) {
        if (entry.addr <= range.last().value() && range.first().value() <= last) {
          return false;
        }
      } else if (entry.addr <= at && at <= last) {
        reach = std::max(reach, last);
        goes_on = true;
      }
    }
    if (!goes_on) {
      return false;
    }
    if (reach >= range.last().value()) {
      return true;
    }
    at = reach + 1;
  }
}

}  // namespace

class Capture {
 public:
  Capture(Machine& machine, const Hypervisors& hypervisors, base::Range image,
          const Storage& storage, const BootOptions& options, Boot& boot)
      : machine_(machine), image_(image), options_(options), boot_(boot) {
    boot_.machine_ = &machine;
    boot_.hypervisors_ = hypervisors;
    boot_.storage_ = storage;
    boot_.reservations_ = storage.reservations.first(0);
  }

  static std::expected<Boot, BootError> run(Machine& machine, const Hypervisors& hypervisors,
                                            base::PhysAddr start_info, base::Range image,
                                            const Storage& storage, const BootOptions& options) {
    std::expected<Boot, BootError> result = Boot();
    Capture capture(machine, hypervisors, image, storage, options, *result);
    if (!capture.fill(start_info)) {
      result = std::unexpected(capture.error_);
    }
    return result;
  }

 private:
  // Each step answers whether the boot goes on; if not, error_ says why.
  [[nodiscard]] bool fill(base::PhysAddr start_info);
  [[nodiscard]] bool take_map();
  [[nodiscard]] bool take_modules();
  [[nodiscard]] bool take_module(std::uint32_t index, const abi::hvm_modlist_entry& record);
  [[nodiscard]] bool take_command_line();
  void take_acpi();
  void take_mp_table();
  void take_xen_pages();
  void note_overlaps();

  [[nodiscard]] bool fail(BootErrorCode code, std::uint64_t value) {
    error_ = {code, value};
    return false;
  }
  void tell(DiagnosticKind kind, std::uint64_t value, std::uint32_t index = 0) {
    boot_.diagnostics_.add(kind, value, index);
  }
  void reserve(base::Range range, ReservationKind kind, std::uint32_t index = 0);
  void reserve(base::PhysAddr first, std::uint64_t size, ReservationKind kind);

  // A text that ends with a NUL, without it; data() is nullptr when there is none.
  [[nodiscard]] std::string_view take_text(base::PhysAddr address, ReservationKind kind,
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
  BootError error_{};
};

void Capture::reserve(base::Range range, ReservationKind kind, std::uint32_t index) {
  ++reservations_;
  // Where there is no room the number tells of it in the end.
  static_cast<void>(boot_.note(range, kind, index));
}

void Capture::reserve(base::PhysAddr first, std::uint64_t size, ReservationKind kind) {
  auto range = base::Range::from_size(first, base::ByteSize(size));
  if (!range && size != 0) {
    tell(DiagnosticKind::kReservationOutsideSpace, first.value());
    range = base::Range::from_last(first, base::PhysAddr(UINT64_MAX));
  }
  if (range) {
    reserve(*range, kind);
  }
}

bool Capture::fill(base::PhysAddr start_info) {
  const auto read = read_start_info(machine_, start_info, boot_.diagnostics_, boot_.info_);
  if (!read) {
    error_ = read.error();
    return false;
  }
  const auto structure = base::Range::from_size(start_info, boot_.info_.size());
  if (!structure || structure->overlaps(image_)) {
    return fail(BootErrorCode::kStartInfoInsideImage, start_info.value());
  }
  reserve(image_, ReservationKind::kImage);
  reserve(*structure, ReservationKind::kStartInfo);

  if (!take_map() || !take_modules() || !take_command_line()) {
    return false;
  }
  take_acpi();
  take_mp_table();
  take_xen_pages();
  if (reservations_ > boot_.room() || reservations_ > boot_.reservations_.size()) {
    return fail(BootErrorCode::kTooManyReservations, reservations_);
  }
  note_overlaps();
  return true;
}

bool Capture::take_map() {
  memory_map::NormalizeOptions options = options_.normalize;
  options.phys_bits = physical_address_bits(machine_);
  const Storage& storage = boot_.storage_;
  const auto acquired =
      acquire_map(machine_, boot_.info_, boot_.xen(), options,
                  {.raw = storage.raw, .map = storage.map, .scratch = storage.scratch},
                  boot_.diagnostics_, boot_.acquired_);
  if (!acquired) {
    error_ = acquired.error();
    return false;
  }
  if (boot_.info_.memmap) {
    reserve(*boot_.info_.memmap,
            boot_.info_.memmap_entries * std::uint64_t{sizeof(abi::hvm_memmap_table_entry)},
            ReservationKind::kMemoryMap);
  }
  return true;
}

bool Capture::take_modules() {
  const std::uint32_t count = boot_.info_.nr_modules;
  if (count == 0) {
    return true;
  }
  if (!boot_.info_.modlist) {
    tell(DiagnosticKind::kModuleListMissing, count);
    return true;
  }
  if (count > kMostModules || count > boot_.storage_.modules.size()) {
    return fail(BootErrorCode::kTooManyModules, count);
  }
  abi::hvm_modlist_entry record;
  const base::PhysAddr list = *boot_.info_.modlist;
  reserve(list, count * std::uint64_t{sizeof(record)}, ReservationKind::kModuleList);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t place = list.value() + i * std::uint64_t{sizeof(record)};
    if (place < list.value() ||
        !machine_.read(base::PhysAddr(place), std::as_writable_bytes(std::span(&record, 1)))) {
      tell(DiagnosticKind::kModuleListMissing, count);
      // What was read stays reserved: that costs RAM at most.
      boot_.modules_ = {};
      return true;
    }
    if (!take_module(i, record)) {
      return false;
    }
  }
  return true;
}

bool Capture::take_module(std::uint32_t index, const abi::hvm_modlist_entry& record) {
  Module& module = boot_.storage_.modules[index];
  module = {};
  module.index = index;
  module.command_line = kNoText;
  boot_.modules_ = boot_.storage_.modules.first(index + 1);

  const base::PhysAddr address(record.paddr.get());
  const base::ByteSize size(record.size.get());
  if (address.value() == 0 || size.value() == 0) {
    tell(DiagnosticKind::kModuleAbsent, 0, index);
  } else {
    module.range = base::Range::from_size(address, size);
    if (!module.range) {
      tell(DiagnosticKind::kModuleWraps, address.value(), index);
    }
  }
  if (module.range) {
    if (module.range->overlaps(image_)) {
      return fail(BootErrorCode::kModuleOverImage, index);
    }
    reserve(*module.range, ReservationKind::kModule, index);
    module.in_ram = all_ram(boot_.acquired_.raw, *module.range);
    if (!module.in_ram) {
      tell(DiagnosticKind::kModuleNotInRam, address.value(), index);
    }
  }

  const base::PhysAddr text(record.cmdline_paddr.get());
  if (text.value() == 0) {
    return true;
  }
  if (!is_believable_text(text)) {
    tell(DiagnosticKind::kModuleStringNotInRam, text.value(), index);
    return true;
  }
  const std::string_view taken = take_text(text, ReservationKind::kModuleCommandLine, index);
  if (taken.data() != nullptr) {
    module.command_line = taken;
  }
  return true;
}

// qboot hands out pointers that it never set.
bool Capture::is_believable_text(base::PhysAddr address) const {
  if (image_.contains(address)) {
    return false;
  }
  return is_near(address, boot_.info_.address) || is_near(address, boot_.info_.modlist) ||
         all_ram(boot_.acquired_.raw, *base::Range::from_last(address, address));
}

bool Capture::take_command_line() {
  if (!boot_.info_.command_line) {
    return true;
  }
  const base::PhysAddr address = *boot_.info_.command_line;
  const std::string_view text =
      take_text(address, ReservationKind::kCommandLine, kCommandLineIndex);
  if (text.data() == nullptr) {
    return true;
  }
  const auto range = base::Range::from_size(address, base::ByteSize(text.size() + 1));
  if (range && range->overlaps(image_)) {
    return fail(BootErrorCode::kCommandLineOverImage, address.value());
  }
  boot_.command_line_ = text;
  return true;
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

std::string_view Capture::take_text(base::PhysAddr address, ReservationKind kind,
                                    std::uint32_t index) {
  const Scan scan = scan_text(address);
  const auto range = base::Range::from_size(address, base::ByteSize(scan.length));
  DiagnosticKind wrong = DiagnosticKind::kStringUnreadable;
  if (range) {
    // Even where it never ends, somebody put something there.
    reserve(*range, kind, kind == ReservationKind::kCommandLine ? 0 : index);
    wrong = DiagnosticKind::kStringUnterminated;
  }
  if (scan.terminated) {
    const std::size_t length = static_cast<std::size_t>(scan.length - 1);
    if (const auto bytes = machine_.view(*range)) {
      return {static_cast<const char*>(static_cast<const void*>(bytes->data())), length};
    }
    const std::span<char> room = boot_.storage_.strings.subspan(used_strings_);
    if (room.size() >= length) {
      used_strings_ += length;
      return machine_.read(address, std::as_writable_bytes(room.first(length)))
                 ? std::string_view(room.data(), length)
                 : std::string_view();
    }
    wrong = DiagnosticKind::kStringStorageTooSmall;
  }
  tell(wrong, address.value(), index);
  return {};
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
  if (pages.console) {
    reserve(*pages.console, base::kPageSize.value(), ReservationKind::kXen);
  }
  if (pages.xenstore) {
    reserve(*pages.xenstore, base::kPageSize.value(), ReservationKind::kXen);
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
        tell(DiagnosticKind::kModulesOverlap, other.index, module.index);
      } else if (is_boot_data(other.kind)) {
        tell(DiagnosticKind::kModuleOverBootData, other.range.first().value(), module.index);
      }
    }
  }
}

std::expected<Boot, BootError> capture(Machine& machine, const Hypervisors& hypervisors,
                                       base::PhysAddr start_info, base::Range image,
                                       const Storage& storage, const BootOptions& options) {
  return Capture::run(machine, hypervisors, start_info, image, storage, options);
}

}  // namespace pvh::guest
