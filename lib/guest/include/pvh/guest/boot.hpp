// SPDX-License-Identifier: BSD-2-Clause
// Everything a kernel is handed at boot, in a form that can be trusted: the command line, the
// modules, the memory map, and the RAM in it that nobody uses.
//
// capture() reads it all once, by copy, and reserves what it found in use: the kernel's image, the
// boot structures, modules and their texts, the ACPI tables, Xen's pages. free() is the RAM that is
// left, in whole pages; nothing in use is in it. Doubt costs RAM, never a reservation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/acpi.hpp>
#include <pvh/guest/error.hpp>
#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/machine.hpp>
#include <pvh/guest/memory.hpp>
#include <pvh/guest/start_info.hpp>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/map.hpp>

namespace pvh::guest {

inline constexpr std::uint32_t kMostModules = 4096;
// Cloud Hypervisor allows 64 KiB of command line, its NUL included.
inline constexpr std::size_t kLongestString = 65536;

// Empty, but not null: it may be given to what takes a C string.
inline constexpr std::string_view kNoText{"", 0};

struct Module {
  std::uint32_t index = 0;
  std::optional<base::Range> range;  // nothing: absent (address or size 0, or a size that wraps)
  std::string_view command_line;     // empty when there is none; valid while it is reserved
  bool in_ram = false;               // all of it in entries of type RAM
};

enum class ReservationKind : std::uint8_t {
  kImage,  // the kernel, its .bss, boot stack and page tables
  kStartInfo,
  kMemoryMap,   // the table
  kModuleList,  // the array
  kCommandLine,
  kModule,             // index: which
  kModuleCommandLine,  // index: which
  kAcpi,               // RSDP and tables
  kMpTable,            // its pointer and the table
  kXen,                // console and xenstore rings
  kAllocated,          // by Boot::allocate
};
[[nodiscard]] std::string_view to_string(ReservationKind kind);

struct Reservation {
  base::Range range;
  ReservationKind kind{};
  std::uint32_t index = 0;
};

// Room for all that is captured, brought by the caller because there is no heap. Too little room is
// an error that says how much, never a loss. StorageFor makes one of fixed size.
struct Storage {
  std::span<memory_map::RawEntry> raw;     // entries of the map as handed over
  std::span<memory_map::Entry> map;        // output_size(raw.size())
  std::span<memory_map::Entry> free;       // map.size() + reservations.size()
  std::span<memory_map::Scratch> scratch;  // the larger of scratch_size and edit_scratch_size
  std::span<base::Range> ranges;           // as many as reservations
  std::span<Module> modules;
  std::span<Reservation> reservations;
  std::span<char> strings;  // texts that no pointer reaches are copied here
};

template <std::size_t Entries, std::size_t Modules>
struct StorageFor {
  // Two for each module; image, start_info, map, module list, command line, Xen's two, and ACPI's
  // and the kernel's own.
  static constexpr std::size_t kReservations = 2 * Modules + 64;
  static constexpr std::size_t kMap = memory_map::output_size(Entries);

  memory_map::RawEntry raw[Entries];
  memory_map::Entry map[kMap];
  memory_map::Entry free[kMap + kReservations];  // a reservation makes at most two of one
  memory_map::Scratch scratch[kMap + kReservations];
  base::Range ranges[kReservations];
  Module modules[Modules];
  Reservation reservations[kReservations];
  char strings[4096] = {};
};

template <std::size_t Entries, std::size_t Modules>
[[nodiscard]] constexpr Storage storage_of(StorageFor<Entries, Modules>& arrays) {
  return {.raw = arrays.raw,
          .map = arrays.map,
          .free = arrays.free,
          .scratch = arrays.scratch,
          .ranges = arrays.ranges,
          .modules = arrays.modules,
          .reservations = arrays.reservations,
          .strings = arrays.strings};
}

// The runtime's own, when the kernel does not bring a larger one (PVH_STORAGE in pvh.hpp).
inline constexpr std::size_t kDefaultMapEntries = 1024;  // Xen's own limit
inline constexpr std::size_t kDefaultModules = 64;

struct BootOptions {
  memory_map::NormalizeOptions normalize = {};  // phys_bits is taken from CPUID
};

class Boot {
 public:
  [[nodiscard]] Machine& machine() const { return *machine_; }
  [[nodiscard]] const StartInfo& start_info() const { return info_; }
  [[nodiscard]] const Hypervisors& hypervisors() const { return hypervisors_; }
  // Present on Xen: what every hypercall asks for.
  [[nodiscard]] const std::optional<xen::Token>& xen() const { return hypervisors_.xen(); }

