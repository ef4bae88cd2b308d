// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <pvh/abi/start_info.hpp>
#include <pvh/base/try.hpp>
#include <pvh/loader/plan.hpp>
#include <pvh/memory_map/codec.hpp>

#include "layout.hpp"
#include "plan_entry.hpp"
#include "shape.hpp"

namespace pvh::loader {
namespace {

using base::ByteSize;
using base::PhysAddr;
using base::Range;
using internal::Layout;
using internal::ModulePlacing;
using internal::Placing;
using internal::Preference;
using internal::ShapeFacts;

template <typename T>
using Result = std::expected<T, PlanFault>;

std::unexpected<PlanFault> fault(PlanError code, std::string detail) {
  return std::unexpected(PlanFault{code, std::move(detail), {}});
}

constexpr Range kBelow4GiB = memory_map::kBelow4GiB;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr ByteSize kCacheLine{64};

std::string show(Range range) {
  return fmt::format("{:#x}-{:#x}", range.first().value(), range.last().value());
}

std::string show(std::span<const memory_map::Entry> ram) {
  constexpr std::size_t kEnough = 4;
  std::string text;
  for (const memory_map::Entry& entry : ram.first(std::min(ram.size(), kEnough))) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", show(entry.range));
  }
  return text + (ram.size() > kEnough ? ", ..." : "");
}

base::Bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// The string and its terminator.
ByteSize size_of(std::string_view text) {
  return ByteSize(std::uint64_t{text.size()} + 1);
}

// Rounded up, so that one behind the other leaves no splinters of free RAM.
ByteSize slot_size_of(std::string_view text) {
  return *size_of(text).align_up(ByteSize(8));
}

// A module has whole pages, and one even when it is empty.
std::optional<ByteSize> page_size_of(const ModuleRequest& module) {
  return ByteSize(std::max<std::uint64_t>(module.content.size(), 1)).align_up(base::kPageSize);
}

bool is_whole_pages(Range range) {
  return range.first().is_aligned(base::kPageSize) &&
         base::is_aligned(range.size().value(), base::kPageSize.value());
}

bool contained(std::span<const Range> ranges, Range range) {
  return std::ranges::any_of(ranges, [&](Range r) { return r.contains(range); });
}

// ---- What can be said about a request without placing anything ----

Result<void> check_ram(const PlanRequest& request, const ShapeFacts& shape) {
  if (request.ram.empty()) {
    return fault(PlanError::kNoRam, "");
  }
  for (std::size_t i = 0; i < request.ram.size(); ++i) {
    const bool behind = i == 0 || request.ram[i - 1].last() < request.ram[i].first();
    if (!is_whole_pages(request.ram[i]) || !behind) {
      return fault(
          PlanError::kBadRequest,
          fmt::format("RAM at {} is not whole pages, or not in order", show(request.ram[i])));
    }
  }
  const Range low = request.ram.front();
  const bool enough = low.first() == PhysAddr(0) && low.size().value() >= shape.minimum_ram;
  if (shape.minimum_ram != 0 && !enough) {
    return fault(PlanError::kNoRam,
                 fmt::format("{} has at least {:#x} bytes of it from address 0 up", shape.peer,
                             shape.minimum_ram));
  }
  if (const auto& extra = request.table_memory) {
    const bool apart =
        std::ranges::none_of(request.ram, [&](Range r) { return r.overlaps(*extra); });
    if (!is_whole_pages(*extra) || !apart) {
      return fault(PlanError::kBadRequest,
                   fmt::format("memory for tables at {} is not whole pages, or RAM", show(*extra)));
    }
  }
  return {};
}

Result<void> check_command_lines(const PlanRequest& request, const ShapeFacts& shape) {
  if (request.command_line.contains('\0')) {
    return fault(PlanError::kCommandLineHasNul, "");
  }
  if (size_of(request.command_line).value() > shape.command_line_limit.value_or(UINT64_MAX)) {
    return fault(PlanError::kCommandLineTooLong,
                 fmt::format("{} bytes; {} takes at most {}", request.command_line.size(),
                             shape.peer, *shape.command_line_limit - 1));
  }
  for (const ModuleRequest& module : request.modules) {
    if (module.command_line.contains('\0')) {
      return fault(PlanError::kCommandLineHasNul, "of module " + module.name);
    }
    const std::uint64_t limit = shape.module_command_line_limit.value_or(UINT64_MAX);
    if (!module.command_line.empty() && size_of(module.command_line).value() > limit) {
      return fault(PlanError::kCommandLineTooLong,
                   fmt::format("{} bytes for module {}; {} takes {}", module.command_line.size(),
                               module.name, shape.peer,
                               limit == 0 ? "none" : fmt::format("at most {}", limit - 1)));
    }
  }
  return {};
}

Result<void> check(const PlanRequest& request, const ShapeFacts& shape) {
  if (request.start_info_version > 1) {
    return fault(PlanError::kBadRequest,
                 fmt::format("there is no start_info version {}", request.start_info_version));
  }
  TRY(check_ram(request, shape));
  TRY(check_command_lines(request, shape));
  if (request.modules.size() > shape.module_limit.value_or(UINT32_MAX)) {
    return fault(PlanError::kTooManyModules,
                 fmt::format("{}; {} takes at most {}", request.modules.size(), shape.peer,
                             shape.module_limit.value_or(UINT32_MAX)));
  }
  return {};
}

// ---- Placing ----

class Planner {
 public:
  Planner(const Image& image, const PlanRequest& request, const ShapeFacts& shape)
      : image_(image), request_(request), shape_(shape), modules_(request.modules.size()) {
    plan_.memory_map = shape.rows.empty() ? raw(internal::strict_map(request))
                                          : internal::peer_map(shape, request);
    layout_ =
        Layout(shape.rows.empty() ? Layout::ram_of(plan_.memory_map) : Layout::ram_of(request.ram));
  }

