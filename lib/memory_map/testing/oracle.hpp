// SPDX-License-Identifier: BSD-2-Clause
// What the library must answer, found in the most naive way: paint every cell of a small stretch of
// the address space, read the answer off. It shares no code with what it judges. (Hosted.)
//
// A cell is the smallest unit that a test uses, one byte or a part of a page; everything in a test
// begins and ends on cells.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/normalize.hpp>

namespace pvh::memory_map::testing {

// The cells [origin, origin + cells * cell); origin lies on a page, and so does the end where pages
// matter. It may end at the top of the address space.
struct Space {
  std::uint64_t origin;
  std::uint64_t cell;
  std::uint64_t cells;

  [[nodiscard]] std::uint64_t first_of(std::uint64_t index) const { return origin + index * cell; }
  [[nodiscard]] std::uint64_t last_of(std::uint64_t index) const {
    return first_of(index) + (cell - 1);
  }
  [[nodiscard]] bool ends_at_top() const { return origin + cells * cell == 0; }
};

// One type for each cell; nothing is a gap.
using Painting = std::vector<std::optional<std::uint32_t>>;

// Guest-side rule N-4, written out once more.
inline int strength(std::uint32_t type) {
  switch (type) {
    case 5:
    case 6:
      return 100;
    case 4:
      return 80;
    case 3:
      return 70;
    case 7:
      return 60;
    case 1:
      return 0;
    default:
      return 90;
  }
}
inline bool stronger(std::uint32_t a, std::uint32_t b) {
  return strength(a) != strength(b) ? strength(a) > strength(b) : a < b;
}
inline void paint(std::optional<std::uint32_t>& cell, std::uint32_t type) {
  if (!cell || stronger(type, *cell)) {
    cell = type;
  }
}

// Whether the entry covers the cell, were it for the entry alone.
inline bool covers(const RawEntry& entry, std::uint64_t first, std::uint64_t last) {
  if (entry.size == 0) {
    return false;
  }
  __extension__ using Wide = unsigned __int128;
  const Wide end = Wide{entry.addr} + entry.size;
  const bool wraps = end > (Wide{1} << 64);
  if (wraps && entry.type == 1) {
    return false;
  }
  return entry.addr <= first && (wraps || last < end);
}

// Each page becomes one colour: of its cells that are not RAM the strongest; RAM if all are.
inline void to_pages(const Space& space, Painting& painting) {
  const std::uint64_t per_page = 4096 / space.cell;
  for (std::uint64_t page = 0; page < space.cells; page += per_page) {
    std::optional<std::uint32_t> colour;
    bool all_ram = true;
    for (std::uint64_t i = page; i < page + per_page; ++i) {
      all_ram = all_ram && painting[i] == 1u;
      if (painting[i] && *painting[i] != 1) {
        paint(colour, *painting[i]);
      }
    }
    if (all_ram) {
      colour = 1;
    }
    std::fill_n(painting.begin() + static_cast<std::ptrdiff_t>(page), per_page, colour);
  }
}

inline std::vector<Entry> read_off(const Space& space, const Painting& painting) {
  std::vector<Entry> map;
  for (std::uint64_t i = 0; i < space.cells;) {
    std::uint64_t end = i;
    while (end < space.cells && painting[end] == painting[i]) {
      ++end;
    }
    if (painting[i]) {
      map.push_back({*base::Range::from_last(base::PhysAddr(space.first_of(i)),
                                             base::PhysAddr(space.last_of(end - 1))),
                     Type{*painting[i]}});
    }
    i = end;
  }
  return map;
}

inline std::vector<Entry> oracle_normalize(const Space& space, std::span<const RawEntry> in,
                                           const NormalizeOptions& options) {
  Painting painting(space.cells);
  for (std::uint64_t i = 0; i < space.cells; ++i) {
    const std::uint64_t first = space.first_of(i);
    const std::uint64_t last = space.last_of(i);
    for (const RawEntry& entry : in) {
      if (covers(entry, first, last)) {
        paint(painting[i], entry.type);
      }
    }
    const bool beyond = options.phys_bits < 64 && first >> options.phys_bits != 0;
    const bool withheld = (options.withhold_page_zero && last < 0x1000) ||
                          (options.withhold_legacy_hole && first >= 0xa0000 && last < 0x100000);
    if (beyond || (withheld && painting[i] == 1u)) {
      painting[i].reset();
    }
  }
  if (options.page_granular) {
    to_pages(space, painting);
  }
  return read_off(space, painting);
}

// What is left of a map that must fit in `capacity`; nothing when it cannot.
inline std::optional<std::vector<Entry>> oracle_fit(std::vector<Entry> map, std::size_t capacity) {
  while (map.size() > capacity) {
    auto victim = map.end();
    for (auto it = map.begin(); it != map.end(); ++it) {
      if (it->type == Type::kRam &&
          (victim == map.end() || it->range.size() <= victim->range.size())) {
        victim = it;
      }
    }
    if (victim == map.end()) {
      return std::nullopt;
    }
    map.erase(victim);
  }
  return map;
}

inline std::vector<Entry> oracle_subtract(const Space& space, std::span<const Entry> map,
                                          std::span<const base::Range> reservations,
                                          const SubtractOptions& options) {
  Painting painting(space.cells);
  for (std::uint64_t i = 0; i < space.cells; ++i) {
    const base::PhysAddr address(space.first_of(i));
    const auto holds = [&](const base::Range& range) { return range.contains(address); };
    bool is_ram = false;
    for (const Entry& entry : map) {
      is_ram = is_ram || (entry.type == Type::kRam && holds(entry.range));
    }
    if (is_ram && std::ranges::none_of(reservations, holds)) {
      painting[i] = 1;
    }
  }
  if (options.page_granular) {
    to_pages(space, painting);
  }
  return read_off(space, painting);
}

// Tries every address of the space.
inline std::optional<base::Range> oracle_find_free(const Space& space, std::span<const Entry> free,
                                                   const FindOptions& options) {
  std::optional<base::Range> found;
  for (std::uint64_t i = 0; i < space.cells; ++i) {
    const auto range = base::Range::from_size(base::PhysAddr(space.first_of(i)), options.size);
    const bool fits = range && range->first().value() % options.alignment.value() == 0 &&
                      (!options.within || options.within->contains(*range)) &&
                      std::ranges::any_of(free, [&](const Entry& entry) {
                        return entry.type == Type::kRam && entry.range.contains(*range);
                      });
    if (fits && (!found || options.placement == Placement::kHighest)) {
      found = range;
    }
  }
  return found;
}

// The three promises of a normalised map: sorted, disjoint, merged but for all 2^64 bytes at once.
inline bool is_normalised(std::span<const Entry> map) {
  for (std::size_t i = 1; i < map.size(); ++i) {
    const Entry& low = map[i - 1];
    const Entry& high = map[i];
    const bool touch = low.range.end() == high.range.first();
    const bool whole = low.range.first().value() == 0 && high.range.last().value() == UINT64_MAX;
    if (low.range.last() >= high.range.first() || (touch && low.type == high.type && !whole)) {
      return false;
    }
  }
  return true;
}

inline std::string to_text(std::span<const Entry> map) {
  std::string text;
  for (const Entry& entry : map) {
    text += fmt::format("  {:#x}-{:#x} type {}\n", entry.range.first().value(),
                        entry.range.last().value(), to_raw(entry.type));
  }
  return text;
}

// Empty when normalize() does what the oracle says, with `capacity` entries of room; else all that
// is needed to see why not.
inline std::string judge_normalize(const Space& space, std::span<const RawEntry> in,
                                   const NormalizeOptions& options, std::size_t capacity) {
  std::vector<Entry> out(capacity);
  std::vector<Scratch> scratch(scratch_size(in.size()));
  Report report;
  const auto map = normalize(in, out, scratch, options, report);

  const auto all = oracle_normalize(space, in, options);
  const auto expected = oracle_fit(all, capacity);
  std::string wrong;
  if (map.has_value() != expected.has_value()) {
    wrong = map ? "it should not fit" : "it should fit";
  } else if (!map) {
    const auto kept = static_cast<std::uint64_t>(
        std::ranges::count_if(all, [](const Entry& e) { return e.type != Type::kRam; }));
    wrong = map.error() == MapError{MapErrorCode::kOutputTooSmall, kept} ? "" : "wrong error";
  } else if (!std::ranges::equal(*map, *expected)) {
    wrong = "wrong map:\n" + to_text(*map);
  } else if (!is_normalised(*map)) {
    wrong = "not sorted, disjoint and merged";
  } else if (report.dropped_ranges != all.size() - expected->size()) {
    wrong = fmt::format("reports {} dropped ranges", report.dropped_ranges);
  }
  if (wrong.empty() && report.needed != all.size()) {
    wrong = fmt::format("reports that {} entries are needed", report.needed);
  }
  if (wrong.empty() && all.size() > output_size(in.size())) {
    wrong = "output_size() is too small";
  }
  if (wrong.empty()) {
    return wrong;
  }
  wrong += fmt::format(
      "\nexpected of all that fits in {}:\n{}input (phys_bits {}, pages {}, zero {}, legacy {}):\n",
      capacity, to_text(expected.value_or(all)), options.phys_bits, options.page_granular,
      options.withhold_page_zero, options.withhold_legacy_hole);
  for (const RawEntry& entry : in) {
    wrong += fmt::format("  {{{:#x}, {:#x}, {}}},\n", entry.addr, entry.size, entry.type);
  }
  return wrong;
}

}  // namespace pvh::memory_map::testing
