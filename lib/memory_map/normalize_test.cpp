// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/memory_map/normalize.hpp>

#include "lib/memory_map/testing/maps.hpp"

namespace pvh::memory_map {
namespace {

using ::testing::ElementsAre;
using testing::entry;
using ::testing::IsEmpty;
using testing::kExact;
using testing::kPages;
using testing::normalized;
using testing::ram;
using testing::reserved;

constexpr std::uint64_t kTop = UINT64_MAX;

TEST(Normalize, NothingComesFromNothing) {
  const auto result = normalized({});
  EXPECT_THAT(result.map, IsEmpty());
  EXPECT_TRUE(result.report.clean());
  EXPECT_EQ(result.report.needed, 0u);
}

TEST(Normalize, OneEntryIsEnough) {
  EXPECT_THAT(normalized({{0, 0x10000000, 1}}).map,
              ElementsAre(ram(0x1000, 0x9ffff), ram(0x100000, 0xfffffff)));
  EXPECT_THAT(normalized({{0, 0x10000000, 1}}, kPages).map, ElementsAre(ram(0, 0xfffffff)));
}

TEST(Normalize, SortsMergesAndKeepsGaps) {
  const auto result =
      normalized({{0x5000, 0x1000, 1}, {0x1000, 0x1000, 2}, {0x4000, 0x1000, 1}}, kPages);
  EXPECT_THAT(result.map, ElementsAre(reserved(0x1000, 0x1fff), ram(0x4000, 0x5fff)));
  EXPECT_TRUE(result.report.clean()) << "an unsorted map is not an anomaly";
}

TEST(Normalize, TouchingEntriesOfDifferentTypesStayApart) {
  EXPECT_THAT(
      normalized({{0x1000, 0x1000, 1}, {0x2000, 0x1000, 3}, {0x3000, 0x1000, 4}}, kPages).map,
      ElementsAre(ram(0x1000, 0x1fff), entry(0x2000, 0x2fff, Type::kAcpi),
                  entry(0x3000, 0x3fff, Type::kNvs)));
}

TEST(Normalize, ZeroLengthEntriesAreSkippedWhateverTheirType) {
  const auto result =
      normalized({{0, 0, 0}, {kTop, 0, 1}, {0x1000, 0x1000, 1}, {0x1800, 0, 2}}, kPages);
  EXPECT_THAT(result.map, ElementsAre(ram(0x1000, 0x1fff)));
  EXPECT_EQ(result.report.zero_length, 3u);
  EXPECT_EQ(result.report.unknown_types, 0u);
}

TEST(Normalize, ARangeMayEndExactlyAtTheTop) {
  const auto result = normalized({{kTop - 0xfff, 0x1000, 1}, {0x1000, 0 - 0x2000ull, 2}}, kPages);
  EXPECT_THAT(result.map, ElementsAre(reserved(0x1000, kTop - 0x1000), ram(kTop - 0xfff, kTop)));
  EXPECT_TRUE(result.report.clean());
  EXPECT_THAT(normalized({{kTop, 1, 1}}, kExact).map, ElementsAre(ram(kTop, kTop)));
}

TEST(Normalize, WrappingRamIsDroppedAndAWrappingReservationClamped) {
  const auto result = normalized({{kTop - 0xfff, 0x1001, 1},
                                  {kTop - 0x2fff, 0x1000000, 2},
                                  {kTop - 0x4fff, kTop, 12},
                                  {0x1000, kTop, 1}},
                                 kPages);
  EXPECT_THAT(result.map, ElementsAre(entry(kTop - 0x4fff, kTop - 0x3000, Type{12}),
                                      reserved(kTop - 0x2fff, kTop)));
  EXPECT_EQ(result.report.wrapped_ram, 2u);
  EXPECT_EQ(result.report.wrapped_other, 2u);
}

TEST(Normalize, TheWholeAddressSpaceComesInTwoHalves) {
  constexpr std::uint64_t kHalf = kTop / 2;
  for (const std::uint32_t type : {1u, 2u}) {
    for (const auto& options : {kExact, kPages}) {
      const std::vector<RawEntry> in{{0, kTop, type}, {kTop - 0xfff, 0x1000, type}};
      EXPECT_THAT(normalized(in, options).map,
                  ElementsAre(entry(0, kHalf, Type{type}), entry(kHalf + 1, kTop, Type{type})));
    }
  }
  EXPECT_THAT(normalized({{0, kTop, 2}}, kPages).map,
              ElementsAre(reserved(0, kHalf), reserved(kHalf + 1, kTop)))
      << "it grows to the last page";
}

TEST(Normalize, RamShrinksToWholePagesWithoutUnderflow) {
  EXPECT_THAT(normalized({{0x1001, 0x2fff, 1}}, kPages).map, ElementsAre(ram(0x2000, 0x3fff)));
  EXPECT_THAT(normalized({{0x1000, 0x1fff, 1}}, kPages).map, ElementsAre(ram(0x1000, 0x1fff)));
  const std::vector<RawEntry> sub_page{{0x1001, 0x10, 1},    {0x5800, 0xfff, 1}, {0x7000, 0xfff, 1},
                                       {0x9001, 0xfff, 1},   {0xb000, 1, 1},     {kTop, 1, 1},
                                       {kTop - 0x1ffe, 5, 1}};
  const auto result = normalized(sub_page, kPages);
  EXPECT_THAT(result.map, IsEmpty());
  EXPECT_EQ(result.report.sub_page_ram, sub_page.size());
}

TEST(Normalize, OthersGrowToWholePages) {
  EXPECT_THAT(normalized({{0x1fff, 2, 2}, {0x5001, 1, 3}, {kTop, 1, 4}}, kPages).map,
              ElementsAre(reserved(0x1000, 0x2fff), entry(0x5000, 0x5fff, Type::kAcpi),
                          entry(kTop - 0xfff, kTop, Type::kNvs)));
}

TEST(Normalize, APageIsRamWhenItsPartsAreAllRam) {
  EXPECT_THAT(normalized({{0x1000, 0x800, 1}, {0x1800, 0x800, 1}}, kPages).map,
              ElementsAre(ram(0x1000, 0x1fff)));
  EXPECT_THAT(normalized({{0x1000, 0x800, 1}, {0x1801, 0x7ff, 1}}, kPages).map, IsEmpty());
}

TEST(Normalize, APageSharedWithAReservationIsTheReservations) {
  const auto result = normalized({{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}}, kPages);
  EXPECT_THAT(result.map, ElementsAre(ram(0, 0x9efff), reserved(0x9f000, 0x9ffff)));
  EXPECT_EQ(result.report.overlaps, 0u) << "they only touch; rounding is our doing";
  EXPECT_EQ(result.report.sub_page_ram, 0u);
}

TEST(Normalize, ByteExactKeepsEveryByte) {
  EXPECT_THAT(
      normalized({{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0xfc000000, 0x123, 4}}, kExact).map,
      ElementsAre(ram(0, 0x9fbff), reserved(0x9fc00, 0x9ffff),
                  entry(0xfc000000, 0xfc000122, Type::kNvs)));
}

TEST(Normalize, AReservationBeatsRamInEitherOrder) {
  const RawEntry big{0x1000, 0x9000, 1};
  const RawEntry hole{0x4000, 0x1000, 2};
  for (const auto& in : {std::vector{big, hole}, std::vector{hole, big}}) {
    const auto result = normalized(in, kPages);
    EXPECT_THAT(result.map,
                ElementsAre(ram(0x1000, 0x3fff), reserved(0x4000, 0x4fff), ram(0x5000, 0x9fff)));
    EXPECT_EQ(result.report.overlaps, 1u);
  }
}

TEST(Normalize, OverlapsGoByPrecedenceNotByNumberOrOrder) {
  // From the strongest to the weakest; a number without a name is as strong as a reservation.
  const std::array<std::uint32_t, 12> order{5, 6, 0, 2, 8, 9, 12, 0xffffffff, 4, 3, 7, 1};
  for (std::size_t strong = 0; strong < order.size(); ++strong) {
    for (std::size_t weak = strong; weak < order.size(); ++weak) {
      const RawEntry a{0x1000, 0x2000, order[strong]};
      const RawEntry b{0x2000, 0x2000, order[weak]};
      const auto expected = strong == weak ? std::vector{entry(0x1000, 0x3fff, Type{order[strong]})}
                                           : std::vector{entry(0x1000, 0x2fff, Type{order[strong]}),
                                                         entry(0x3000, 0x3fff, Type{order[weak]})};
      EXPECT_EQ(normalized({a, b}, kPages).map, expected) << order[strong] << " " << order[weak];
      EXPECT_EQ(normalized({b, a}, kPages).map, expected) << order[strong] << " " << order[weak];
    }
  }
}

TEST(Normalize, UnknownTypesAreKeptAsTheyCameAndAreNotRam) {
  const auto result = normalized({{0x1000, 0x1000, 0},
                                  {0x3000, 0x1000, 7},
                                  {0x5000, 0x1000, 8},
                                  {0x7000, 0x1000, 12},
                                  {0x9000, 0x1000, 0xffffffff}},
                                 kPages);
  EXPECT_THAT(result.map,
              ElementsAre(entry(0x1000, 0x1fff, Type{0}), entry(0x3000, 0x3fff, Type::kPmem),
                          entry(0x5000, 0x5fff, Type::kUnaccepted), entry(0x7000, 0x7fff, Type{12}),
                          entry(0x9000, 0x9fff, Type{0xffffffff})));
  EXPECT_EQ(result.report.unknown_types, 3u);
}

TEST(Normalize, DuplicatesAreOne) {
  const std::vector<RawEntry> in(300, RawEntry{0x1000, 0x4000, 1});
  const auto result = normalized(in, kPages);
  EXPECT_THAT(result.map, ElementsAre(ram(0x1000, 0x4fff)));
  EXPECT_EQ(result.report.overlaps, 299u);
}

TEST(Normalize, CutsOffWhatTheProcessorCannotAddress) {
  NormalizeOptions options = kPages;
  options.phys_bits = 36;
  const auto result = normalized({{0x1000000000, 0x1000, 1},
                                  {0xfffff0000, 0x20000, 1},
                                  {0x2000000000, 0x1000, 2},
                                  {0x1000, 0x1000, 1}},
                                 options);
  EXPECT_THAT(result.map, ElementsAre(ram(0x1000, 0x1fff), ram(0xfffff0000, 0xfffffffff)));
  EXPECT_EQ(result.report.clipped, 3u);
}

TEST(Normalize, ByDefaultKeepsFiftyTwoBits) {
  const std::vector<RawEntry> in{{(1ull << 52) - 0x1000, 0x2000, 1}};
  EXPECT_THAT(normalized(in).map, ElementsAre(ram((1ull << 52) - 0x1000, (1ull << 52) - 1)));
}

TEST(Normalize, RefusesImpossiblePhysBits) {
  std::array<Entry, 4> out;
  std::array<Scratch, 2> scratch;
  for (const std::uint32_t bits : {0u, 11u, 65u, UINT32_MAX}) {
    Report report;
    const auto map = normalize({}, out, scratch, {.phys_bits = bits}, report);
    ASSERT_FALSE(map) << bits;
    EXPECT_EQ(map.error().code, MapErrorCode::kBadOptions);
  }
  for (const std::uint32_t bits : {12u, 64u}) {
    Report report;
    EXPECT_TRUE(normalize({}, out, scratch, {.phys_bits = bits}, report)) << bits;
  }
}

TEST(Normalize, WithholdsOnlyRam) {
  const std::vector<RawEntry> in{{0, 0x200000, 1}, {0xa0000, 0x20000, 2}, {0xe0000, 0x20000, 3}};
  EXPECT_THAT(normalized(in).map,
              ElementsAre(ram(0x1000, 0x9ffff), reserved(0xa0000, 0xbffff),
                          entry(0xe0000, 0xfffff, Type::kAcpi), ram(0x100000, 0x1fffff)));
  EXPECT_THAT(normalized({{0, 0x1000, 2}, {0x1000, 0x1000, 1}}).map,
              ElementsAre(reserved(0, 0xfff), ram(0x1000, 0x1fff)));
  EXPECT_THAT(normalized({{0xd0000, 0x1000, 7}}).map,
              ElementsAre(entry(0xd0000, 0xd0fff, Type::kPmem)));
}

TEST(Normalize, WithholdingIsSwitchable) {
  const std::vector<RawEntry> in{{0, 0x200000, 1}};
  EXPECT_THAT(normalized(in, {.withhold_page_zero = false}).map,
              ElementsAre(ram(0, 0x9ffff), ram(0x100000, 0x1fffff)));
  EXPECT_THAT(normalized(in, {.withhold_legacy_hole = false}).map,
              ElementsAre(ram(0x1000, 0x1fffff)));
  EXPECT_THAT(normalized(in, {.page_granular = false}).map,
              ElementsAre(ram(0x1000, 0x9ffff), ram(0x100000, 0x1fffff)));
}

TEST(Normalize, HasNoLimitOfItsOwn) {
  std::mt19937 engine(0xc0ffee);
  for (const std::uint64_t count : {1u, 128u, 129u, 255u, 256u, 300u, 1024u, 100000u}) {
    std::vector<RawEntry> in;
    std::vector<Entry> expected;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t addr = 0x100000 + i * 0x2000;
      const std::uint32_t type = i % 3 == 0 ? 2 : 1;
      in.push_back({addr, 0x1000, type});
      expected.push_back(entry(addr, addr + 0xfff, Type{type}));
    }
    std::shuffle(in.begin(), in.end(), engine);
    const auto result = normalized(in);
    EXPECT_EQ(result.map, expected) << count;
    EXPECT_TRUE(result.report.clean());
  }
}

TEST(Normalize, KeepsAHundredThousandNestedEntriesApart) {
  // The worst case for a walk that looks back: all are present in the middle.
  constexpr std::uint64_t kCount = 100000;
  std::vector<RawEntry> in;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    in.push_back(
        {i * 0x1000, (2 * kCount - 2 * i) * 0x1000, static_cast<std::uint32_t>(9 + kCount - i)});
  }
  const auto result = normalized(in, kPages);
  ASSERT_EQ(result.map.size(), 2 * kCount - 1);
  EXPECT_EQ(result.map[kCount - 1],
            entry((kCount - 1) * 0x1000, (kCount + 1) * 0x1000 - 1, Type{10}));
  EXPECT_EQ(result.report.overlaps, kCount - 1);
}

