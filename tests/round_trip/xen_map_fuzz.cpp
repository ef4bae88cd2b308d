// SPDX-License-Identifier: BSD-2-Clause
// What a guest makes of the map that Xen, or a table, tells: any entries, any number of them, into
// any room. The raw lines are Xen's; RAM is what a set of bytes says is RAM, all of it where
// everything was kept, and never what a line that did not fit could have reserved.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/memory.hpp>

#include "lib/base/testing/fuzz.hpp"
#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"
#include "tests/round_trip/reference.hpp"

namespace {

using namespace pvh;
using namespace pvh::guest;
using fuzz::require;
using guest::testing::FakeMachine;
using guest::testing::FakeXen;
using memory_map::RawEntry;
using round_trip::ByteSet;
using round_trip::MapLine;
using round_trip::Wide;

constexpr std::uint64_t kTable = 0x7000;

// Entries as maps have them, as they should not be, and of any numbers.
std::vector<RawEntry> draw_map(FuzzedDataProvider& draw) {
  std::vector<RawEntry> map;
  std::uint64_t at = 0;
  for (std::size_t left = draw.ConsumeIntegralInRange<std::size_t>(0, 24); left > 0; --left) {
    const auto type = draw.ConsumeBool() ? 1u : draw.ConsumeIntegralInRange<std::uint32_t>(0, 9);
    switch (draw.ConsumeIntegralInRange(0, 3)) {
      case 0:
        map.push_back(
            {draw.ConsumeIntegral<std::uint64_t>(), draw.ConsumeIntegral<std::uint64_t>(), type});
        break;
      case 1:
        map.push_back({draw.ConsumeIntegralInRange<std::uint64_t>(0, 0x400000),
                       draw.ConsumeIntegralInRange<std::uint64_t>(0, 0x100000), type});
        break;
      default: {
        at += draw.ConsumeIntegralInRange<std::uint64_t>(0, 2) * 0x1000;
        const auto size = draw.ConsumeIntegralInRange<std::uint64_t>(0, 0x40000);
        map.push_back({at, size, type});
        at += size;
      }
    }
  }
  return map;
}

std::vector<MapLine> lines_of(std::span<const RawEntry> entries) {
  std::vector<MapLine> lines;
  for (const RawEntry& entry : entries) {
    lines.push_back({entry.addr, entry.size, entry.type});
  }
  return lines;
}

ByteSet ram_of(std::span<const memory_map::Entry> map) {
  ByteSet ram;
  for (const memory_map::Entry& entry : map) {
    if (entry.type == memory_map::Type::kRam) {
      ram.add(entry.range.first().value(), Wide{entry.range.last().value()} + 1);
    }
  }
  return ram;
}

bool is_sorted(std::span<const memory_map::Entry> map) {
  for (std::size_t i = 1; i < map.size(); ++i) {
    if (map[i - 1].range.last() >= map[i].range.first()) {
      return false;
    }
  }
  return true;
}

// Each begins where the one before has ended, or above.
bool ascends(std::span<const RawEntry> map) {
  Wide end = 0;
  for (const RawEntry& entry : map) {
    if (Wide{entry.addr} < end) {
      return false;
    }
    end = Wide{entry.addr} + entry.size;
  }
  return true;
}

struct Asked {
  std::vector<RawEntry> xen;
  std::optional<std::vector<RawEntry>> table;
  std::size_t room = 0;
  std::uint32_t bits = 0;
};

void check(const Asked& asked, const AcquiredMap& map, bool from_xen) {
  require((map.source == MapSource::kXen) == from_xen);
  const std::vector<RawEntry>& told = from_xen ? asked.xen : *asked.table;
  const bool cut = told.size() > asked.room;
  require(map.possibly_truncated == cut && (from_xen || !cut));
  const auto kept = std::span(told).first(std::min(told.size(), asked.room));
  require(std::ranges::equal(map.raw, kept));
  require(!cut || ascends(std::span(told).first(asked.room + 1)));
  require(is_sorted(map.map));
  const ByteSet ram = ram_of(map.map);
  const ByteSet expected = round_trip::strict_ram(lines_of(kept), asked.bits);
  require(ram.minus(expected).empty() ? "" : "called RAM:\n" + ram.minus(expected).text());
  require(expected.minus(ram).empty() ? "" : "lost:\n" + expected.minus(ram).text());
  require(!ram.empty());
  // The whole map knows better only where nothing was kept of it. (One that descends again behind
  // the first entry that was cut off is Xen's own contradiction.)
  if (cut && ascends(told)) {
    require(ram.minus(round_trip::strict_ram(lines_of(told), asked.bits)).empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  GTEST_FLAG_SET(break_on_failure, true);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider draw(data, size);
  FakeMachine fake;
  FakeXen xen(fake);
  Asked asked;
  asked.bits = draw.ConsumeIntegralInRange<std::uint32_t>(36, 52);
  asked.room = draw.ConsumeIntegralInRange<std::size_t>(1, 26);
  const bool refuses = draw.ConsumeIntegralInRange(0, 15) == 15;
  StartInfo info;
  info.version = 1;
  if (draw.ConsumeBool()) {
    asked.table = draw_map(draw);
    info.memmap = base::PhysAddr(kTable);
    info.memmap_entries = static_cast<std::uint32_t>(asked.table->size());
    std::vector<std::byte> bytes;
    for (const RawEntry& entry : *asked.table) {
      for (const auto& part :
           {std::pair{entry.addr, 8}, {entry.size, 8}, {std::uint64_t{entry.type}, 8}}) {
        for (int i = 0; i < part.second; ++i) {
          bytes.push_back(static_cast<std::byte>(part.first >> (8 * i) & 0xff));
        }
      }
    }
    // Now and then it ends before its last entry.
    const bool cut = draw.ConsumeIntegralInRange(0, 15) == 15 && !bytes.empty();
    bytes.resize(bytes.size() - (cut ? 1 : 0));
    asked.table = cut ? std::nullopt : asked.table;
    fake.put(kTable, base::Bytes(bytes));
  }
  asked.xen = draw_map(draw);
  xen.map = refuses ? std::nullopt : std::optional(asked.xen);

  guest::testing::HeapStorage storage({.entries = asked.room});
  Diagnostics diagnostics;
  AcquiredMap map;
  const Hypervisors hypervisors = detect_hypervisors(fake.machine());
  const auto acquired =
      acquire_map(fake.machine(), info, hypervisors.xen(), {.phys_bits = asked.bits},
                  storage.map_spans(), diagnostics, map);

  const bool has_table = info.memmap_entries != 0;
  const bool table_fits = info.memmap_entries <= asked.room;
  const bool table_good = asked.table && has_table && table_fits &&
                          !round_trip::strict_ram(lines_of(*asked.table), asked.bits).empty();
  if (has_table && !table_fits) {
    require(!acquired && acquired.error().code == BootErrorCode::kMapStorageTooSmall);
  } else if (table_good) {
    require(acquired.has_value());
    check(asked, map, false);
  } else if (refuses) {
    require(!acquired && acquired.error().code == BootErrorCode::kMapHypercallFailed);
  } else if (acquired) {
    check(asked, map, true);
  } else {
    const auto kept = std::span(asked.xen).first(std::min(asked.xen.size(), asked.room));
    const bool cut = asked.xen.size() > asked.room;
    const bool unsure = cut && !ascends(std::span(asked.xen).first(asked.room + 1));
    require(acquired.error().code ==
            (unsure ? BootErrorCode::kMapStorageTooSmall : BootErrorCode::kNoUsableRam));
    require(unsure || round_trip::strict_ram(lines_of(kept), asked.bits).empty());
  }
  return 0;
}