  Result<Plan> make() {
    TRY(place_tables());
    switch (shape_.placing) {
      case Placing::kPreferred:
        TRY(place_segments());
        TRY(place_preferred());
        TRY(place_modules());
        break;
      case Placing::kFixed:
      case Placing::kFromTop:
        TRY(place_fixed());
        TRY(place_segments());
        TRY(place_modules());
        break;
      case Placing::kAfterImage:
        TRY(place_segments());
        TRY(place_modules());
        TRY(place_after_image());
        break;
    }
    fill_in();
    plan_.entry = internal::entry_state(shape_, request_.poison, gdt_);
    plan_.entry.eip = static_cast<std::uint32_t>(image_.pvh_entry->value() + offset());
    plan_.entry.ebx = static_cast<std::uint32_t>(plan_.start_info.value());
    if (request_.poison) {
      plan_.poisoned = layout_.free_beside_boot_data();
    }
    plan_.pieces = std::move(layout_).take_pieces();
    return std::move(plan_);
  }

 private:
  static std::vector<memory_map::RawEntry> raw(std::span<const memory_map::Entry> map) {
    std::vector<memory_map::RawEntry> entries;
    for (const memory_map::Entry& entry : map) {
      entries.push_back(to_raw(entry));
    }
    return entries;
  }

  // Two's complement: adding it moves down as well as up.
  std::uint64_t offset() const { return static_cast<std::uint64_t>(plan_.load_offset); }

  ByteSize start_info_size() const {
    return ByteSize(request_.start_info_version == 0 ? abi::kStartInfoSizeV0
                                                     : abi::kStartInfoSizeV1);
  }
  ByteSize memory_map_size() const {
    return ByteSize(plan_.memory_map.size() * sizeof(abi::hvm_memmap_table_entry));
  }
  ByteSize module_list_size() const {
    return ByteSize(modules_.size() * sizeof(abi::hvm_modlist_entry));
  }
  bool has_command_line() const {
    return !(request_.command_line.empty() && shape_.empty_command_line_is_absent);
  }
  bool has_memory_map() const { return request_.start_info_version != 0; }

