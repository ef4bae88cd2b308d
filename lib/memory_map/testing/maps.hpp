// SPDX-License-Identifier: BSD-2-Clause
// Short ways to write maps down in tests, and a map that owns its storage. (Hosted.)
#pragma once

#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <vector>

#include <fmt/format.h>
#include <pvh/memory_map/normalize.hpp>

namespace pvh::memory_map {

// How GoogleTest shows them.
inline void PrintTo(const Entry& entry, std::ostream* os) {
  *os << fmt::format("{:#x}-{:#x} type {}", entry.range.first().value(), entry.range.last().value(),
                     to_raw(entry.type));
}
inline void PrintTo(const RawEntry& entry, std::ostream* os) {
  *os << fmt::format("addr {:#x} size {:#x} type {}", entry.addr, entry.size, entry.type);
}

}  // namespace pvh::memory_map

namespace pvh::memory_map::testing {

inline base::Range range(std::uint64_t first, std::uint64_t last) {
  return base::Range::from_last(base::PhysAddr(first), base::PhysAddr(last)).value();
}
inline Entry entry(std::uint64_t first, std::uint64_t last, Type type) {
  return {range(first, last), type};
}
inline Entry ram(std::uint64_t first, std::uint64_t last) {
  return entry(first, last, Type::kRam);
}
inline Entry reserved(std::uint64_t first, std::uint64_t last) {
  return entry(first, last, Type::kReserved);
}

// Nothing withheld, nothing rounded, nothing cut off: what the entries say and no more.
inline constexpr NormalizeOptions kExact{.phys_bits = 64,
                                         .page_granular = false,
                                         .withhold_page_zero = false,
                                         .withhold_legacy_hole = false};
inline constexpr NormalizeOptions kPages{
    .phys_bits = 64, .withhold_page_zero = false, .withhold_legacy_hole = false};

struct Normalized {
  std::vector<Entry> map;
  Report report;
};

// normalize() with as much room as it can need; that it succeeds is its promise.
inline Normalized normalized(const std::vector<RawEntry>& in,
                             const NormalizeOptions& options = {}) {
  Normalized result;
  result.map.resize(output_size(in.size()));
  std::vector<Scratch> scratch(scratch_size(in.size()));
  const auto map = normalize(in, result.map, scratch, options, result.report).value();
  result.map.resize(map.size());
  return result;
}

}  // namespace pvh::memory_map::testing
