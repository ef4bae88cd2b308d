// SPDX-License-Identifier: BSD-2-Clause
#include "lib/guest/testing/boot_builder.hpp"

#include <algorithm>
#include <set>
#include <span>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <pvh/memory_map/codec.hpp>

namespace pvh::guest::testing {
namespace {

constexpr std::uint64_t kPage = base::kPageSize.value();

// Whether any of the ranges, grown to whole pages, holds the address.
bool reserves(std::span<const Reservation> reservations, std::uint64_t address) {
  return std::ranges::any_of(reservations, [&](const Reservation& each) {
    return each.range.first().value() / kPage <= address / kPage &&
           address / kPage <= each.range.last().value() / kPage;
  });
}

bool holds_ram(std::span<const memory_map::Entry> map, std::uint64_t address) {
  return std::ranges::any_of(map, [&](const memory_map::Entry& each) {
    return each.type == memory_map::Type::kRam && each.range.contains(base::PhysAddr(address));
  });
}

}  // namespace

HeapStorage::HeapStorage(const StorageSizes& sizes)
    : raw_(sizes.entries),
      map_(memory_map::output_size(sizes.entries)),
      free_(memory_map::edit_output_size(map_.size(), sizes.reservations)),
      scratch_(std::max(memory_map::scratch_size(sizes.entries),
                        memory_map::edit_scratch_size(map_.size(), sizes.reservations))),
      ranges_(sizes.reservations),
      modules_(sizes.modules),
      reservations_(sizes.reservations),
      strings_(sizes.strings) {}

Storage HeapStorage::spans() {
  return {.raw = raw_,
          .map = map_,
          .free = free_,
          .scratch = scratch_,
          .ranges = ranges_,
          .modules = modules_,
          .reservations = reservations_,
          .strings = strings_};
}

MapStorage HeapStorage::map_spans() {
  return {.raw = raw_, .map = map_, .scratch = scratch_};
}

base::PhysAddr BootBuilder::place() {
  if (low_memory > 0 && !fake_->get<std::uint8_t>(0)) {
    fake_->add_memory(0, low_memory);
  }
  abi::hvm_start_info info;
  info.magic = base::Le32(magic);
  info.version = base::Le32(version);
  info.flags = base::Le32(flags);
  info.nr_modules = base::Le32(nr_modules.value_or(static_cast<std::uint32_t>(modules.size())));
  info.modlist_paddr = base::Le64(modules.empty() && !nr_modules ? 0 : modlist);
  info.cmdline_paddr = base::Le64(command_line ? command_line_address : 0);
  info.rsdp_paddr = base::Le64(rsdp);
  info.memmap_paddr = base::Le64(memmap);
  info.memmap_entries = base::Le32(memmap_entries.value_or(static_cast<std::uint32_t>(map.size())));
  const auto bytes = base::to_bytes(info);
  fake_->put(start_info,
             base::Bytes(bytes).first(version == 0 ? abi::kStartInfoSizeV0 : bytes.size()));

  if (version > 0 && !map.empty() && memmap != 0) {
    std::vector<std::byte> table(map.size() * memory_map::entry_size(memory_map::Form::kTable));
    EXPECT_TRUE(memory_map::encode(memory_map::Form::kTable, map, table));
    fake_->put(memmap, table);
  }
  std::vector<std::byte> list;
  for (const ModuleRecord& module : modules) {
    abi::hvm_modlist_entry entry;
    entry.paddr = base::Le64(module.paddr);
    entry.size = base::Le64(module.size);
    entry.cmdline_paddr = base::Le64(module.cmdline_paddr);
    entry.reserved = base::Le64(module.reserved);
    const auto record = base::to_bytes(entry);
    list.insert(list.end(), record.begin(), record.end());
  }
  fake_->put(modlist, list);
  if (command_line) {
    fake_->put(command_line_address, *command_line + '\0');
  }
  return base::PhysAddr(start_info);
}

std::expected<Boot, BootError> BootBuilder::boot() {
  return capture_at(place());
}

std::expected<Boot, BootError> BootBuilder::capture_at(base::PhysAddr ebx) {
  storage_.emplace(sizes);
  return capture(fake_->machine(), detect_hypervisors(fake_->machine(), detect), ebx, image,
                 storage_->spans(), options);
}

std::string judge_free(const Boot& boot) {
  // Within a segment between two neighbouring edges nothing changes, so its first byte speaks for
  // it.
  std::set<std::uint64_t> edges{0};
  const auto add_edges = [&](base::Range range) {
    edges.insert(range.first().value() & ~(kPage - 1));
    const std::uint64_t last = range.last().value() | (kPage - 1);
    if (last != UINT64_MAX) {
      edges.insert(last + 1);
    }
  };
  const memory_map::Entry* before = nullptr;
  for (const memory_map::Entry& each : boot.free()) {
    add_edges(each.range);
    if (each.type != memory_map::Type::kRam || each.range.first().value() % kPage != 0 ||
        each.range.last().value() % kPage != kPage - 1) {
      return fmt::format("{:#x}: not whole pages of RAM", each.range.first().value());
    }
    if (before != nullptr && each.range.first() <= before->range.last()) {
      return fmt::format("{:#x}: not in order", each.range.first().value());
    }
    before = &each;
  }
  for (const memory_map::Entry& each : boot.memory_map()) {
    add_edges(each.range);
  }
  for (const Reservation& each : boot.reservations()) {
    add_edges(each.range);
  }
  for (const std::uint64_t edge : edges) {
    const bool expected =
        holds_ram(boot.memory_map(), edge) && !reserves(boot.reservations(), edge);
    if (holds_ram(boot.free(), edge) != expected) {
      return fmt::format("{:#x}: {}", edge, expected ? "lost" : "not RAM, or reserved, but free");
    }
  }
  return {};
}

bool has_reservation(const Boot& boot, ReservationKind kind, std::uint64_t first,
                     std::uint64_t last, std::uint32_t index) {
  return std::ranges::any_of(boot.reservations(), [&](const Reservation& each) {
    return each.kind == kind && each.index == index && each.range.first().value() == first &&
           each.range.last().value() == last;
  });
}

}  // namespace pvh::guest::testing
