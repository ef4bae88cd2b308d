// SPDX-License-Identifier: BSD-2-Clause
// What a capture of a machine must come to, found by a second, naive reader of the same bytes: it
// reads structures number by number at the offsets of the specification and keeps sets of bytes. It
// shares no code with lib/guest, lib/memory_map or lib/abi, so that a mistake has to be made twice
// to stay unseen.
//
// Where the bytes leave no doubt, the answer is exact. Where a capture may choose (which of several
// errors it tells first, what it does about a string without an end), the reference says what it
// must and what it may do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <pvh/guest/error.hpp>

#include "tests/round_trip/byte_set.hpp"

namespace pvh::round_trip {

struct MapLine {
  std::uint64_t addr = 0;
  std::uint64_t size = 0;
  std::uint32_t type = 0;

  friend bool operator==(const MapLine&, const MapLine&) = default;
};

// All that a capture can know of a machine.
struct Surroundings {
  // The bytes at an address, or false where nothing answers.
  std::function<bool(std::uint64_t address, std::span<std::byte> out)> read;
  std::uint64_t start_info = 0;
  Wide image_first = 0;
  Wide image_end = 0;
  std::uint32_t physical_bits = 0;
  bool on_xen = false;
  std::optional<std::vector<MapLine>> xen_map;  // nothing: Xen refuses to tell
  std::vector<std::uint64_t> xen_pages;         // the rings' addresses
  // The room that the capture is given.
  std::size_t most_map_entries = 0;
  std::size_t most_modules = 0;
};

struct ExpectedModule {
  std::optional<std::pair<Wide, Wide>> range;  // [first, end)
  std::optional<std::string> text;             // nothing: a capture may take or leave it
};

struct Expectation {
  // One of these must be what a capture fails with; none: it must not fail, but for `may_fail`.
  std::set<guest::BootErrorCode> errors;
  std::set<guest::BootErrorCode> may_fail;

  // Of a capture that does not fail:
  bool from_xen = false;
  std::vector<MapLine> lines;
  std::optional<std::string> command_line;  // nothing: as with modules
  std::vector<ExpectedModule> modules;
  std::optional<std::uint64_t> rsdp;

  ByteSet called_ram;  // bytes that lines call RAM and no line calls anything else
  ByteSet ram;         // strict_ram() of the lines
  ByteSet in_use;      // bytes
  // What a free list may hold at most: whole pages of `ram` without a byte of `in_use`.
  [[nodiscard]] ByteSet may_be_free() const { return ram.minus(in_use.touched_pages()); }
};

// Bytes in lines of type 1 and in no other.
[[nodiscard]] ByteSet called_ram(std::span<const MapLine> lines);

// RAM by the strictest reading of a map: whole pages of the above, in no page that another line
// touches, below 2^bits, without page 0 and 0xa0000-0xfffff.
[[nodiscard]] ByteSet strict_ram(std::span<const MapLine> lines, std::uint32_t physical_bits);

[[nodiscard]] Expectation read_reference(const Surroundings& surroundings);

}  // namespace pvh::round_trip
