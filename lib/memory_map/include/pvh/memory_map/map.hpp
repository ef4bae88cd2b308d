// SPDX-License-Identifier: BSD-2-Clause
// The vocabulary of a physical memory map.
//
//   RawEntry   as somebody outside said it: any numbers, any order, overlapping, wrapping
//   Entry      a valid range of one type
//   map        a span of Entry that is sorted, disjoint, and has no two touching entries of one
//              type; what no entry covers is not RAM. normalize() makes one (normalize.hpp).
//
// Type numbers are those of hvm_memmap_table_entry, of ACPI and of the BIOS (E820, SMAP). Every
// other number is legal, is kept as it came, and means "not RAM". Nothing here allocates or fails.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <pvh/abi/e820.hpp>
#include <pvh/abi/start_info.hpp>
#include <pvh/base/address.hpp>

namespace pvh::memory_map {

enum class Type : std::uint32_t {
  kRam = 1,
  kReserved = 2,
  kAcpi = 3,        // ACPI tables: RAM once they are read and nobody needs them
  kNvs = 4,         // the firmware keeps using it
  kUnusable = 5,    // broken memory
  kDisabled = 6,    // there, but switched off
  kPmem = 7,        // persistent
  kUnaccepted = 8,  // ACPI 6.5: RAM that a confidential guest must accept before its first touch
};

static_assert(static_cast<std::uint32_t>(Type::kRam) == abi::XEN_HVM_MEMMAP_TYPE_RAM);
static_assert(static_cast<std::uint32_t>(Type::kReserved) == abi::XEN_HVM_MEMMAP_TYPE_RESERVED);
static_assert(static_cast<std::uint32_t>(Type::kAcpi) == abi::XEN_HVM_MEMMAP_TYPE_ACPI);
static_assert(static_cast<std::uint32_t>(Type::kNvs) == abi::XEN_HVM_MEMMAP_TYPE_NVS);
static_assert(static_cast<std::uint32_t>(Type::kUnusable) == abi::XEN_HVM_MEMMAP_TYPE_UNUSABLE);
static_assert(static_cast<std::uint32_t>(Type::kDisabled) == abi::XEN_HVM_MEMMAP_TYPE_DISABLED);
static_assert(static_cast<std::uint32_t>(Type::kPmem) == abi::XEN_HVM_MEMMAP_TYPE_PMEM);

// The raw number; what encode writes.
[[nodiscard]] constexpr std::uint32_t to_raw(Type type) {
  return static_cast<std::uint32_t>(type);
}

// Whether the number has a name above.
[[nodiscard]] constexpr bool is_known(Type type) {
  return to_raw(type) >= to_raw(Type::kRam) && to_raw(type) <= to_raw(Type::kUnaccepted);
}

// Who wins where two entries overlap: the higher rank, so that RAM loses to everybody. Two of one
// rank: the lower number, so that the answer does not depend on the order of the input. (Not simply
// the larger number, as Xen has it: that lets reclaimable ACPI memory beat a reservation.)
inline constexpr std::uint32_t kUnknownRank = 6;  // of a number without a name: as reserved

// The rank of each type by its number.
inline constexpr std::array<std::uint8_t, 9> kRanks{
    kUnknownRank,  // no type
    1,             // kRam
    6,             // kReserved
    4,             // kAcpi
    5,             // kNvs
    7,             // kUnusable
    7,             // kDisabled
    3,             // kPmem
    6,             // kUnaccepted
};
static_assert(kRanks.size() == to_raw(Type::kUnaccepted) + 1);

[[nodiscard]] constexpr std::uint32_t precedence(Type type) {
  return is_known(type) ? kRanks[to_raw(type)] : kUnknownRank;
}
static_assert(precedence(Type::kReserved) == kUnknownRank);

struct RawEntry {
  std::uint64_t addr = 0;
  std::uint64_t size = 0;
  std::uint32_t type = 0;

  friend constexpr bool operator==(const RawEntry&, const RawEntry&) = default;
};

// An Entry made by default stands for nothing: it only lets a caller declare an array of them. It
// is all zeros, so that a static one costs no room in a kernel's file.
struct Entry {
  base::Range range;
  Type type{};

  friend constexpr bool operator==(const Entry&, const Entry&) = default;
};

[[nodiscard]] constexpr RawEntry to_raw(const Entry& entry) {
  return {entry.range.first().value(), entry.range.size().value(), to_raw(entry.type)};
}

// Room to work in, brought by the caller because nothing here has a heap. What it holds before and
// after a call means nothing. Each function that wants it says how many in a constexpr function.
struct Scratch {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::uint32_t type = 0;
  std::uint32_t rank = 0;
};

enum class MapErrorCode {
  kScratchTooSmall,  // the scratch span holds fewer than `needed`
  kOutputTooSmall,   // the output cannot hold what must not be dropped; `needed` can
  kInputTooShort,    // fewer bytes than the entries need; `needed` is how many
  kBadOptions,       // an option is outside what its comment allows
};

struct MapError {
  MapErrorCode code;
  std::uint64_t needed = 0;

  friend constexpr bool operator==(const MapError&, const MapError&) = default;
};

[[nodiscard]] constexpr std::string_view describe(MapErrorCode code) {
  // Without it a literal may become a strlen at run time, which a kernel has not.
  using std::string_view_literals::operator""sv;
  switch (code) {
    case MapErrorCode::kScratchTooSmall:
      return "the scratch space for the memory map is too small"sv;
    case MapErrorCode::kOutputTooSmall:
      return "the memory map has more reservations than there is room for"sv;
    case MapErrorCode::kInputTooShort:
      return "the memory map ends before its last entry"sv;
    case MapErrorCode::kBadOptions:
      return "the memory map cannot be made with these options"sv;
  }
  return "unknown error"sv;
}

// What a map amounts to; see statistics() in edit.hpp.
struct Statistics {
  base::ByteSize ram{};                                        // all of it
  std::uint64_t ram_ranges = 0;                                // in how many entries
  std::optional<base::PhysAddr> last_below_4g = std::nullopt;  // last byte of RAM below 4 GiB
  std::optional<base::PhysAddr> last_above_4g = std::nullopt;  // last byte of RAM at or above 4 GiB
  std::optional<base::Range> largest = std::nullopt;  // largest range of RAM, the lowest of equals
};

}  // namespace pvh::memory_map
