// SPDX-License-Identifier: BSD-2-Clause
// What normalize, subtract and reserve have in common. (Private to this library.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
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
constexpr void grow_to_pages(Scratch& segment) {
  segment.first &= ~kPageMask;
  segment.last |= kPageMask;
}

void sort(std::span<Scratch> items, bool (*less)(const Scratch&, const Scratch&));
void sort_by_start(std::span<Scratch> items);

// Which runs come out, and how.
struct Filter {
  bool page_granular;  // RAM shrinks to whole pages
  bool only_ram;
};

// The map that `items`, which are used up, amount to.
[[nodiscard]] std::expected<std::span<Entry>, MapError> collect(std::span<Scratch> items,
                                                                std::span<Entry> out, Filter filter,
                                                                Report& report);

}  // namespace pvh::memory_map::internal
