// SPDX-License-Identifier: BSD-2-Clause
// What is done with a map once there is one: take ranges away from its RAM, mark ranges in it, look
// things up, find room, sum up.
//
// A free list is a map too: the one that subtract() makes, of RAM only. To give a reservation back,
// subtract again without it. Everything here works on the caller's spans; subtract and reserve cost
// O(n log n) in map and reservations together, lookup is a binary search, the rest is one pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include <pvh/memory_map/map.hpp>
#include <pvh/memory_map/normalize.hpp>

namespace pvh::memory_map {

struct SubtractOptions {
  // What is left shrinks to whole pages, so a reserved byte takes its page. Off: exact to the byte.
  bool page_granular = true;
};

struct ReserveOptions {
  Type type = Type::kReserved;  // anything but RAM
  bool page_granular = true;    // as in NormalizeOptions
};

// For both, and room in `out` for whatever they can make.
[[nodiscard]] constexpr std::size_t edit_scratch_size(std::size_t entries,
                                                      std::size_t reservations) {
  return entries + reservations;
}
[[nodiscard]] constexpr std::size_t edit_output_size(std::size_t entries,
                                                     std::size_t reservations) {
  return 2 * (entries + reservations);
}

// The RAM of `map` that no reservation touches. Reservations come in any order, may overlap, may
// lie outside the map or over what is not RAM. `out` too small: as with normalize(), the smallest
// ranges go first and `report` says so (in its last three fields and sub_page_ram); it is not an
// error. The spans must not share memory.
[[nodiscard]] std::expected<std::span<Entry>, MapError> subtract(
    std::span<const Entry> map, std::span<const base::Range> reservations, std::span<Entry> out,
    std::span<Scratch> scratch, const SubtractOptions& options, Report& report);

// `map` with the reservations as entries of options.type, by precedence(): a stronger entry stays.
// A reservation that lies in a gap becomes an entry there. `out` too small: as with normalize().
[[nodiscard]] std::expected<std::span<Entry>, MapError> reserve(
    std::span<const Entry> map, std::span<const base::Range> reservations, std::span<Entry> out,
    std::span<Scratch> scratch, const ReserveOptions& options, Report& report);

// Two ranges that share an address, as indices into what was given.
struct Overlap {
  std::size_t first;
  std::size_t second;

  friend constexpr bool operator==(const Overlap&, const Overlap&) = default;
};

// The lowest overlap of any two, in any order given; scratch for ranges.size(). O(n log n).
[[nodiscard]] std::expected<std::optional<Overlap>, MapError> find_overlap(
    std::span<const base::Range> ranges, std::span<Scratch> scratch);

// The entry that holds the address, or nullptr in a gap. `map` must be sorted and disjoint.
[[nodiscard]] const Entry* lookup(std::span<const Entry> map, base::PhysAddr address);

// Whether every byte of the range is RAM.
[[nodiscard]] bool is_ram(std::span<const Entry> map, base::Range range);

inline constexpr base::Range kBelow1MiB =
    *base::Range::from_size(base::PhysAddr(0), base::ByteSize(std::uint64_t{1} << 20));
inline constexpr base::Range kBelow4GiB =
    *base::Range::from_size(base::PhysAddr(0), base::ByteSize(std::uint64_t{1} << 32));

enum class Placement { kLowest, kHighest };

struct FindOptions {
  base::ByteSize size;                               // not 0
  base::ByteSize alignment = base::kPageSize;        // of the first byte; a power of two
  std::optional<base::Range> within = std::nullopt;  // all of it lies in there; default: anywhere
  Placement placement = Placement::kLowest;
};

// Room in one entry of RAM of a map or free list; nothing when there is none, when the size is 0 or
// the alignment no power of two. It reserves nothing.
[[nodiscard]] std::optional<base::Range> find_free(std::span<const Entry> free,
                                                   const FindOptions& options);

// The lowest free page that a processor can be started in (SIPI: a whole page below 0xa0000) and
// that is not page 0.
[[nodiscard]] std::optional<base::Range> find_free_low_page(std::span<const Entry> free);

[[nodiscard]] Statistics statistics(std::span<const Entry> map);

}  // namespace pvh::memory_map
