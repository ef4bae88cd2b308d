// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/memory_map/normalize.hpp>

#include "sweep.hpp"

namespace pvh::memory_map {
namespace {

constexpr std::uint64_t kLegacyHoleFirst = 0xa0000;
constexpr std::uint64_t kLegacyHoleLast = 0xfffff;

// The entry within the addresses that exist, as `item`; false when it has no byte there.
bool admit(const RawEntry& raw, std::uint64_t highest, Report& report, Scratch& item) {
  if (raw.size == 0) {
    ++report.zero_length;
    return false;
  }
  const Type type{raw.type};
  if (!is_known(type)) {
    ++report.unknown_types;
  }
  // The last byte, not the end: an entry may touch the top of the address space.
  std::uint64_t last = raw.addr + (raw.size - 1);
  if (last < raw.addr) {
    if (type == Type::kRam) {
      ++report.wrapped_ram;
      return false;
    }
    ++report.wrapped_other;
    last = UINT64_MAX;
  }
  if (last > highest) {
    ++report.clipped;
    last = highest;
  }
  if (raw.addr > highest) {
    return false;
  }
  item = internal::item(raw.addr, last, type);
  return true;
}

std::uint64_t count_overlaps(std::span<const Scratch> sorted) {
  std::uint64_t overlaps = 0;
  std::uint64_t reach = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && sorted[i].first <= reach) {
      ++overlaps;
    }
    reach = std::max(reach, sorted[i].last);
  }
  return overlaps;
}

// items[0, count) is sorted and stays so with one more, which takes RAM away.
void withhold(std::span<Scratch> items, std::size_t count, std::uint64_t first,
              std::uint64_t last) {
  std::size_t place = count;
  for (; place > 0 && items[place - 1].first > first; --place) {
    items[place] = items[place - 1];
  }
  items[place] = {first, last, 0, internal::kWithheldRank};
}

}  // namespace

std::expected<std::span<Entry>, MapError> normalize(std::span<const RawEntry> in,
                                                    std::span<Entry> out,
                                                    std::span<Scratch> scratch,
                                                    const NormalizeOptions& options,
                                                    Report& report) {
  report = {};
  if (options.phys_bits < 12 || options.phys_bits > 64) {
    return std::unexpected(MapError{MapErrorCode::kBadOptions});
  }
  if (scratch.size() < scratch_size(in.size())) {
    return std::unexpected(MapError{MapErrorCode::kScratchTooSmall, scratch_size(in.size())});
  }

  const std::uint64_t highest = UINT64_MAX >> (64 - options.phys_bits);
  std::size_t count = 0;
  for (const RawEntry& raw : in) {
    if (admit(raw, highest, report, scratch[count])) {
      ++count;
    }
  }
  internal::sort_by_start(scratch.first(count));
  report.overlaps = count_overlaps(scratch.first(count));

  // RAM is not rounded here but when it comes out of the sweep: two ranges of RAM may share a page
  // that neither fills alone.
  if (options.page_granular) {
    for (Scratch& item : scratch.first(count)) {
      if (Type{item.type} != Type::kRam) {
        internal::grow_to_pages(item);
      }
    }
    internal::sort_by_start(scratch.first(count));
  }
  if (options.withhold_page_zero) {
    withhold(scratch, count++, 0, internal::kPageMask);
  }
  if (options.withhold_legacy_hole) {
    withhold(scratch, count++, kLegacyHoleFirst, kLegacyHoleLast);
  }

  return internal::collect(scratch.first(count), out,
                           {.page_granular = options.page_granular, .only_ram = false}, report);
}

}  // namespace pvh::memory_map
