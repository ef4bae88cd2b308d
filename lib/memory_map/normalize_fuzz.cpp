// SPDX-License-Identifier: BSD-2-Clause
// Any map in a small space, with any options and any room, must come out as the oracle paints it.
// Then a second part with numbers of any size, for which there is no oracle: it must keep its three
// promises and, with enough room, succeed.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include <pvh/base/bytes.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/memory_map/codec.hpp>
#include <pvh/memory_map/normalize.hpp>

#include "lib/memory_map/testing/oracle.hpp"

namespace {

using namespace pvh;
using namespace pvh::memory_map;
using testing::Space;

constexpr std::array kSpaces{
    Space{0, 1, 256},     Space{UINT64_MAX - 255, 1, 256},         Space{0xfff80, 1, 256},
    Space{0, 0x400, 256}, Space{UINT64_MAX - 0x3ffff, 0x400, 256}, Space{0x9c000, 0x800, 256},
};

void require(const std::string& wrong) {
  if (!wrong.empty()) {
    std::fputs(wrong.c_str(), stderr);
    std::abort();
  }
}

// Three bytes an entry: first cell, cells, type.
void against_the_oracle(base::Bytes bytes, const Space& space, NormalizeOptions options,
                        std::size_t capacity) {
  std::vector<RawEntry> in;
  for (std::size_t i = 0; i + 3 <= bytes.size() && in.size() < 64; i += 3) {
    const auto first = std::to_integer<std::uint64_t>(bytes[i]);
    const auto cells = std::to_integer<std::uint64_t>(bytes[i + 1]);
    const auto type = std::to_integer<std::uint32_t>(bytes[i + 2]);
    RawEntry entry{space.first_of(first), cells * space.cell, type % 16};
    // Only where the space ends at the top may an entry leave it.
    if (space.ends_at_top() && type >= 0xf0) {
      entry.size = UINT64_MAX - cells;
    } else if (cells > space.cells - first) {
      entry.size = (space.cells - first) * space.cell;
    }
    in.push_back(entry);
  }
  options.page_granular = options.page_granular && space.cell > 1;
  require(testing::judge_normalize(space, in, options, capacity));
}

void keeps_its_promises(base::Bytes bytes, const NormalizeOptions& options) {
  const std::size_t count = bytes.size() / entry_size(Form::kPacked);
  std::vector<RawEntry> in(count);
  if (!decode(Form::kPacked, bytes, count, in)) {
    require("cannot decode what is all there");
  }
  std::vector<Entry> out(output_size(count));
  std::vector<Scratch> scratch(scratch_size(count));
  Report report;
  const auto map = normalize(in, out, scratch, options, report);
  if (!map || report.dropped_ranges != 0 || report.needed != map->size()) {
    require("does not fit in output_size()");
  } else if (!testing::is_normalised(*map)) {
    require("not normalised:\n" + testing::to_text(*map));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const base::Bytes bytes = std::as_bytes(std::span(data, size));
  if (bytes.size() < 4) {
    return 0;
  }
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  const NormalizeOptions options{.phys_bits = 12 + at(0) % 53,
                                 .page_granular = (at(1) & 1) != 0,
                                 .withhold_page_zero = (at(1) & 2) != 0,
                                 .withhold_legacy_hole = (at(1) & 4) != 0};
  against_the_oracle(bytes.subspan(4), kSpaces[at(2) % kSpaces.size()], options, at(3));
  keeps_its_promises(bytes.subspan(4), options);
  return 0;
}