  [[nodiscard]] std::string_view command_line() const { return command_line_; }
  [[nodiscard]] std::span<const Module> modules() const { return modules_; }
  // Where ACPI's tables begin: as passed, or found where a monitor did not pass it.
  [[nodiscard]] const std::optional<Rsdp>& rsdp() const { return rsdp_; }

  // Sorted and disjoint; RAM in whole pages; a gap is not RAM. Page 0 and 0xa0000-0xfffff are
  // withheld from RAM.
  [[nodiscard]] std::span<const memory_map::Entry> memory_map() const { return acquired_.map; }
  // The entries as the table or Xen had them.
  [[nodiscard]] std::span<const memory_map::RawEntry> raw_memory_map() const {
    return acquired_.raw;
  }
  [[nodiscard]] MapSource map_source() const { return acquired_.source; }
  [[nodiscard]] const memory_map::Report& map_report() const { return acquired_.report; }
  [[nodiscard]] bool map_possibly_truncated() const { return acquired_.possibly_truncated; }

  [[nodiscard]] std::span<const Reservation> reservations() const { return reservations_; }
  [[nodiscard]] const Diagnostics& diagnostics() const { return diagnostics_; }

  // RAM that is in use by nobody, in whole pages, ascending. Worked out when it is first asked for
  // and again after reserve() and release(), O(n log n); a kernel that never asks links none of it.
  [[nodiscard]] std::span<const memory_map::Entry> free() const;

  // Takes room out of free(), rounded up to whole pages, and reserves it. Nothing: there is no such
  // room, or no more room to note it (neighbouring allocations share a note). It is not zeroed.
  // O(ranges).
  [[nodiscard]] std::optional<base::Range> allocate(const memory_map::FindOptions& options);
  // A page below 0xa0000 for starting processors; not page 0.
  [[nodiscard]] std::optional<base::Range> allocate_low_page();
  // Reserves a range of the kernel's choosing. False when there is no room to note it.
  [[nodiscard]] bool reserve(base::Range range, ReservationKind kind, std::uint32_t index = 0);

  // Gives back what capture() has copied and nobody needs any more: start_info, the table, the
  // module list. Texts, modules, ACPI and the image stay.
  void release_boot_data();
  // Gives back everything of one kind; of one index for modules and their texts. The caller has no
  // more use for it. kImage is refused (false): the code that runs lies there.
  bool release(ReservationKind kind, std::optional<std::uint32_t> index = std::nullopt);

 private:
  friend class Capture;
  Boot() = default;

  // How many reservations there can be.
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] bool note(base::Range range, ReservationKind kind, std::uint32_t index);
  [[nodiscard]] bool note_allocated(base::Range range);
  [[nodiscard]] bool carve(base::Range range);
  bool forget(ReservationKind kind, std::optional<std::uint32_t> index);
  void subtract() const;

  Machine* machine_ = nullptr;
  StartInfo info_{};
  Hypervisors hypervisors_;
  std::string_view command_line_ = kNoText;
  std::span<Module> modules_;
  std::optional<Rsdp> rsdp_;
  AcquiredMap acquired_;
  std::span<Reservation> reservations_;
  mutable std::span<memory_map::Entry> free_;
  mutable bool free_is_current_ = false;
  Diagnostics diagnostics_;
  Storage storage_;
};

// `hypervisors` as detect_hypervisors() found them, `start_info` is EBX at the entry point, `image`
// all memory that the running kernel occupies. `machine` and what `storage` refers to must outlive
// the Boot. Hypercalls are made only on Xen.
[[nodiscard]] std::expected<Boot, BootError> capture(Machine& machine,
                                                     const Hypervisors& hypervisors,
                                                     base::PhysAddr start_info, base::Range image,
                                                     const Storage& storage,
                                                     const BootOptions& options = {});

}  // namespace pvh::guest