// Output that is too small.

TEST(NormalizeOverflow, DropsTheSmallestRamFirstAndOfEqualsTheHighest) {
  const std::vector<RawEntry> in{{0x1000, 0x3000, 1}, {0x5000, 0x1000, 1},  {0x7000, 0x1000, 2},
                                 {0x9000, 0x1000, 1}, {0xb000, 0x10000, 1}, {0x1d000, 0x1000, 3}};
  const std::vector<Entry> all{ram(0x1000, 0x3fff),      ram(0x5000, 0x5fff),
                               reserved(0x7000, 0x7fff), ram(0x9000, 0x9fff),
                               ram(0xb000, 0x1afff),     entry(0x1d000, 0x1dfff, Type::kAcpi)};
  // Which of `all` goes at which step.
  std::vector<Entry> expected = all;
  const std::array victims{all[3], all[1], all[0], all[4]};
  std::uint64_t lost = 0;
  std::vector<Scratch> scratch(scratch_size(in.size()));
  for (std::size_t dropped = 0; dropped <= victims.size(); ++dropped) {
    if (dropped > 0) {
      std::erase(expected, victims[dropped - 1]);
      lost += victims[dropped - 1].range.size().value();
    }
    std::vector<Entry> out(all.size() - dropped);
    Report report;
    const auto map = normalize(in, out, scratch, kPages, report);
    ASSERT_TRUE(map) << dropped;
    EXPECT_TRUE(std::ranges::equal(*map, expected)) << dropped;
    EXPECT_EQ(report.dropped_ranges, dropped);
    EXPECT_EQ(report.dropped_ram, base::ByteSize(lost));
    EXPECT_EQ(report.needed, all.size());
    EXPECT_EQ(report.clean(), dropped == 0);
  }
}

