// SPDX-License-Identifier: BSD-2-Clause
// The one algorithm behind normalize, subtract and reserve: walk all boundaries from low to high
// and ask at each who of those present has the highest rank.
#include "sweep.hpp"

namespace pvh::memory_map::internal {
namespace {

// A binary heap with the greatest on top. Not the standard's: the sweep and the sort share these,
// and in a kernel bytes count.
using Less = bool (*)(const Scratch&, const Scratch&);

// Puts a value where there is a hole, or lower.
void sift_down(std::span<Scratch> heap, std::size_t hole, Scratch value, Less less) {
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
void sift_up(std::span<Scratch> heap, Less less) {
  std::size_t hole = heap.size() - 1;
  const Scratch value = heap[hole];
  while (hole > 0 && less(heap[(hole - 1) / 2], value)) {
    heap[hole] = heap[(hole - 1) / 2];
    hole = (hole - 1) / 2;
  }
  heap[hole] = value;
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
  const std::uint64_t first = (segment.first + kPageMask) & ~kPageMask;
  // 0 for the last page of the address space, which is whole at that end.
  const std::uint64_t end = (segment.last + 1) & ~kPageMask;
  if (first < segment.first || (segment.last != UINT64_MAX && end <= first)) {
    return false;
  }
  segment.first = first;
  segment.last = end - 1;
  return true;
}

bool is_ram(const Entry& entry) {
  return entry.type == Type::kRam;
}

// Fills the caller's span. When that is full it keeps what is worth most: everything that is not
// RAM, then the largest ranges of RAM, of equals the lowest.
class Collector {
 public:
  Collector(std::span<Entry> out, Filter filter, Report& report)
      : out_(out), filter_(filter), report_(report) {}

  // A run, which it may change.
  void take(Scratch& segment) {
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

  // What was kept; what was not, in the report.
  [[nodiscard]] std::expected<std::span<Entry>, MapError> finish() {
    if (must_keep_ > out_.size()) {
      return std::unexpected(MapError{MapErrorCode::kOutputTooSmall, must_keep_});
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

  // They come in ascending order and stay so.
  void add(const Entry& entry) {
    ++report_.needed;
    if (!is_ram(entry)) {
      ++must_keep_;
    }
    if (count_ == out_.size() && !make_room_for(entry)) {
      return;
    }
    out_[count_++] = entry;
  }

  // False: the entry is worth less than all that is kept.
  bool make_room_for(const Entry& entry) {
    const Entry* least = is_ram(entry) ? &entry : nullptr;
    std::size_t place = count_;
    for (std::size_t i = count_; i-- > 0;) {
      if (is_ram(out_[i]) && (least == nullptr || out_[i].range.size() < least->range.size())) {
        least = &out_[i];
        place = i;
      }
    }
    if (least != nullptr) {
      ++report_.dropped_ranges;
      const std::uint64_t sum = report_.dropped_ram.value() + least->range.size().value();
      if (sum != 0) {  // not all of the address space
        report_.dropped_ram = base::ByteSize(sum);
      }
    }
    if (place == count_) {
      return false;
    }
    --count_;
    for (; place < count_; ++place) {
      out_[place] = out_[place + 1];
    }
    return true;
  }

  std::span<Entry> out_;
  Filter filter_;
  Report& report_;
  std::size_t count_ = 0;
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
      sift_up(items.first(present), weaker);
    }
    const Scratch& top = items.front();
    if (top.last < at) {
      --present;
      if (present > 0) {
        sift_down(items.first(present), 0, items[present], weaker);
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

void sort(std::span<Scratch> items, Less less) {
  for (std::size_t i = items.size() / 2; i > 0; --i) {
    sift_down(items, i - 1, items[i - 1], less);
  }
  for (std::size_t rest = items.size(); rest > 1; --rest) {
    const Scratch last = items[rest - 1];
    items[rest - 1] = items[0];
    sift_down(items.first(rest - 1), 0, last, less);
  }
}

void sort_by_start(std::span<Scratch> items) {
  // Most maps come sorted; then this is one pass.
  for (std::size_t i = 1; i < items.size(); ++i) {
    if (starts_lower(items[i], items[i - 1])) {
      sort(items, starts_lower);
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