  Result<void> place_tables() {
    for (const TableRequest& table : request_.tables) {
      const auto range = Range::from_size(table.address, ByteSize(table.content.size()));
      if (!range || table.type == memory_map::Type::kRam) {
        return fault(PlanError::kBadRequest,
                     fmt::format("table {} is empty, wraps, or is to be RAM", table.name));
      }
      const bool in_table_memory = request_.table_memory && request_.table_memory->contains(*range);
      if (!in_table_memory && !contained(request_.ram, *range)) {
        return fault(PlanError::kOutsideRam,
                     fmt::format("table {} at {}", table.name, show(*range)));
      }
      if (const Piece* other = layout_.in_the_way(*range)) {
        return fault(PlanError::kBadRequest, fmt::format("table {} at {} overlaps table {}",
                                                         table.name, show(*range), other->name));
      }
      layout_.add(PieceKind::kTable, table.name, *range, table.content);
    }
    return {};
  }

  // ---- The image ----

  std::optional<Range> moved(const Segment& segment, std::uint64_t by) const {
    return Range::from_size(PhysAddr(segment.paddr.value() + by), segment.memory_size);
  }

  bool fits(std::uint64_t by) const {
    return std::ranges::all_of(image_.segments, [&](const Segment& segment) {
      const auto range = moved(segment, by);
      return range && layout_.is_free(*range);
    });
  }

  // Stays where it is linked as long as it can.
  Result<void> relocate() {
    if (image_.segments.empty()) {
      return {};
    }
    PhysAddr first = image_.segments.front().paddr;
    PhysAddr last = first;
    for (const Segment& segment : image_.segments) {
      const auto range = moved(segment, 0);
      if (!range) {
        return fault(PlanError::kBadImage, fmt::format("segment {} wraps", segment.index));
      }
      first = std::min(first, range->first());
      last = std::max(last, range->last());
    }
    image_end_ = last;
    if (!image_.relocation) {
      return {};
    }
    const Relocation& allowed = *image_.relocation;
    if (first >= allowed.min && last <= allowed.max && fits(0)) {
      return {};
    }
    const std::uint64_t size = last.value() - first.value();  // less one
    const auto place = find_relocated(first, size, allowed);
    if (!place) {
      return fault(PlanError::kOutsideRam,
                   fmt::format("the image is {:#x} bytes long and may be moved by multiples of "
                               "{:#x} within {:#x}-{:#x}; free RAM is {}",
                               size + 1, allowed.alignment, allowed.min.value(),
                               allowed.max.value(), show(layout_.free())));
    }
    const std::uint64_t by = place->value() - first.value();
    plan_.load_offset = static_cast<std::int64_t>(by);
    image_end_ = PhysAddr(last.value() + by);
    return {};
  }

  // The lowest address from 1 MiB up for an image of `size` + 1 bytes that is linked to `first`. It
  // moves by whole multiples, so an odd remainder stays: this is not alignment of the address.
  std::optional<PhysAddr> find_relocated(PhysAddr first, std::uint64_t size,
                                         const Relocation& allowed) const {
    const std::uint64_t step = std::max<std::uint64_t>(allowed.alignment, 1);
    const auto bounds = Range::from_last(std::max(allowed.min, PhysAddr(kMiB)),
                                         std::min(allowed.max, kBelow4GiB.last()));
    for (const memory_map::Entry& entry : layout_.free()) {
      const auto room = bounds ? entry.range.intersection(*bounds) : std::nullopt;
      if (room) {
        const std::uint64_t start = room->first().value();
        const std::uint64_t up = (first.value() % step + (step - start % step)) % step;
        const auto address = base::checked_add(start, up);
        const auto last = address ? base::checked_add(*address, size) : std::nullopt;
        if (last && *last <= room->last().value()) {
          return PhysAddr(*address);
        }
      }
    }
    return std::nullopt;
  }

