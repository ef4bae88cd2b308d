// SPDX-License-Identifier: BSD-2-Clause
#include "shape.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <ranges>
#include <span>
#include <vector>

#include "layout.hpp"

namespace pvh::loader {
namespace internal {
namespace {

using base::ByteSize;
using base::PhysAddr;
using base::Range;
using memory_map::Type;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

constexpr std::uint64_t kLowRamLimit = 3 * kGiB;
constexpr std::uint64_t kHighRamStart = 4 * kGiB;
constexpr std::uint64_t kAddressLimit = std::uint64_t{1} << 46;

constexpr Range range_of(std::uint64_t first, std::uint64_t size) {
  return *Range::from_size(PhysAddr(first), ByteSize(size));
}

static_assert(std::ranges::all_of(kStrictDevices, [](Range device) {
  return device.first().value() >= kLowRamLimit && device.last().value() < kHighRamStart;
}));

// The GDTs, as they lie in memory.
constexpr std::array kSpecGdt{std::uint64_t{0}, descriptor(kFlatCode), descriptor(kFlatData),
                              descriptor(kBusyTss)};
constexpr std::array<std::uint64_t, 5> kSeaBiosGdt{0, 0x00cf9b000000ffff, 0x00cf93000000ffff,
                                                   0x00009e000000ffff, 0x000092000000ffff};
static_assert(kSpecGdt[1] == kSeaBiosGdt[1] && kSpecGdt[2] == kSeaBiosGdt[2]);
static_assert(kSpecGdt[3] == 0x00008b0000000067);

// QEMU 7.2 -M pc with SeaBIOS, under KVM: testdata/qemu-7.2-pc-kvm-*.txt. (Without KVM the row
// 0xfeffc000 is missing; with a processor that is not AMD's the last one.)
constexpr std::array kQemuRows{
    Row{RowKind::kFixed, 0, 0x9fc00, Type::kRam},
    Row{RowKind::kFixed, 0x9fc00, 0x400, Type::kReserved},
    Row{RowKind::kFixed, 0xf0000, 0x10000, Type::kReserved},
    Row{RowKind::kLowRam, kMiB, 0x20000, Type::kRam},
    Row{RowKind::kLowRamTop, 0, 0x20000, Type::kReserved},
    Row{RowKind::kFixed, 0xfeffc000, 0x4000, Type::kReserved},
    Row{RowKind::kFixed, 0xfffc0000, 0x40000, Type::kReserved},
    Row{RowKind::kHighRam, 0, 0, Type::kRam},
    Row{RowKind::kFixed, 0xfd00000000, 0x300000000, Type::kReserved},
};

// QEMU 7.2 -M microvm with qboot, under KVM: testdata/qemu-7.2-microvm-kvm-*.txt. The last row is
// qboot's extract_e820() counting an entry that it never writes.
constexpr std::array kQbootRows{
    Row{RowKind::kFixed, 0, 0x9fc00, Type::kRam},
    Row{RowKind::kFixed, 0x9fc00, 0x400, Type::kReserved},
    Row{RowKind::kFixed, 0xd0000, 0x20000, Type::kNvs},
    Row{RowKind::kFixed, 0xf0000, 0x10000, Type::kReserved},
    Row{RowKind::kFixed, 0xfeffc000, 0x4000, Type::kReserved},
    Row{RowKind::kLowRam, kMiB, 0, Type::kRam},
    Row{RowKind::kHighRam, 0, 0, Type::kRam},
    Row{RowKind::kFixed, 0, 0, Type{0}},
};

// Firecracker 1.16: src/vmm/src/arch/x86_64/{mod,layout,regs}.rs. Its RSDP lies in no row.
constexpr std::array kFirecrackerRows{
    Row{RowKind::kFixed, 0, 0x9fc00, Type::kRam},
    Row{RowKind::kFixed, 0x9fc00, 0xe0000 - 0x9fc00, Type::kReserved},
    Row{RowKind::kFixed, 0xeec00000, 256 * kMiB, Type::kReserved},
    Row{RowKind::kLowRam, kMiB, 0, Type::kRam},
    Row{RowKind::kHighRam, 0, 0, Type::kRam},
};

// Cloud Hypervisor v53: arch/src/x86_64/{mod,layout,regs}.rs. ACPI and SMBIOS lie in no row.
constexpr std::array kCloudHypervisorRows{
    Row{RowKind::kFixed, 0, 0xa0000, Type::kRam},
    Row{RowKind::kLowRam, kMiB, 0, Type::kRam},
    Row{RowKind::kHighRam, 0, 0, Type::kRam},
    Row{RowKind::kFixed, 0xe8000000, 256 * kMiB, Type::kReserved},
};

// libxl: domain_construct_memmap in tools/libs/light/libxl_x86.c. No hole below 1 MiB; the tables
// come behind the special pages although they lie before them.
constexpr std::array kXenRows{
    Row{RowKind::kLowRam, 0, 0, Type::kRam},
    Row{RowKind::kFixed, 0xfeff8000, 0x8000, Type::kReserved},
    Row{RowKind::kTables, 0, 0, Type::kNvs},
    Row{RowKind::kHighRam, 0, 0, Type::kRam},
};

constexpr std::array kShapes{
    ShapeFacts{.shape = Shape::kStrict,
               .name = "strict",
               .peer = "pvh",
               .command_line_limit = {},
               .module_limit = {},
               .module_command_line_limit = {},
               .empty_command_line_is_absent = false,
               .placing = Placing::kPreferred,
               .start_info = 0,
               .module_list = 0,
               .memory_map = 0,
               .command_line = 0,
               .heap_top = 0,
               .heap_entry_size = 0,
               .module_reserved = 0,
               .module_placing = ModulePlacing::kBehindImage,
               .module_alignment = 2 * kMiB,
               .module_gap = 0,
               .minimum_ram = 0,
               .rows = {},
               .eax = 0,
               .eflags = kEflags,
               .cr0 = kCr0,
               .selectors = true,
               .tr_never_loaded = false,
               .gdt_address = kStrictGdt.address,
               .gdt_limit = sizeof(kSpecGdt) - 1,
               .gdt = kSpecGdt,
               .idt_address = 0,
               .idt_limit = 0,
               .idt_written = false,
               .acpi = 0xe0040,
               .acpi_size = 0xffc0,
               .acpi_from_top = false,
               .rsdp = 0xe0000,
               .mp_table = 0xf0000,
               .mp_table_room = 0xfff0,
               .reset_vector = kResetVector,
               .passes_rsdp = true,
               .table_memory = 0,
               .table_memory_size = 0},
    ShapeFacts{.shape = Shape::kQemu,
               .name = "qemu",
               .peer = "QEMU pc",
               .command_line_limit = 4096,  // the buffer; QEMU overruns it without a word
               .module_limit = 1,
               .module_command_line_limit = 0,
               .empty_command_line_is_absent = false,
               .placing = Placing::kFixed,
               .start_info = 0x21e0,
               .module_list = 0x21c0,
               .memory_map = 0x5a8,
               .command_line = 0x11c0,
               .heap_top = 0,
               .heap_entry_size = 0,
               .module_reserved = 0,
               .module_placing = ModulePlacing::kTopOfLowRam,
               .module_alignment = 4096,
               .module_gap = 0x28001,  // room for ACPI tables, and a byte because the end counts
               .minimum_ram = 2 * kMiB,
               .rows = kQemuRows,
               .eax = 0,
               .eflags = 0x6,
               .cr0 = kCr0,
               .selectors = true,
               .tr_never_loaded = true,
               .gdt_address = 0xcb118,
               .gdt_limit = sizeof(kSeaBiosGdt) - 1,
               .gdt = kSeaBiosGdt,
               .idt_address = 0,
               .idt_limit = 0x3ff,
               .idt_written = false,
               .acpi = 0x20000,
               .acpi_size = 0x20000,
               .acpi_from_top = true,
               .rsdp = 0xf59d0,
               .mp_table = 0xf6000,
               .mp_table_room = 0x9ff0,
               .reset_vector = kResetVector,
               .passes_rsdp = true,
               .table_memory = 0,
               .table_memory_size = 0},
    ShapeFacts{.shape = Shape::kQboot,
               .name = "qboot",
               .peer = "QEMU microvm",
               .command_line_limit = 0xf000,  // ours: down to the ACPI tables
               .module_limit = 1,
               .module_command_line_limit = 0,
               .empty_command_line_is_absent = false,
               .placing = Placing::kFromTop,
               .start_info = 0xf31e0,
               .module_list = 0x7b7c,
               .memory_map = 0,
               .command_line = 0,
               .heap_top = 0xefd3c,
               .heap_entry_size = 20,
               .module_reserved = 0x965000000,  // as measured: never initialised
               .module_placing = ModulePlacing::kTopOfLowRam,
               .module_alignment = 4096,
               .module_gap = 1,
               .minimum_ram = 2 * kMiB,
               .rows = kQbootRows,
               .eax = 0x2badb002,
               .eflags = 0x6,
               .cr0 = kCr0,
               .selectors = true,
               .tr_never_loaded = true,
               .gdt_address = 0xffffffc1,
               .gdt_limit = 0x27,
               .gdt = {},
               .idt_address = 0,
               .idt_limit = 0xffff,
               .idt_written = false,
               .acpi = 0xd0000,
               .acpi_size = 0x10000,
               .acpi_from_top = false,
               .rsdp = 0xf34d0,
               .mp_table = 0xf4000,
               .mp_table_room = 0xbff0,
               .reset_vector = kResetVector,
               .passes_rsdp = true,
               .table_memory = 0,
               .table_memory_size = 0},
    ShapeFacts{.shape = Shape::kFirecracker,
               .name = "firecracker",
               .peer = "Firecracker",
               .command_line_limit = 2048,
               .module_limit = 1,
               .module_command_line_limit = 0,
               .empty_command_line_is_absent = false,
               .placing = Placing::kFixed,
               .start_info = 0x6000,
               .module_list = 0x6040,
               .memory_map = 0x7000,
               .command_line = 0x20000,
               .heap_top = 0,
               .heap_entry_size = 0,
               .module_reserved = 0,
               .module_placing = ModulePlacing::kTopOfLowRam,
               .module_alignment = 4096,
               .module_gap = 0,
               .minimum_ram = 2 * kMiB,
               .rows = kFirecrackerRows,
               .eax = 0,
               .eflags = kEflags,
               .cr0 = kCr0,
               .selectors = true,
               .tr_never_loaded = false,
               .gdt_address = 0x500,
               .gdt_limit = sizeof(kSpecGdt) - 1,
               .gdt = kSpecGdt,
               .idt_address = 0x520,
               .idt_limit = 7,
               .idt_written = true,
               .acpi = 0xa2000,
               .acpi_size = 0x3e000,
               .acpi_from_top = false,
               .rsdp = 0xe0000,
               .mp_table = 0x9fc00,
               .mp_table_room = 0x2400,
               .reset_vector = kResetVector,
               .passes_rsdp = false,
               .table_memory = 0,
               .table_memory_size = 0},
    ShapeFacts{.shape = Shape::kCloudHypervisor,
               .name = "cloud-hypervisor",
               .peer = "Cloud Hypervisor",
               .command_line_limit = 64 * kKiB,
               .module_limit = 1,
               .module_command_line_limit = 0,
               .empty_command_line_is_absent = false,
               .placing = Placing::kFixed,
               .start_info = 0x6000,
               .module_list = 0x6040,
               .memory_map = 0x7000,
               .command_line = 0x20000,
               .heap_top = 0,
               .heap_entry_size = 0,
               .module_reserved = 0,
               .module_placing = ModulePlacing::kTopOfLowRam,
               .module_alignment = 4096,
               .module_gap = 0,
               .minimum_ram = 2 * kMiB,
               .rows = kCloudHypervisorRows,
               .eax = 0,
               .eflags = kEflags,
               .cr0 = 0x1,
               .selectors = true,
               .tr_never_loaded = false,
               .gdt_address = 0x500,
               .gdt_limit = sizeof(kSpecGdt) - 1,
               .gdt = kSpecGdt,
               .idt_address = 0x520,
               .idt_limit = 7,
               .idt_written = true,
               .acpi = 0xa0040,
               .acpi_size = 0x4ffc0,
               .acpi_from_top = false,
               .rsdp = 0xa0000,
               .mp_table = 0x9fc00,
               .mp_table_room = 0x400,
               .reset_vector = kResetVector,
               .passes_rsdp = true,
               .table_memory = 0,
               .table_memory_size = 0},
    ShapeFacts{.shape = Shape::kXen,
               .name = "xen",
               .peer = "Xen",
               .command_line_limit = {},
               .module_limit = 2,
               .module_command_line_limit = kKiB,
               .empty_command_line_is_absent = true,
               .placing = Placing::kAfterImage,
               .start_info = 0,
               .module_list = 0,
               .memory_map = 0,
               .command_line = 0,
               .heap_top = 0,
               .heap_entry_size = 0,
               .module_reserved = 0,
               .module_placing = ModulePlacing::kBehindImage,
               .module_alignment = 4096,
               .module_gap = 0,
               .minimum_ram = 4096,
               .rows = kXenRows,
               .eax = 0,
               .eflags = kEflags,
               .cr0 = kCr0,
               .selectors = false,
               .tr_never_loaded = false,
               .gdt_address = 0,
               .gdt_limit = 0,
               .gdt = {},
               .idt_address = 0,
               .idt_limit = 0,
               .idt_written = false,
               .acpi = 0xfc001000,
               .acpi_size = 0x10000,
               .acpi_from_top = false,
               .rsdp = 0xfc011000,
               .mp_table = 0,
               .mp_table_room = 0,
               .reset_vector = 0,
               .passes_rsdp = true,
               .table_memory = 0xfc000000,
               .table_memory_size = 0x12000},
};

// Row number and enumerator agree.
static_assert([] {
  for (std::size_t i = 0; i < kShapes.size(); ++i) {
    if (static_cast<std::size_t>(kShapes[i].shape) != i) {
      return false;
    }
  }
  return true;
}());

// Whatever a shape puts at a fixed address lies clear of everything else that it does, the room for
// tables and for the longest command line included.
constexpr std::uint64_t kMapRoom = 0xa00;  // over a hundred entries
constexpr bool fixed_places_are_disjoint(const ShapeFacts& shape) {
  std::array<Preference, 11> places{};
  std::size_t count = 0;
  const auto add = [&](std::uint64_t address, std::uint64_t size) {
    if (address != 0 && size != 0) {
      places[count++] = {address, size};
    }
  };
  add(shape.start_info, abi::kStartInfoSizeV1);
  add(shape.module_list, sizeof(abi::hvm_modlist_entry));
  add(shape.memory_map, kMapRoom);
  add(shape.command_line, shape.command_line_limit.value_or(0));
  add(shape.gdt_address, shape.gdt.size_bytes());
  add(shape.idt_address, shape.idt_written ? 8 : 0);
  add(shape.rsdp, 36);
  add(shape.mp_table, shape.mp_table_room);
  add(shape.reset_vector, kResetVectorSize.value());
  if (!shape.acpi_from_top) {
    add(shape.acpi, shape.acpi_size);
  }
  if (shape.placing == Placing::kFromTop) {
    const std::uint64_t size = shape.command_line_limit.value_or(0);
    add(shape.heap_top - size, size);
  }
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const bool apart = places[i].address + places[i].room <= places[j].address ||
                         places[j].address + places[j].room <= places[i].address;
      if (!apart) {
        return false;
      }
    }
  }
  return true;
}
static_assert(std::ranges::all_of(kShapes, fixed_places_are_disjoint));

constexpr std::array kStrictPreferences{
    kStrictGdt,       kStrictStartInfo,          kStrictModuleList,
    kStrictMemoryMap, kStrictModuleCommandLines, kStrictCommandLine};
static_assert([] {
  std::uint64_t end = kStrictFirstByte;
  for (const Preference& place : kStrictPreferences) {
    if (place.address < end) {
      return false;
    }
    end = place.address + place.room;
  }
  return end <= kStrictLowRamEnd;
}());

std::uint64_t low_end(const PlanRequest& request) {
  return request.ram.front().last().value() + 1;
}

void add_tables(const Row& row, const PlanRequest& request,
                std::vector<memory_map::RawEntry>& map) {
  const auto add = [&](const TableRequest& table) {
    const std::uint64_t skew = table.address.value() % base::kPageSize.value();
    map.push_back({table.address.value() - skew, table.content.size() + skew, to_raw(row.type)});
  };
  const auto is_rsdp = [&](const TableRequest& table) { return table.address == request.rsdp; };
  std::ranges::for_each(request.tables | std::views::filter(is_rsdp), add);
  std::ranges::for_each(request.tables | std::views::filter(std::not_fn(is_rsdp)), add);
}

}  // namespace

