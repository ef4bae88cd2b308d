// SPDX-License-Identifier: BSD-2-Clause
// A map that can be trusted, out of entries that cannot.
//
// What comes out is sorted and disjoint, touching entries of one type are merged, RAM is RAM only
// where nobody says otherwise, and a gap stays a gap: RAM is never invented. All doubt is settled
// by giving up RAM; a reservation is never lost.
//
//   byte by byte     the entry of highest precedence() that covers it
//   page by page     (page_granular) RAM if all its bytes are RAM; else the highest among its
//                    bytes that are not RAM; else a gap
//
// The one exception to "merged": all 2^64 bytes of one type come out as two halves, because no
// base::Range can hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include <pvh/memory_map/map.hpp>

namespace pvh::memory_map {

struct NormalizeOptions {
  // Addresses that the processor has, 12..64 (CPUID 0x80000008 EAX[7:0]). What lies beyond is cut
  // off. No x86 processor has more than 52; 64 keeps everything.
  std::uint32_t phys_bits = 52;
  // RAM shrinks to whole pages, everything else grows to them. Off: exact to the byte.
  bool page_granular = true;
  // Where these are on, RAM becomes a gap; what is not RAM stays as it is.
  bool withhold_page_zero = true;  // so that no object has address 0, and for the real-mode vectors
  bool withhold_legacy_hole = true;  // 0xa0000-0xfffff: RSDP, MP table and SMBIOS are found there,
                                     // in what Xen reports as RAM
};

// What was odd about the input. All zero but `needed` for a map without anomalies.
struct Report {
  std::uint64_t zero_length = 0;     // entries without a byte: skipped
  std::uint64_t wrapped_ram = 0;     // RAM that passes the end of the address space: dropped
  std::uint64_t wrapped_other = 0;   // anything else that does: ends there
  std::uint64_t clipped = 0;         // entries with something beyond phys_bits
  std::uint64_t overlaps = 0;        // entries that begin inside another
  std::uint64_t unknown_types = 0;   // entries whose type has no name: not RAM
  std::uint64_t sub_page_ram = 0;    // ranges of RAM without one whole page: dropped
  std::uint64_t dropped_ranges = 0;  // ranges of RAM that found no room in `out`
  base::ByteSize dropped_ram{};      // their bytes
  std::uint64_t needed = 0;          // entries that `out` needs to hold everything

  [[nodiscard]] constexpr bool clean() const {
    return (zero_length | wrapped_ram | wrapped_other | clipped | overlaps | unknown_types |
            sub_page_ram | dropped_ranges) == 0;
  }
};

// Scratch for `entries` raw entries, and room in `out` for whatever map they can make.
[[nodiscard]] constexpr std::size_t scratch_size(std::size_t entries) {
  return entries + 2;
}
[[nodiscard]] constexpr std::size_t output_size(std::size_t entries) {
  return 2 * entries + 4;
}

// The map, as the first part of `out`. `in` may be empty, then so is the map. When `out` is too
// small, the smallest ranges of RAM are dropped first (of equals the highest) and `report` says how
// much; when it cannot even hold what is not RAM: kOutputTooSmall, and `needed` is how many it must
// hold at the least. `report` is written in every case. The spans must not share memory.
// O(n log n) with room for all; what is dropped costs O(out) an entry.
[[nodiscard]] std::expected<std::span<Entry>, MapError> normalize(std::span<const RawEntry> in,
                                                                  std::span<Entry> out,
                                                                  std::span<Scratch> scratch,
                                                                  const NormalizeOptions& options,
                                                                  Report& report);

}  // namespace pvh::memory_map