  Result<void> place_segments() {
    TRY(relocate());
    for (const Segment& segment : image_.segments) {
      const auto range = moved(segment, offset());
      const auto content = base::slice(image_.elf, segment.offset, segment.file_size);
      if (!range || !content || segment.file_size > segment.memory_size.value()) {
        return fault(PlanError::kBadImage, fmt::format("segment {}", segment.index));
      }
      const std::string name = fmt::format("segment {}", segment.index);
      if (const Piece* other = layout_.in_the_way(*range)) {
        return fault(
            PlanError::kOverlapsReserved,
            fmt::format("{} at {}, {} at {}", name, show(*range), other->name, show(other->range)));
      }
      if (!layout_.is_free(*range)) {
        return fault(PlanError::kOutsideRam, fmt::format("{} at {}; free RAM is {}", name,
                                                         show(*range), show(layout_.free())));
      }
      layout_.add(PieceKind::kSegment, name, *range, *content);
    }
    return {};
  }

  // ---- Modules ----

  Result<void> place_module(std::size_t index, PhysAddr address, ByteSize size) {
    const ModuleRequest& module = request_.modules[index];
    const auto range = Range::from_size(address, size);
    if (!range || !layout_.is_free(*range)) {
      const Piece* other = range ? layout_.in_the_way(*range) : nullptr;
      return fault(PlanError::kModuleTooLarge,
                   fmt::format("{}: {} puts it at {}{}", module.name, shape_.peer,
                               range ? show(*range) : "no address",
                               other != nullptr ? ", where " + other->name + " is" : ""));
    }
    layout_.add(PieceKind::kModule, module.name, *range, module.content);
    modules_[index].paddr = base::Le64(address.value());
    modules_[index].size = base::Le64(module.content.size());
    modules_[index].reserved = base::Le64(shape_.module_reserved);
    modules_end_ = range->last();
    return {};
  }

  Result<void> place_modules() {
    modules_end_ = image_end_;
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const ModuleRequest& module = request_.modules[i];
      const auto size = page_size_of(module);
      if (!size) {
        return fault(PlanError::kModuleTooLarge, module.name);
      }
      if (shape_.module_placing == ModulePlacing::kTopOfLowRam) {
        TRY(place_at_top(i, *size));
      } else if (shape_.placing == Placing::kAfterImage) {
        const auto address = next_address(base::kPageSize);
        if (!address) {
          return fault(PlanError::kModuleTooLarge, module.name);
        }
        TRY(place_module(i, *address, *size));
      } else {
        TRY(place_behind(i, *size));
      }
    }
    return {};
  }

  std::optional<PhysAddr> next_address(ByteSize alignment) const {
    const auto next = modules_end_.checked_add(ByteSize(1));
    return next ? next->align_up(alignment) : std::nullopt;
  }

  Result<void> place_at_top(std::size_t index, ByteSize size) {
    const ModuleRequest& module = request_.modules[index];
    const auto top = request_.ram.front().end()->offset_from(PhysAddr(shape_.module_gap));
    const auto room =
        top ? top->checked_sub(ByteSize(std::max<std::uint64_t>(module.content.size(), 1)))
            : std::nullopt;
    if (!room) {
      return fault(PlanError::kModuleTooLarge,
                   fmt::format("{}: {:#x} bytes", module.name, module.content.size()));
    }
    const auto address = PhysAddr(room->value()).align_down(ByteSize(shape_.module_alignment));
    return place_module(index, *address, size);
  }

  // Behind the kernel and one after the other, as Xen does: some kernels take the end of the last
  // module for the beginning of free memory. Where that does not work, anywhere.
  Result<void> place_behind(std::size_t index, ByteSize size) {
    const ModuleRequest& module = request_.modules[index];
    const ByteSize alignment = index == 0 ? ByteSize(shape_.module_alignment) : base::kPageSize;
    const auto next = next_address(alignment);
    const PhysAddr above_4gib(kBelow4GiB.last().value() + 1);
    const std::array<std::optional<Range>, 4> choices{
        next ? Range::from_last(*next, kBelow4GiB.last()) : std::nullopt,
        Range::from_last(PhysAddr(kMiB), kBelow4GiB.last()),
        Range::from_last(PhysAddr(base::kPageSize.value()), kBelow4GiB.last()),
        Range::from_last(above_4gib, PhysAddr(UINT64_MAX))};
    for (const auto& within : choices) {
      if (const auto place = within ? layout_.find(size, base::kPageSize, *within) : std::nullopt) {
        return place_module(index, place->first(), size);
      }
    }
    return fault(PlanError::kModuleTooLarge,
                 fmt::format("{}: {:#x} bytes; free RAM is {}", module.name, module.content.size(),
                             show(layout_.free())));
  }