const ShapeFacts& facts(Shape shape) {
  return kShapes[static_cast<std::size_t>(shape)];
}

std::vector<memory_map::RawEntry> peer_map(const ShapeFacts& peer, const PlanRequest& request) {
  std::vector<memory_map::RawEntry> map;
  for (const Row& row : peer.rows) {
    const std::uint32_t type = to_raw(row.type);
    switch (row.kind) {
      case RowKind::kFixed:
        map.push_back({row.addr, row.size, type});
        break;
      case RowKind::kLowRam:
        map.push_back({row.addr, low_end(request) - row.size - row.addr, type});
        break;
      case RowKind::kLowRamTop:
        map.push_back({low_end(request) - row.size, row.size, type});
        break;
      case RowKind::kHighRam:
        for (const Range& range : std::span(request.ram).subspan(1)) {
          map.push_back({range.first().value(), range.size().value(), type});
        }
        break;
      case RowKind::kTables:
        add_tables(row, request, map);
        break;
    }
  }
  return map;
}

// What no entry covers of `within`.
std::vector<Range> gaps(const std::vector<memory_map::Entry>& map, Range within) {
  std::vector<Range> result;
  std::optional<PhysAddr> open = within.first();
  for (const memory_map::Entry& entry : map) {
    const auto covered = entry.range.intersection(within);
    if (!covered || !open) {
      continue;
    }
    if (const auto gap = Range::from_end(*open, covered->first())) {
      result.push_back(*gap);
    }
    open = covered->end();
  }
  if (open && *open <= within.last()) {
    result.push_back(*Range::from_last(*open, within.last()));
  }
  return result;
}