TEST(NormalizeOverflow, NeverDropsAReservation) {
  const std::vector<RawEntry> in{{0x1000, 0x100000, 1}, {0x7000, 0x1000, 2}, {0x9000, 0x1000, 3}};
  std::vector<Scratch> scratch(scratch_size(in.size()));
  for (const std::size_t room : {0u, 1u}) {
    std::vector<Entry> out(room);
    Report report;
    const auto map = normalize(in, out, scratch, kPages, report);
    ASSERT_FALSE(map);
    EXPECT_EQ(map.error(), (MapError{MapErrorCode::kOutputTooSmall, 2}));
    EXPECT_EQ(report.needed, 5u);
  }
}

TEST(NormalizeOverflow, NoRoomAtAllIsFineWhenThereIsOnlyRam) {
  const std::vector<RawEntry> in{{0x1000, 0x1000, 1}, {0x3000, 0x1000, 1}};
  std::vector<Scratch> scratch(scratch_size(in.size()));
  Report report;
  const auto map = normalize(in, {}, scratch, kPages, report);
  ASSERT_TRUE(map);
  EXPECT_TRUE(map->empty());
  EXPECT_EQ(report.dropped_ranges, 2u);
}

TEST(NormalizeOverflow, SaysHowMuchScratchItWants) {
  const std::vector<RawEntry> in(10);
  std::vector<Scratch> scratch(scratch_size(in.size()) - 1);
  std::vector<Entry> out(output_size(in.size()));
  Report report;
  const auto map = normalize(in, out, scratch, {}, report);
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error(), (MapError{MapErrorCode::kScratchTooSmall, 12}));
}

TEST(MapError, EveryCodeHasItsWords) {
  for (const auto code : {MapErrorCode::kScratchTooSmall, MapErrorCode::kOutputTooSmall,
                          MapErrorCode::kInputTooShort, MapErrorCode::kBadOptions}) {
    EXPECT_NE(describe(code), "unknown error");
  }
  EXPECT_EQ(describe(MapErrorCode{99}), "unknown error");
}

}  // namespace
}  // namespace pvh::memory_map