  // ---- Boot data ----

  // Where `size` bytes of boot data go: at the preferred address, or else at the lowest that is
  // free. What is small stays in one cache line.
  std::optional<Range> choose(Preference preference, ByteSize size) const {
    const auto preferred = Range::from_size(PhysAddr(preference.address), size);
    if (preferred && size.value() <= preference.room && layout_.is_free(*preferred)) {
      return preferred;
    }
    const auto within = Range::from_last(PhysAddr(base::kPageSize.value()), kBelow4GiB.last());
    return layout_.find(size, kCacheLine, *within);
  }

  Result<void> place_preferred() {
    const auto start_info = choose(internal::kStrictStartInfo, start_info_size());
    if (!start_info) {
      return fault(PlanError::kNoRoomForBootData, "start_info");
    }
    add_start_info(*start_info);
    if (has_memory_map()) {
      const auto map = choose(internal::kStrictMemoryMap, memory_map_size());
      if (!map) {
        return fault(PlanError::kNoRoomForBootData, "memory map");
      }
      add_memory_map(*map);
    }
    if (!request_.poison) {
      const auto gdt = choose(internal::kStrictGdt, ByteSize(shape_.gdt.size_bytes()));
      if (!gdt) {
        return fault(PlanError::kNoRoomForBootData, "GDT");
      }
      add_gdt(*gdt);
    }
    const auto command_line = choose(internal::kStrictCommandLine, size_of(request_.command_line));
    if (!command_line) {
      return fault(PlanError::kCommandLineTooLong,
                   fmt::format("{} bytes; free RAM is {}", request_.command_line.size(),
                               show(layout_.free())));
    }
    add_command_line(*command_line);
    if (modules_.empty()) {
      return {};
    }
    const auto list = choose(internal::kStrictModuleList, module_list_size());
    if (!list) {
      return fault(PlanError::kTooManyModules, fmt::format("{}", modules_.size()));
    }
    add_module_list(*list);
    return place_module_command_lines();
  }