std::vector<memory_map::Entry> strict_map(const PlanRequest& request) {
  std::vector<memory_map::RawEntry> raw;
  const auto add = [&](Range range, Type type) {
    raw.push_back(to_raw(memory_map::Entry{range, type}));
  };
  constexpr Range kLow = range_of(0, kStrictLowRamEnd);
  constexpr Range kHigh = range_of(kStrictLegacyEnd, kAddressLimit - kStrictLegacyEnd);
  constexpr Range kLegacy = range_of(kStrictLowRamEnd, kStrictLegacyEnd - kStrictLowRamEnd);
  for (const Range& ram : request.ram) {
    for (const Range& part : {kLow, kHigh}) {
      if (const auto usable = ram.intersection(part)) {
        add(*usable, Type::kRam);
      }
    }
  }
  for (const TableRequest& table : request.tables) {
    if (const auto range = Range::from_size(table.address, ByteSize(table.content.size()))) {
      add(*range, table.type);
    }
  }
  for (const Range& device : kStrictDevices) {
    add(device, Type::kReserved);
  }
  // Up to 1 MiB everything is named: where no table lies it is reserved. Linux adds that by itself,
  // so that its log shows exactly this map.
  for (const Range& gap : gaps(normalized(raw), kLegacy)) {
    add(gap, Type::kReserved);
  }
  return normalized(raw);
}

}  // namespace internal

