// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/memory_map/edit.hpp>

#include "sweep.hpp"

namespace pvh::memory_map {
namespace {

constexpr base::PhysAddr kFourGiB{std::uint64_t{1} << 32};

Scratch item(base::Range range, Type type) {
  return internal::item(range.first().value(), range.last().value(), type);
}

}  // namespace

std::expected<std::span<Entry>, MapError> subtract(std::span<const Entry> map,
                                                   std::span<const base::Range> reservations,
                                                   std::span<Entry> out, std::span<Scratch> scratch,
                                                   const SubtractOptions& options, Report& report) {
  report = {};
  const std::size_t count = edit_scratch_size(map.size(), reservations.size());
  if (scratch.size() < count) {
    return std::unexpected(MapError{MapErrorCode::kScratchTooSmall, count});
  }
  // What is not RAM takes part, so that even a map which nobody normalised gives no reserved byte
  // away.
  const auto rest = std::ranges::transform(map, scratch.begin(), [](const Entry& entry) {
                      return item(entry.range, entry.type);
                    }).out;
  std::ranges::transform(reservations, rest, [](base::Range range) {
    return Scratch{range.first().value(), range.last().value(), 0, internal::kWithheldRank};
  });
  internal::sort_by_start(scratch.first(count));
  return internal::collect(scratch.first(count), out,
                           {.page_granular = options.page_granular, .only_ram = true}, report);
}

std::expected<std::span<Entry>, MapError> reserve(std::span<const Entry> map,
                                                  std::span<const base::Range> reservations,
                                                  std::span<Entry> out, std::span<Scratch> scratch,
                                                  const ReserveOptions& options, Report& report) {
  report = {};
  if (options.type == Type::kRam) {
    return std::unexpected(MapError{MapErrorCode::kBadOptions});
  }
  const std::size_t count = edit_scratch_size(map.size(), reservations.size());
  if (scratch.size() < count) {
    return std::unexpected(MapError{MapErrorCode::kScratchTooSmall, count});
  }
  const auto items = scratch.first(count);
  const auto rest = std::ranges::transform(map, items.begin(), [](const Entry& entry) {
                      return item(entry.range, entry.type);
                    }).out;
  std::ranges::transform(reservations, rest,
                         [&](base::Range range) { return item(range, options.type); });
  if (options.page_granular) {
    for (Scratch& each : items) {
      if (Type{each.type} != Type::kRam) {
        internal::grow_to_pages(each);
      }
    }
  }
  internal::sort_by_start(items);
  return internal::collect(items, out, {.page_granular = options.page_granular, .only_ram = false},
                           report);
}

namespace {

std::size_t index_of(const Scratch& each) {
  return static_cast<std::size_t>(std::uint64_t{each.rank} << 32 | each.type);
}

}  // namespace

std::expected<std::optional<Overlap>, MapError> find_overlap(std::span<const base::Range> ranges,
                                                             std::span<Scratch> scratch) {
  if (scratch.size() < ranges.size()) {
    return std::unexpected(MapError{MapErrorCode::kScratchTooSmall, ranges.size()});
  }
  const auto items = scratch.first(ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    // The two small fields hold the index between them.
    items[i] = {ranges[i].first().value(), ranges[i].last().value(), static_cast<std::uint32_t>(i),
                static_cast<std::uint32_t>(std::uint64_t{i} >> 32)};
  }
  internal::sort(items, [](const Scratch& a, const Scratch& b) {
    return a.first != b.first ? a.first < b.first : index_of(a) < index_of(b);
  });
  for (std::size_t i = 1; i < items.size(); ++i) {
    // Up to here nothing overlapped, so the one before reaches highest.
    if (items[i].first <= items[i - 1].last) {
      return Overlap{index_of(items[i - 1]), index_of(items[i])};
    }
  }
  return std::nullopt;
}

const Entry* lookup(std::span<const Entry> map, base::PhysAddr address) {
  const auto after = std::ranges::upper_bound(
      map, address, {}, [](const Entry& entry) { return entry.range.first(); });
  if (after == map.begin()) {
    return nullptr;
  }
  const Entry& entry = *(after - 1);
  return entry.range.contains(address) ? &entry : nullptr;
}

bool is_ram(std::span<const Entry> map, base::Range range) {
  const Entry* const entry = lookup(map, range.first());
  return entry != nullptr && entry->type == Type::kRam && entry->range.contains(range);
}

std::optional<base::Range> find_free(std::span<const Entry> free, const FindOptions& options) {
  const std::uint64_t size = options.size.value();
  const std::uint64_t alignment = options.alignment.value();
  // Spelt out because std::has_single_bit, and with it base::align_up, is a call into the
  // compiler's runtime where popcnt must not be used; a kernel has no such runtime.
  if (size == 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return std::nullopt;
  }
  const bool highest = options.placement == Placement::kHighest;
  std::optional<base::Range> best;
  for (const Entry& entry : free) {
    const auto room = options.within ? entry.range.intersection(*options.within) : entry.range;
    if (entry.type != Type::kRam || !room || room->size() < options.size) {
      continue;
    }
    // The lowest place starts with the room and alignment moves it up; the highest ends with the
    // room and alignment moves it down. What leaves the room by that is no place.
    const std::uint64_t low = room->first().value();
    const std::uint64_t high = room->last().value() - (size - 1);
    const std::uint64_t slack = highest ? high % alignment : (0 - low) % alignment;
    if (slack > high - low) {
      continue;
    }
    const base::PhysAddr first(highest ? high - slack : low + slack);
    if (!best || (highest ? first > best->first() : first < best->first())) {
      best = base::Range::from_size(first, options.size);
    }
  }
  return best;
}

std::optional<base::Range> find_free_low_page(std::span<const Entry> free) {
  static constexpr auto kStartable =
      base::Range::from_last(base::PhysAddr(0x1000), base::PhysAddr(0x9ffff));
  return find_free(free, {.size = base::kPageSize, .within = kStartable});
}

Statistics statistics(std::span<const Entry> map) {
  Statistics result;
  const auto raise = [](std::optional<base::PhysAddr>& mark, base::PhysAddr last) {
    mark = std::max(mark.value_or(last), last);
  };
  for (const Entry& entry : map) {
    if (entry.type != Type::kRam) {
      continue;
    }
    ++result.ram_ranges;
    // Only all 2^64 bytes do not fit.
    result.ram = result.ram.checked_add(entry.range.size()).value_or(base::ByteSize(UINT64_MAX));
    if (!result.largest || entry.range.size() > result.largest->size()) {
      result.largest = entry.range;
    }
    if (const auto below = entry.range.intersection(kBelow4GiB)) {
      raise(result.last_below_4g, below->last());
    }
    if (entry.range.last() >= kFourGiB) {
      raise(result.last_above_4g, entry.range.last());
    }
  }
  return result;
}

}  // namespace pvh::memory_map