  // All in one run: there may be thousands.
  Result<void> place_module_command_lines() {
    std::uint64_t total = 0;
    for (const ModuleRequest& module : request_.modules) {
      total += module.command_line.empty() ? 0 : slot_size_of(module.command_line).value();
    }
    if (total == 0) {
      return {};
    }
    const auto run = choose(internal::kStrictModuleCommandLines, ByteSize(total));
    if (!run) {
      return fault(PlanError::kCommandLineTooLong, fmt::format("{} bytes for all modules", total));
    }
    std::uint64_t address = run->first().value();
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const std::string& text = request_.modules[i].command_line;
      if (!text.empty()) {
        add_module_command_line(i, PhysAddr(address));
        address += slot_size_of(text).value();
      }
    }
    return {};
  }

  // A range at an address that the shape prescribes.
  Result<Range> exactly(std::uint64_t address, ByteSize size, std::string_view name) const {
    const auto range = Range::from_size(PhysAddr(address), size);
    if (!range || !layout_.is_free(*range)) {
      const Piece* other = range ? layout_.in_the_way(*range) : nullptr;
      return fault(PlanError::kNoRoomForBootData,
                   fmt::format("{} puts the {} at {:#x}{}", shape_.peer, name, address,
                               other != nullptr ? ", where " + other->name + " is" : ""));
    }
    return *range;
  }

  Result<void> place_fixed() {
    constexpr std::uint64_t kHeapAlignment = 16;
    std::uint64_t command_line = shape_.command_line;
    std::uint64_t map = shape_.memory_map;
    if (shape_.placing == Placing::kFromTop) {
      // Each a block of the firmware's heap, which grows downward in steps of 16.
      const auto below = [](std::uint64_t top, std::uint64_t size) {
        return (top - size) / kHeapAlignment * kHeapAlignment;
      };
      const std::uint64_t copy =
          below(shape_.heap_top, shape_.heap_entry_size * plan_.memory_map.size());
      command_line = below(copy, size_of(request_.command_line).value());
      map = below(command_line, memory_map_size().value());
    }
    add_start_info(TRY(exactly(shape_.start_info, start_info_size(), "start_info")));
    if (has_memory_map()) {
      add_memory_map(TRY(exactly(map, memory_map_size(), "memory map")));
    }
    add_command_line(TRY(exactly(command_line, size_of(request_.command_line), "command line")));
    if (!modules_.empty()) {
      add_module_list(TRY(exactly(shape_.module_list, module_list_size(), "module list")));
    }
    if (!shape_.gdt.empty()) {
      add_gdt(TRY(exactly(shape_.gdt_address, ByteSize(shape_.gdt.size_bytes()), "GDT")));
    }
    if (shape_.idt_written) {
      layout_.add(
          PieceKind::kIdt, "IDT",
          TRY(exactly(shape_.idt_address, ByteSize(std::uint64_t{shape_.idt_limit} + 1), "IDT")),
          {});
    }
    return {};
  }

  // libxl allocates one block for everything: start_info, the command line in steps of 8, slots and
  // command lines for as many modules as it ever passes, the map.
  Result<void> place_after_image() {
    const auto start = next_address(base::kPageSize);
    if (!start) {
      return fault(PlanError::kNoRoomForBootData, "");
    }
    std::uint64_t address = start->value();
    add_start_info(TRY(exactly(address, start_info_size(), "start_info")));
    address += start_info_size().value();
    if (has_command_line()) {
      const ByteSize size = size_of(request_.command_line);
      add_command_line(TRY(exactly(address, size, "command line")));
      address += slot_size_of(request_.command_line).value();
    }
    if (!modules_.empty()) {
      add_module_list(TRY(exactly(address, module_list_size(), "module list")));
    }
    address += *shape_.module_limit * sizeof(abi::hvm_modlist_entry);
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const std::string& text = request_.modules[i].command_line;
      const std::uint64_t slot = address + i * *shape_.module_command_line_limit;
      if (!text.empty()) {
        TRY(exactly(slot, slot_size_of(text), "module's command line"));
        add_module_command_line(i, PhysAddr(slot));
      }
    }
    address += *shape_.module_limit * *shape_.module_command_line_limit;
    if (has_memory_map()) {
      add_memory_map(TRY(exactly(address, memory_map_size(), "memory map")));
    }
    return {};
  }

  void add_start_info(Range range) {
    start_info_piece_ = layout_.add(PieceKind::kStartInfo, "start_info", range, {});
    plan_.start_info = range.first();
    start_info_.magic = base::Le32(abi::XEN_HVM_START_MAGIC_VALUE);
    start_info_.version = base::Le32(request_.start_info_version);
    if (request_.rsdp && shape_.passes_rsdp) {
      start_info_.rsdp_paddr = base::Le64(request_.rsdp->value());
    }
  }

  void add_memory_map(Range range) {
    const std::size_t piece = layout_.add(PieceKind::kMemoryMap, "memory map", range, {});
    std::vector<std::byte> bytes(memory_map_size().value());
    // Cannot fail: the room is what the form needs.
    const auto encoded = memory_map::encode(memory_map::Form::kTable, plan_.memory_map, bytes);
    layout_.fill(piece, encoded ? std::move(bytes) : std::vector<std::byte>());
    start_info_.memmap_paddr = base::Le64(range.first().value());
    start_info_.memmap_entries = base::Le32(static_cast<std::uint32_t>(plan_.memory_map.size()));
  }

  void add_command_line(Range range) {
    layout_.add(PieceKind::kCommandLine, "command line", range, bytes_of(request_.command_line));
    start_info_.cmdline_paddr = base::Le64(range.first().value());
  }

  void add_gdt(Range range) {
    const std::size_t piece = layout_.add(PieceKind::kGdt, "GDT", range, {});
    std::vector<std::byte> bytes;
    for (const std::uint64_t descriptor : shape_.gdt) {
      const auto part = base::to_bytes(base::Le64(descriptor));
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    layout_.fill(piece, std::move(bytes));
    gdt_ = range.first();
  }

  void add_module_list(Range range) {
    module_list_piece_ = layout_.add(PieceKind::kModuleList, "module list", range, {});
    start_info_.nr_modules = base::Le32(static_cast<std::uint32_t>(modules_.size()));
    start_info_.modlist_paddr = base::Le64(range.first().value());
  }

  void add_module_command_line(std::size_t index, PhysAddr address) {
    const ModuleRequest& module = request_.modules[index];
    layout_.add(PieceKind::kModuleCommandLine, "command line of " + module.name,
                *Range::from_size(address, slot_size_of(module.command_line)),
                bytes_of(module.command_line));
    modules_[index].cmdline_paddr = base::Le64(address.value());
  }

  // What could not be written before everything had its address.
  void fill_in() {
    const auto info = base::to_bytes(start_info_);
    layout_.fill(
        start_info_piece_,
        {info.begin(), info.begin() + static_cast<std::ptrdiff_t>(start_info_size().value())});
    std::vector<std::byte> list;
    for (const abi::hvm_modlist_entry& entry : modules_) {
      const auto part = base::to_bytes(entry);
      list.insert(list.end(), part.begin(), part.end());
    }
    if (module_list_piece_) {
      layout_.fill(*module_list_piece_, std::move(list));
    }
  }

  const Image& image_;
  const PlanRequest& request_;
  const ShapeFacts& shape_;
  Layout layout_;
  Plan plan_;
  PhysAddr image_end_;    // last byte
  PhysAddr modules_end_;  // last byte of image and modules so far
  std::optional<PhysAddr> gdt_;
  std::size_t start_info_piece_ = 0;
  std::optional<std::size_t> module_list_piece_;
  abi::hvm_start_info start_info_{};
  std::vector<abi::hvm_modlist_entry> modules_;
};

}  // namespace