std::string_view to_string(Shape shape) {
  return internal::facts(shape).name;
}

std::optional<Shape> shape_from_string(std::string_view name) {
  const auto found = std::ranges::find(internal::kShapes, name, &internal::ShapeFacts::name);
  return found != internal::kShapes.end() ? std::optional(found->shape) : std::nullopt;
}

std::vector<base::Range> ram_ranges(base::ByteSize size) {
  using base::PhysAddr;
  using base::Range;
  const auto whole = size.align_up(base::kPageSize);
  if (!whole || whole->value() == 0) {
    return {};
  }
  const std::uint64_t low = std::min(whole->value(), internal::kLowRamLimit);
  const std::uint64_t high = whole->value() - low;
  if (high > internal::kAddressLimit - internal::kHighRamStart) {
    return {};
  }
  std::vector<Range> ranges{internal::range_of(0, low)};
  if (high != 0) {
    ranges.push_back(internal::range_of(internal::kHighRamStart, high));
  }
  return ranges;
}

TablePlacement table_placement(Shape shape, const std::vector<base::Range>& ram) {
  using base::ByteSize;
  using base::PhysAddr;
  using internal::range_of;
  const internal::ShapeFacts& facts = internal::facts(shape);
  std::uint64_t acpi = facts.acpi;
  if (facts.acpi_from_top) {
    // Too little RAM for this shape is for the plan to refuse; here it only must not wrap.
    const std::uint64_t end = ram.empty() ? 0 : ram.front().last().value() + 1;
    acpi = std::max(end, facts.minimum_ram) - facts.acpi;
  }
  TablePlacement placement{.acpi = range_of(acpi, facts.acpi_size),
                           .rsdp = PhysAddr(facts.rsdp),
                           .mp_table = PhysAddr(facts.mp_table),
                           .mp_table_room = ByteSize(facts.mp_table_room),
                           .reset_vector = {},
                           .passes_rsdp = facts.passes_rsdp,
                           .table_memory = {}};
  if (facts.reset_vector != 0) {
    placement.reset_vector = PhysAddr(facts.reset_vector);
  }
  if (facts.table_memory_size != 0) {
    placement.table_memory = range_of(facts.table_memory, facts.table_memory_size);
  }
  return placement;
}

}  // namespace pvh::loader
