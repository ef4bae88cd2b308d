// SPDX-License-Identifier: BSD-2-Clause
// The one algorithm behind normalize, subtract and reserve: walk all boundaries from low to high
// and ask at each who of those present has the highest rank. (Private to this library.)
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include <pvh/base/address.hpp>
#include <pvh/base/checked.hpp>
#include <pvh/memory_map/map.hpp>
#include <pvh/memory_map/normalize.hpp>

namespace pvh::memory_map::internal {

inline constexpr std::uint64_t kPageMask = base::kPageSize.value() - 1;

// A rank that no type has: it beats RAM, loses to everybody else, and comes out as a gap.
inline constexpr std::uint32_t kWithheldRank = 2;
static_assert(precedence(Type::kRam) < kWithheldRank && kWithheldRank < precedence(Type::kPmem));

constexpr Scratch item(std::uint64_t first, std::uint64_t last, Type type) {
  return {first, last, to_raw(type), precedence(type)};
}
constexpr bool is_gap(const Scratch& segment) {
  return segment.rank == kWithheldRank;
}

constexpr void grow_to_pages(Scratch& segment) {
  segment.first &= ~kPageMask;
  segment.last |= kPageMask;
}

// Leaves the whole pages in the segment; false when there is none.
[[nodiscard]] constexpr bool shrink_to_pages(Scratch& segment) {
  const auto first = base::align_up(segment.first, base::kPageSize.value());
  const auto end = base::checked_add(segment.last, std::uint64_t{1});
  // Without an end it is the last page of the address space, which is whole at that end.
  const std::uint64_t whole_end = end.value_or(0) & ~kPageMask;
  if (!first || (end && whole_end <= *first)) {
    return false;
  }
  segment.first = *first;
  segment.last = whole_end - 1;
  return true;
}

constexpr bool starts_lower(const Scratch& a, const Scratch& b) {
  return a.first < b.first;
}

// The heap functions are here anyway, with this very type of order, and a kernel feels each KiB:
// std::sort would be three algorithms more. Of few items insertion takes the fewest instructions.
template <typename T>
constexpr void heap_sort(std::span<T> items, bool (*less)(const T&, const T&)) {
  constexpr std::size_t kFew = 16;
  if (items.size() <= kFew) {
    for (std::size_t i = 1; i < items.size(); ++i) {
      const T item = items[i];
      std::size_t at = i;
      for (; at > 0 && less(item, items[at - 1]); --at) {
        items[at] = items[at - 1];
      }
      items[at] = item;
    }
    return;
  }
  std::make_heap(items.begin(), items.end(), less);
  std::sort_heap(items.begin(), items.end(), less);
}

// Most maps come sorted; then this is one pass.
constexpr void sort_by_start(std::span<Scratch> items) {
  if (!std::is_sorted(items.begin(), items.end(), starts_lower)) {
    heap_sort(items, starts_lower);
  }
}

// Heap order: the strongest on top, and of two alike the one that stays longer.
constexpr bool weaker(const Scratch& a, const Scratch& b) {
  if (a.rank != b.rank) {
    return a.rank < b.rank;
  }
  return a.type != b.type ? a.type > b.type : a.last < b.last;
}

// Calls emit(segment) for each maximal run of one type, in ascending order. `items` is sorted by
// first and is used up: those already passed leave room at its front for the heap of those present.
// Each turn of the loop either admits an item or ends one, so there are at most 2n.
template <typename Emit>
constexpr void sweep(std::span<Scratch> items, Emit emit) {
  const auto heap_begin = items.begin();
  std::size_t next = 0;
  std::size_t present = 0;
  std::optional<Scratch> run;
  std::uint64_t at = 0;
  while (next < items.size() || present > 0) {
    if (present == 0) {
      at = items[next].first;
    }
    while (next < items.size() && items[next].first <= at) {
      items[present++] = items[next++];
      std::push_heap(heap_begin, heap_begin + static_cast<std::ptrdiff_t>(present), weaker);
    }
    const Scratch& top = items.front();
    if (top.last < at) {
      std::pop_heap(heap_begin, heap_begin + static_cast<std::ptrdiff_t>(present), weaker);
      --present;
      continue;
    }
    std::uint64_t last = top.last;
    if (next < items.size() && items[next].first <= last) {
      last = items[next].first - 1;  // it starts above `at`, so not at 0
    }
    if (run && run->last + 1 == at && run->type == top.type && run->rank == top.rank) {
      run->last = last;
    } else {
      if (run) {
        emit(*run);
      }
      run = Scratch{at, last, top.type, top.rank};
    }
    if (last == UINT64_MAX) {
      break;
    }
    at = last + 1;
  }
  if (run) {
    emit(*run);
  }
}

// Fills the caller's span. When that is full it keeps what is worth most: everything that is not
// RAM, then the largest ranges of RAM, of equals the lowest.
class Collector {
 public:
  explicit constexpr Collector(std::span<Entry> out) : out_(out) {}

  constexpr void add(std::uint64_t first, std::uint64_t last, Type type) {
    if (const auto range = base::Range::from_last(base::PhysAddr(first), base::PhysAddr(last))) {
      add({*range, type});
      return;
    }
    constexpr std::uint64_t kHalf = UINT64_MAX / 2;
    add(0, kHalf, type);
    add(kHalf + 1, UINT64_MAX, type);
  }

  constexpr void add(const Entry& entry) {
    ++needed_;
    if (entry.type != Type::kRam) {
      ++must_keep_;
    }
    if (count_ < out_.size()) {
      out_[count_++] = entry;
      return;
    }
    if (!heap_) {
      std::make_heap(out_.begin(), out_.end(), worth_more);
      heap_ = true;
    }
    if (out_.empty() || worth_more(out_.front(), entry)) {
      drop(entry);
      return;
    }
    std::pop_heap(out_.begin(), out_.end(), worth_more);
    drop(out_.back());
    out_.back() = entry;
    std::push_heap(out_.begin(), out_.end(), worth_more);
  }

  // What was kept, sorted; what was not, in `report`.
  [[nodiscard]] constexpr std::expected<std::span<Entry>, MapError> finish(Report& report) {
    report.needed = needed_;
    report.dropped_ranges = dropped_ranges_;
    report.dropped_ram = dropped_ram_;
    if (must_keep_ > out_.size()) {
      return std::unexpected(MapError{MapErrorCode::kOutputTooSmall, must_keep_});
    }
    if (heap_) {
      heap_sort<Entry>(out_, [](const Entry& a, const Entry& b) { return a.range < b.range; });
    }
    return out_.first(count_);
  }

 private:
  static constexpr bool worth_more(const Entry& a, const Entry& b) {
    const bool a_is_ram = a.type == Type::kRam;
    const bool b_is_ram = b.type == Type::kRam;
    if (a_is_ram != b_is_ram) {
      return b_is_ram;
    }
    if (a_is_ram && a.range.size() != b.range.size()) {
      return a.range.size() > b.range.size();
    }
    return a.range < b.range;
  }

  constexpr void drop(const Entry& entry) {
    if (entry.type == Type::kRam) {
      ++dropped_ranges_;
      dropped_ram_ = dropped_ram_.checked_add(entry.range.size()).value_or(dropped_ram_);
    }
  }

  std::span<Entry> out_;
  std::size_t count_ = 0;
  bool heap_ = false;
  std::uint64_t needed_ = 0;
  std::uint64_t must_keep_ = 0;
  std::uint64_t dropped_ranges_ = 0;
  base::ByteSize dropped_ram_;
};

}  // namespace pvh::memory_map::internal
