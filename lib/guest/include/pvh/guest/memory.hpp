// SPDX-License-Identifier: BSD-2-Clause
// Where the memory map comes from, and getting it. The one rule for all cases:
//
//   version  address  entries  on Xen         not on Xen
//   0        -        -        hypercall      kVersion0WithoutXen
//   >= 1     any      0        hypercall      kEmptyMap
//   >= 1     0        > 0      hypercall (d)  kMalformedMemmap
//   >= 1     not 0    > 0      table          table
//   the table cannot be read   hypercall (d)  kMalformedMemmap
//   the table has no RAM       hypercall (d)  kNoUsableRam
//
// (d) with a diagnostic. The table comes first because Xen's CPUID leaves do not promise that the
// hypercall works: QEMU shows them and has no XENMEM_memory_map.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include <pvh/base/address.hpp>
#include <pvh/guest/error.hpp>
#include <pvh/guest/machine.hpp>
#include <pvh/guest/start_info.hpp>
#include <pvh/memory_map/map.hpp>
#include <pvh/memory_map/normalize.hpp>

namespace pvh::guest {

inline constexpr std::uint32_t kMostMapEntries = 65536;

enum class MapSource : std::uint8_t { kTable, kXen };

// The rule above for what is known before anything is read, in three constexpr functions, so that
// its rows can be tested at build time.
[[nodiscard]] constexpr bool has_table(const StartInfo& info) {
  return info.has_map_fields() && info.memmap_entries > 0 && info.memmap;
}
// Where there is neither a table nor a Xen.
[[nodiscard]] constexpr BootErrorCode why_no_map(const StartInfo& info) {
  if (!info.has_map_fields()) {
    return BootErrorCode::kVersion0WithoutXen;
  }
  return info.memmap_entries == 0 ? BootErrorCode::kEmptyMap : BootErrorCode::kMalformedMemmap;
}
[[nodiscard]] constexpr std::expected<MapSource, BootError> choose_map_source(const StartInfo& info,
                                                                              bool on_xen) {
  if (has_table(info)) {
    return MapSource::kTable;
  }
  if (on_xen) {
    return MapSource::kXen;
  }
  return std::unexpected(BootError{why_no_map(info)});
}

// What acquire_map() fills. `map` and `scratch` need output_size() and scratch_size() of
// raw.size(); `scratch` also receives Xen's answer before it is decoded.
struct MapStorage {
  std::span<memory_map::RawEntry> raw;
  std::span<memory_map::Entry> map;
  std::span<memory_map::Scratch> scratch;
};

struct AcquiredMap {
  MapSource source = MapSource::kTable;
  std::span<const memory_map::RawEntry> raw;  // as it was handed over
  std::span<const memory_map::Entry> map;     // normalised by the options
  memory_map::Report report;
  // Xen has more entries than `raw` holds: what lies above the last one is unknown, so it is not
  // RAM.
  bool possibly_truncated = false;
};

// Reads the map from where it is, once, and normalises it. More entries than `raw` holds:
// kMapStorageTooSmall, with their number. Xen does not tell the number, so it is asked for one
// entry more than `raw` holds. Is that there, the map was cut off and the rest could have been
// reservations inside RAM that is listed. If all entries ascend without touching what came before,
// the rest lies above them: then everything above what `raw` holds is a gap. If not, it is
// kMapStorageTooSmall. After an error `result` means nothing.
[[nodiscard]] std::expected<void, BootError> acquire_map(
    Machine& machine, const StartInfo& info, const std::optional<xen::Token>& xen,
    const memory_map::NormalizeOptions& options, const MapStorage& storage,
    Diagnostics& diagnostics, AcquiredMap& result);

// A page in no entry of the map, from 1 MiB up to the I/O APIC at 0xfec00000, for Xen's
// shared_info: mapping it over RAM would shatter a superpage. Nothing when there is none: then take
// a page of RAM, and so does a hardware domain, in whose gaps devices may lie.
[[nodiscard]] std::optional<base::PhysAddr> find_shared_info_page(
    std::span<const memory_map::Entry> map);

// Bits of a physical address that this processor has (CPUID 0x80000008), 36 when it does not say.
[[nodiscard]] std::uint32_t physical_address_bits(Machine& machine);

}  // namespace pvh::guest