base::Explanation explain(PlanError code) {
  switch (code) {
    case PlanError::kBadImage:
      return {"the kernel cannot be loaded", ""};
    case PlanError::kOutsideRam:
      return {"it does not lie in the guest's RAM", "give the guest more with --memory"};
    case PlanError::kOverlapsReserved:
      return {"the kernel lies on memory that is taken", "link it elsewhere"};
    case PlanError::kModuleTooLarge:
      return {"a module finds no room in the guest's RAM", "give the guest more with --memory"};
    case PlanError::kCommandLineTooLong:
      return {"a command line is too long", "shorten it"};
    case PlanError::kCommandLineHasNul:
      return {"a command line has a zero byte in it", "the guest would not see what follows"};
    case PlanError::kTooManyModules:
      return {"there are too many modules", "leave some out"};
    case PlanError::kNoRoomForBootData:
      return {"there is no room for the boot data", "give the guest more with --memory"};
    case PlanError::kNoRam:
      return {"the guest has not enough RAM to begin with", "give it more with --memory"};
    case PlanError::kBadRequest:
      return {"the machine is contradictory", ""};
  }
  return {"unknown error", ""};
}

std::string_view to_string(PieceKind kind) {
  switch (kind) {
    case PieceKind::kSegment:
      return "segment";
    case PieceKind::kModule:
      return "module";
    case PieceKind::kModuleCommandLine:
      return "module command line";
    case PieceKind::kModuleList:
      return "module list";
    case PieceKind::kCommandLine:
      return "command line";
    case PieceKind::kStartInfo:
      return "start_info";
    case PieceKind::kMemoryMap:
      return "memory map";
    case PieceKind::kGdt:
      return "GDT";
    case PieceKind::kIdt:
      return "IDT";
    case PieceKind::kTable:
      return "table";
  }
  return "unknown";
}

std::expected<Plan, PlanFault> make_plan(const Image& image, const PlanRequest& request) {
  if (!image.problems.empty()) {
    return fault(PlanError::kBadImage, base::to_text(image.problems.front()));
  }
  if (!image.pvh_entry) {
    return fault(PlanError::kBadImage, "it has no PVH entry");
  }
  const ShapeFacts& shape = internal::facts(request.shape);
  TRY(check(request, shape));
  return Planner(image, request, shape).make();
}

}  // namespace pvh::loader
