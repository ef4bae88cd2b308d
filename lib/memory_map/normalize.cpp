// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/memory_map/normalize.hpp>

#include "sweep.hpp"

namespace pvh::memory_map {
namespace {

constexpr std::uint64_t kLegacyHoleFirst = 0xa0000;
constexpr std::uint64_t kLegacyHoleLast = 0xfffff;

// The entry within the addresses that exist, or nothing when it has no byte there.
std::optional<Scratch> admit(const RawEntry& raw, std::uint64_t highest, Report& report) {
  if (raw.size == 0) {
    ++report.zero_length;
    return std::nullopt;
  }
  const Type type{raw.type};
  if (!is_known(type)) {
    ++report.unknown_types;
  }
  // The last byte, not the end: an entry may touch the top of the address space.
  const auto sum = base::checked_add(raw.addr, raw.size - 1);
  if (!sum) {
    ++(type == Type::kRam ? report.wrapped_ram : report.wrapped_other);
    if (type == Type::kRam) {
      return std::nullopt;
    }
  }
  const std::uint64_t last = sum.value_or(UINT64_MAX);
  if (last > highest) {
    ++report.clipped;
  }
  if (raw.addr > highest) {
    return std::nullopt;
  }
  return internal::item(raw.addr, std::min(last, highest), type);
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

// items[0, count) is sorted and stays so with one more.
void insert(std::span<Scratch> items, std::size_t count, const Scratch& item) {
  std::size_t place = count;
  for (; place > 0 && items[place - 1].first > item.first; --place) {
    items[place] = items[place - 1];
  }
  items[place] = item;
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
    if (const auto item = admit(raw, highest, report)) {
      scratch[count++] = *item;
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
    insert(scratch, count++, {0, internal::kPageMask, 0, internal::kWithheldRank});
  }
  if (options.withhold_legacy_hole) {
    insert(scratch, count++, {kLegacyHoleFirst, kLegacyHoleLast, 0, internal::kWithheldRank});
  }

  return internal::collect(scratch.first(count), out,
                           {.page_granular = options.page_granular, .only_ram = false}, report);
}

}  // namespace pvh::memory_map
