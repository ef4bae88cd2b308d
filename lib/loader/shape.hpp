// SPDX-License-Identifier: BSD-2-Clause
// What each shape is, as data: where the peer puts things, what it passes, which registers it
// leaves, and the rows of its memory map. The planner reads this table; it knows no peer by name.
// (Private to the loader.)
//
// The sources of the facts are beside the rows in shape.cpp. QEMU's two were measured: testdata/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/loader/plan.hpp>
#include <pvh/memory_map/map.hpp>

namespace pvh::loader::internal {

// How the addresses of boot data come about.
enum class Placing {
  kPreferred,   // at the addresses given when that is free, otherwise anywhere
  kFixed,       // at the addresses given
  kFromTop,     // start_info and module list fixed; command line and map downward from `heap_top`
  kAfterImage,  // in one run behind the image and its modules
};

enum class ModulePlacing {
  kBehindImage,  // from the next multiple of `module_alignment` upward
  kTopOfLowRam,  // as high as possible below `module_gap` bytes under the end of low RAM
};

// One row of a peer's memory map. "Low RAM" is the RAM that begins at 0.
enum class RowKind {
  kFixed,      // this entry
  kLowRam,     // from `addr` to `size` bytes before the end of low RAM
  kLowRamTop,  // the last `size` bytes of low RAM
  kHighRam,    // all RAM behind low RAM, each range an entry
  kTables,     // the machine's tables, the RSDP first: from the start of the page to the last byte
};

struct Row {
  RowKind kind;
  std::uint64_t addr;
  std::uint64_t size;
  memory_map::Type type;
};

struct ShapeFacts {
  Shape shape;
  std::string_view name;  // as --memmap takes it
  std::string_view peer;  // for messages

  // What it passes. Lengths count the terminator.
  std::optional<std::uint64_t> command_line_limit;
  std::optional<std::size_t> module_limit;
  std::optional<std::uint64_t> module_command_line_limit;  // 0: passes none
  bool empty_command_line_is_absent;

  Placing placing;
  std::uint64_t start_info, module_list, memory_map, command_line;
  std::uint64_t heap_top;  // kFromTop: before the copy of the map that the firmware keeps there
  std::uint64_t heap_entry_size;  // kFromTop: of that copy

  std::uint64_t module_reserved;  // hvm_modlist_entry.reserved, where that is not 0

  ModulePlacing module_placing;
  std::uint64_t module_alignment;
  std::uint64_t module_gap;

  std::uint64_t minimum_ram;  // what the rows below need of low RAM
  std::span<const Row> rows;  // none for kStrict, whose map is made from the request

  // Registers, where they differ from the specification's or where it says nothing.
  std::uint32_t eax, eflags, cr0;
  bool selectors;             // false: all selectors 0, and FS and GS unusable
  bool tr_never_loaded;       // as reset leaves it: selector 0, limit 0xffff
  std::uint64_t gdt_address;  // 0: GDTR is 0
  std::uint16_t gdt_limit;
  std::span<const std::uint64_t> gdt;  // none: in ROM, out of our reach
  std::uint64_t idt_address;
  std::uint16_t idt_limit;
  bool idt_written;  // eight bytes of zero there

  // Tables. acpi_from_top: `acpi` counts from the end of low RAM.
  std::uint64_t acpi, acpi_size;
  bool acpi_from_top;
  std::uint64_t rsdp, mp_table, mp_table_room, reset_vector;  // 0: none
  bool passes_rsdp;
  std::uint64_t table_memory, table_memory_size;  // 0: they lie in RAM
};

[[nodiscard]] const ShapeFacts& facts(Shape shape);

// The map of a peer. The request's RAM is valid and begins at 0.
[[nodiscard]] std::vector<memory_map::RawEntry> peer_map(const ShapeFacts& peer,
                                                         const PlanRequest& request);

// The map of kStrict: what is left of the RAM when the legacy hole and the tables are taken out,
// the tables by their types, and the devices that every machine has.
[[nodiscard]] std::vector<memory_map::Entry> strict_map(const PlanRequest& request);

// Where kStrict puts boot data as long as that is free and large enough. Some kernels' early page
// tables reach only so far, and these are the addresses that peers have made them used to.
struct Preference {
  std::uint64_t address;
  std::uint64_t room;
};
inline constexpr Preference kStrictGdt{0x500, 0x100};
inline constexpr Preference kStrictStartInfo{0x6000, 0x40};
inline constexpr Preference kStrictModuleList{0x6040, 0xfc0};
inline constexpr Preference kStrictMemoryMap{0x7000, 0x1000};
inline constexpr Preference kStrictModuleCommandLines{0x8000, 0x18000};
inline constexpr Preference kStrictCommandLine{0x20000, 0x7f000};

// RAM ends here below 1 MiB: real machines keep the extended BIOS data area behind it, and kernels
// look for one.
// Where the processor starts after a reset, as seen from real mode (FFFF:0000).
inline constexpr std::uint64_t kResetVector = 0xffff0;

inline constexpr std::uint64_t kStrictLowRamEnd = 0x9f000;
inline constexpr std::uint64_t kStrictLegacyEnd = 0x100000;
// Below it are the real-mode vectors and the BIOS data area.
inline constexpr std::uint64_t kStrictFirstByte = 0x500;

}  // namespace pvh::loader::internal
