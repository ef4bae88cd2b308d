// SPDX-License-Identifier: BSD-2-Clause
// The one algorithm behind normalize, subtract and reserve: walk all boundaries from low to high
// and ask at each who of those present has the highest rank.
#include "sweep.hpp"

#include <utility>

namespace pvh::memory_map::internal {
namespace {

// A binary heap with the greatest on top. Not the standard's: the sweep and the sort share these,
// and in a kernel bytes count.
template <typename T>
using Less = bool (*)(const T&, const T&);

template <typename T>
void sift_down(std::span<T> heap, std::size_t hole, Less<T> less) {
  const T value = heap[hole];
  while (true) {
    std::size_t child = 2 * hole + 1;
    if (child + 1 < heap.size() && less(heap[child], heap[child + 1])) {
      ++child;
    }
    if (child >= heap.size() || !less(value, heap[child])) {
      break;
    }
    heap[hole] = heap[child];
    hole = child;
  }
  heap[hole] = value;
}

// The last one is new.
template <typename T>
void sift_up(std::span<T> heap, Less<T> less) {
  std::size_t hole = heap.size() - 1;
  const T value = heap[hole];
  while (hole > 0 && less(heap[(hole - 1) / 2], value)) {
    heap[hole] = heap[(hole - 1) / 2];
    hole = (hole - 1) / 2;
  }
  heap[hole] = value;
}

template <typename T>
void make_heap(std::span<T> items, Less<T> less) {
  for (std::size_t i = items.size() / 2; i > 0; --i) {
    sift_down(items, i - 1, less);
  }
}

template <typename T>
void heap_sort(std::span<T> items, Less<T> less) {
  // Of few items insertion takes the fewest instructions.
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
  make_heap(items, less);
  for (std::size_t rest = items.size(); rest > 1; --rest) {
    std::swap(items[0], items[rest - 1]);
    sift_down(items.first(rest - 1), 0, less);
  }
}

bool starts_lower(const Scratch& a, const Scratch& b) {
  return a.first < b.first;
}

// Heap order: the strongest on top, and of two alike the one that stays longer.
bool weaker(const Scratch& a, const Scratch& b) {
  if (a.rank != b.rank) {
    return a.rank < b.rank;
  }
  return a.type != b.type ? a.type > b.type : a.last < b.last;
}

// Of no run at all.
constexpr std::uint32_t kNoRank = 0;
static_assert(kNoRank < precedence(Type::kRam));

bool is_gap(const Scratch& segment) {
  return segment.rank == kWithheldRank || segment.rank == kNoRank;
}

// Leaves the whole pages in the segment; false when there is none.
[[nodiscard]] bool shrink_to_pages(Scratch& segment) {
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

// Fills the caller's span. When that is full it keeps what is worth most: everything that is not
// RAM, then the largest ranges of RAM, of equals the lowest.
class Collector {
 public:
  Collector(std::span<Entry> out, Filter filter, Report& report)
      : out_(out), filter_(filter), report_(report) {}

  void take(Scratch segment) {
    const Type type{segment.type};
    if (is_gap(segment) || (filter_.only_ram && type != Type::kRam)) {
      return;
    }
    if (filter_.page_granular && type == Type::kRam && !shrink_to_pages(segment)) {
      ++report_.sub_page_ram;
      return;
    }
    add(segment.first, segment.last, type);
  }

  // What was kept, sorted; what was not, in the report.
  [[nodiscard]] std::expected<std::span<Entry>, MapError> finish() {
    if (must_keep_ > out_.size()) {
      return std::unexpected(MapError{MapErrorCode::kOutputTooSmall, must_keep_});
    }
    if (heap_) {
      heap_sort<Entry>(out_, lies_lower);
    }
    return out_.first(count_);
  }

 private:
  void add(std::uint64_t first, std::uint64_t last, Type type) {
    if (const auto range = base::Range::from_last(base::PhysAddr(first), base::PhysAddr(last))) {
      add({*range, type});
      return;
    }
    constexpr std::uint64_t kHalf = UINT64_MAX / 2;
    add(0, kHalf, type);
    add(kHalf + 1, UINT64_MAX, type);
  }

  void add(const Entry& entry) {
    ++report_.needed;
    if (entry.type != Type::kRam) {
      ++must_keep_;
    }
    if (count_ < out_.size()) {
      out_[count_++] = entry;
      return;
    }
    if (!heap_) {
      make_heap<Entry>(out_, worth_more);
      heap_ = true;
    }
    if (out_.empty() || worth_more(out_.front(), entry)) {
      drop(entry);
      return;
    }
    drop(out_.front());
    out_.front() = entry;
    sift_down<Entry>(out_, 0, worth_more);
  }

  static bool lies_lower(const Entry& a, const Entry& b) { return a.range < b.range; }
  static bool worth_more(const Entry& a, const Entry& b) {
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

  void drop(const Entry& entry) {
    if (entry.type == Type::kRam) {
      ++report_.dropped_ranges;
      report_.dropped_ram =
          report_.dropped_ram.checked_add(entry.range.size()).value_or(report_.dropped_ram);
    }
  }

  std::span<Entry> out_;
  Filter filter_;
  Report& report_;
  std::size_t count_ = 0;
  bool heap_ = false;
  std::uint64_t must_keep_ = 0;
};

// Gives the collector each maximal run of one type, in ascending order. `items` is sorted by first
// and is used up: those already passed leave room at its front for the heap of those present. Each
// turn of the loop either admits an item or ends one, so there are at most 2n.
void sweep(std::span<Scratch> items, Collector& collector) {
  std::size_t next = 0;
  std::size_t present = 0;
  Scratch run{.rank = kNoRank};
  std::uint64_t at = 0;
  while (next < items.size() || present > 0) {
    if (present == 0) {
      at = items[next].first;
    }
    while (next < items.size() && items[next].first <= at) {
      items[present++] = items[next++];
      sift_up<Scratch>(items.first(present), weaker);
    }
    const Scratch& top = items.front();
    if (top.last < at) {
      items.front() = items[--present];
      if (present > 0) {
        sift_down<Scratch>(items.first(present), 0, weaker);
      }
      continue;
    }
    std::uint64_t last = top.last;
    if (next < items.size() && items[next].first <= last) {
      last = items[next].first - 1;  // it starts above `at`, so not at 0
    }
    if (run.last + 1 == at && run.type == top.type && run.rank == top.rank) {
      run.last = last;
    } else {
      collector.take(run);
      run = {at, last, top.type, top.rank};
    }
    if (last == UINT64_MAX) {
      break;
    }
    at = last + 1;
  }
  collector.take(run);
}

}  // namespace

void sort(std::span<Scratch> items, bool (*less)(const Scratch&, const Scratch&)) {
  heap_sort<Scratch>(items, less);
}

void sort_by_start(std::span<Scratch> items) {
  // Most maps come sorted; then this is one pass.
  for (std::size_t i = 1; i < items.size(); ++i) {
    if (starts_lower(items[i], items[i - 1])) {
      heap_sort<Scratch>(items, starts_lower);
      return;
    }
  }
}

std::expected<std::span<Entry>, MapError> collect(std::span<Scratch> items, std::span<Entry> out,
                                                  Filter filter, Report& report) {
  Collector collector(out, filter, report);
  sweep(items, collector);
  return collector.finish();
}

}  // namespace pvh::memory_map::internal
