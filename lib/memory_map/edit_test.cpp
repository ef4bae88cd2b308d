// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/memory_map/edit.hpp>

#include "lib/memory_map/testing/maps.hpp"

namespace pvh::memory_map {
namespace {

using base::ByteSize;
using base::PhysAddr;
using ::testing::ElementsAre;
using testing::entry;
using ::testing::IsEmpty;
using testing::ram;
using testing::range;
using testing::reserved;

constexpr std::uint64_t kTop = UINT64_MAX;

struct Edited {
  std::vector<Entry> map;
  Report report;
};

Edited subtracted(const std::vector<Entry>& map, const std::vector<base::Range>& taken,
                  const SubtractOptions& options = {}) {
  Edited result;
  result.map.resize(edit_output_size(map.size(), taken.size()));
  std::vector<Scratch> scratch(edit_scratch_size(map.size(), taken.size()));
  const auto free = subtract(map, taken, result.map, scratch, options, result.report).value();
  result.map.resize(free.size());
  return result;
}

std::vector<Entry> with_reserved(const std::vector<Entry>& map,
                                 const std::vector<base::Range>& taken,
                                 const ReserveOptions& options = {}) {
  std::vector<Entry> out(edit_output_size(map.size(), taken.size()));
  std::vector<Scratch> scratch(edit_scratch_size(map.size(), taken.size()));
  Report report;
  out.resize(reserve(map, taken, out, scratch, options, report).value().size());
  return out;
}

TEST(Subtract, WithoutReservationsLeavesTheRam) {
  EXPECT_THAT(
      subtracted({ram(0, 0x9ffff), reserved(0xf0000, 0xfffff), ram(0x100000, 0x1fffff)}, {}).map,
      ElementsAre(ram(0, 0x9ffff), ram(0x100000, 0x1fffff)));
  EXPECT_THAT(subtracted({}, {range(0, 0xfff)}).map, IsEmpty());
}

TEST(Subtract, AReservedByteTakesItsPage) {
  EXPECT_THAT(subtracted({ram(0, 0x9fff)}, {range(0x4fff, 0x5000)}).map,
              ElementsAre(ram(0, 0x3fff), ram(0x6000, 0x9fff)));
  EXPECT_THAT(subtracted({ram(0, 0x9fff)}, {range(0x4fff, 0x5000)}, {.page_granular = false}).map,
              ElementsAre(ram(0, 0x4ffe), ram(0x5001, 0x9fff)));
}

TEST(Subtract, WorksBelowAboveBetweenAndOverTheEdges) {
  const std::vector<Entry> map{ram(0x1000, 0x4fff), reserved(0x5000, 0x5fff), ram(0x8000, 0xffff)};
  EXPECT_THAT(
      subtracted(map, {range(0, 0x1fff), range(0xf000, 0x20000), range(0x4800, 0x8800)}).map,
      ElementsAre(ram(0x2000, 0x3fff), ram(0x9000, 0xefff)));
  EXPECT_THAT(subtracted(map, {range(0, 0xffff)}).map, IsEmpty());
  EXPECT_THAT(subtracted(map, {range(0x6000, 0x7fff), range(0x5100, 0x5200)}).map,
              ElementsAre(ram(0x1000, 0x4fff), ram(0x8000, 0xffff)))
      << "reserving what is not RAM changes nothing";
}

TEST(Subtract, TakesReservationsUnsortedOverlappingAndTwice) {
  EXPECT_THAT(subtracted({ram(0, 0xffff)}, {range(0x8000, 0x9fff), range(0x2000, 0x2fff),
                                            range(0x9000, 0xafff), range(0x2000, 0x2fff)})
                  .map,
              ElementsAre(ram(0, 0x1fff), ram(0x3000, 0x7fff), ram(0xb000, 0xffff)));
}

TEST(Subtract, ReachesTheTopOfTheAddressSpace) {
  EXPECT_THAT(subtracted({ram(kTop - 0x2fff, kTop)}, {range(kTop, kTop)}).map,
              ElementsAre(ram(kTop - 0x2fff, kTop - 0x1000)));
  EXPECT_THAT(subtracted({ram(kTop - 0x2fff, kTop)}, {range(kTop - 0x2fff, kTop - 0x2fff)}).map,
              ElementsAre(ram(kTop - 0x1fff, kTop)));
}

TEST(Subtract, GivesBackWhatIsNoLongerReserved) {
  const std::vector<Entry> map{ram(0, 0xffff)};
  EXPECT_THAT(subtracted(map, {range(0x2000, 0x2fff), range(0x6000, 0x6fff)}).map,
              ElementsAre(ram(0, 0x1fff), ram(0x3000, 0x5fff), ram(0x7000, 0xffff)));
  EXPECT_THAT(subtracted(map, {range(0x2000, 0x2fff)}).map,
              ElementsAre(ram(0, 0x1fff), ram(0x3000, 0xffff)));
}

TEST(Subtract, IsSafeOnAMapThatNobodyNormalised) {
  EXPECT_THAT(subtracted({ram(0x1000, 0x4fff), reserved(0x2000, 0x2fff), ram(0, 0x1fff)}, {}).map,
              ElementsAre(ram(0, 0x1fff), ram(0x3000, 0x4fff)));
}

TEST(Subtract, DropsTheSmallestAndReportsItWhenRoomIsShort) {
  const std::vector<Entry> map{ram(0, 0xffff)};
  const std::array taken{range(0x2000, 0x2fff), range(0x6000, 0x6fff)};
  std::vector<Scratch> scratch(3);
  std::vector<Entry> out(2);
  Report report;
  const auto free = subtract(map, taken, out, scratch, {}, report);
  ASSERT_TRUE(free);
  EXPECT_THAT(std::vector(free->begin(), free->end()),
              ElementsAre(ram(0x3000, 0x5fff), ram(0x7000, 0xffff)));
  EXPECT_EQ(report.dropped_ranges, 1u);
  EXPECT_EQ(report.dropped_ram, ByteSize(0x2000));
  EXPECT_EQ(report.needed, 3u);
}

TEST(Subtract, CountsSplinters) {
  EXPECT_EQ(subtracted({ram(0, 0x2fff)}, {range(0x800, 0x801), range(0x2800, 0x2801)})
                .report.sub_page_ram,
            2u);
}

TEST(Edit, SaysHowMuchScratchItWants) {
  const std::vector<Entry> map{ram(0, 0xffff)};
  const std::array taken{range(0x2000, 0x2fff), range(0x6000, 0x6fff)};
  std::array<Scratch, 2> scratch;
  std::array<Entry, 8> out;
  Report report;
  const MapError expected{MapErrorCode::kScratchTooSmall, 3};
  EXPECT_EQ(subtract(map, taken, out, scratch, {}, report).error(), expected);
  EXPECT_EQ(reserve(map, taken, out, scratch, {}, report).error(), expected);
  EXPECT_EQ(find_overlap(taken, std::span(scratch).first(1)).error(),
            (MapError{MapErrorCode::kScratchTooSmall, 2}));
}

TEST(Reserve, MarksRamAndGapsAndLeavesTheStronger) {
  const std::vector<Entry> map{ram(0, 0xffff), entry(0x20000, 0x20fff, Type::kUnusable)};
  EXPECT_THAT(with_reserved(map, {range(0x4000, 0x4fff), range(0x1f000, 0x21fff)}),
              ElementsAre(ram(0, 0x3fff), reserved(0x4000, 0x4fff), ram(0x5000, 0xffff),
                          reserved(0x1f000, 0x1ffff), entry(0x20000, 0x20fff, Type::kUnusable),
                          reserved(0x21000, 0x21fff)));
}

TEST(Reserve, HasAnyTypeButRam) {
  const std::vector<Entry> map{ram(0, 0xffff)};
  EXPECT_THAT(with_reserved(map, {range(0xe000, 0xe123)}, {.type = Type::kAcpi}),
              ElementsAre(ram(0, 0xdfff), entry(0xe000, 0xefff, Type::kAcpi), ram(0xf000, 0xffff)));
  EXPECT_THAT(
      with_reserved(map, {range(0xe000, 0xe123)}, {.type = Type::kAcpi, .page_granular = false}),
      ElementsAre(ram(0, 0xdfff), entry(0xe000, 0xe123, Type::kAcpi), ram(0xe124, 0xffff)));
  std::array<Scratch, 2> scratch;
  std::array<Entry, 8> out;
  Report report;
  const std::array taken{range(0, 1)};
  EXPECT_EQ(reserve(map, taken, out, scratch, {.type = Type::kRam}, report).error().code,
            MapErrorCode::kBadOptions);
}

TEST(Reserve, FailsRatherThanLoseAReservation) {
  const std::vector<Entry> map{ram(0, 0xffff)};
  const std::array taken{range(0x2000, 0x2fff), range(0x6000, 0x6fff)};
  std::vector<Scratch> scratch(3);
  std::vector<Entry> out(2);
  Report report;
  const auto kept = reserve(map, taken, out, scratch, {}, report);
  ASSERT_TRUE(kept);
  EXPECT_THAT(std::vector(kept->begin(), kept->end()),
              ElementsAre(reserved(0x2000, 0x2fff), reserved(0x6000, 0x6fff)));
  EXPECT_EQ(report.dropped_ram, ByteSize(0xe000));
  EXPECT_EQ(reserve(map, taken, std::span(out).first(1), scratch, {}, report).error(),
            (MapError{MapErrorCode::kOutputTooSmall, 2}));
}

TEST(FindOverlap, NamesBothAndTouchingIsNone) {
  std::array<Scratch, 4> scratch;
  EXPECT_EQ(find_overlap({}, {}).value(), std::nullopt);
  EXPECT_EQ(
      find_overlap(std::array{range(0x1000, 0x1fff), range(0, 0xfff), range(0x2000, kTop)}, scratch)
          .value(),
      std::nullopt);
  EXPECT_EQ(find_overlap(std::array{range(0x1000, 0x1fff), range(0, 0x7ff), range(0x5000, 0x5fff),
                                    range(0x1fff, 0x2fff)},
                         scratch)
                .value(),
            (Overlap{0, 3}));
  EXPECT_EQ(find_overlap(std::array{range(5, 5), range(5, 5)}, scratch).value(), (Overlap{0, 1}));
}

TEST(Lookup, FindsTheEntryOrTheGap) {
  const std::vector<Entry> map{ram(0x1000, 0x1fff), reserved(0x2000, 0x2fff), ram(kTop - 1, kTop)};
  EXPECT_EQ(lookup(map, PhysAddr(0)), nullptr);
  EXPECT_EQ(lookup(map, PhysAddr(0x1000)), &map[0]);
  EXPECT_EQ(lookup(map, PhysAddr(0x1fff)), &map[0]);
  EXPECT_EQ(lookup(map, PhysAddr(0x2000)), &map[1]);
  EXPECT_EQ(lookup(map, PhysAddr(0x3000)), nullptr);
  EXPECT_EQ(lookup(map, PhysAddr(kTop)), &map[2]);
  EXPECT_EQ(lookup({}, PhysAddr(0)), nullptr);
}

TEST(IsRam, WantsEveryByte) {
  const std::vector<Entry> map{ram(0x1000, 0x1fff), reserved(0x2000, 0x2fff)};
  EXPECT_TRUE(is_ram(map, range(0x1000, 0x1fff)));
  EXPECT_FALSE(is_ram(map, range(0x1000, 0x2000)));
  EXPECT_FALSE(is_ram(map, range(0xfff, 0x1fff)));
  EXPECT_FALSE(is_ram(map, range(0x2000, 0x2001)));
  EXPECT_FALSE(is_ram(map, range(0x8000, 0x8001)));
}

TEST(FindFree, LowestAndHighest) {
  const std::vector<Entry> free{ram(0x1000, 0x4fff), ram(0x8000, 0xffff),
                                reserved(0x20000, 0x2ffff)};
  EXPECT_EQ(find_free(free, {.size = ByteSize(0x1000)}), range(0x1000, 0x1fff));
  EXPECT_EQ(find_free(free, {.size = ByteSize(0x5000)}), range(0x8000, 0xcfff));
  EXPECT_EQ(find_free(free, {.size = ByteSize(0x1000), .placement = Placement::kHighest}),
            range(0xf000, 0xffff));
  EXPECT_EQ(find_free(free, {.size = ByteSize(0x8000)}), range(0x8000, 0xffff)) << "exactly fits";
  EXPECT_EQ(find_free(free, {.size = ByteSize(0x8001)}), std::nullopt) << "one byte too many";
}

TEST(FindFree, IsAtHomeOnTheOriginalMapToo) {
  EXPECT_EQ(find_free(std::array{reserved(0, 0xfff), ram(0x1000, 0x1fff)}, {.size = ByteSize(16)}),
            range(0x1000, 0x100f));
}

TEST(FindFree, KeepsAlignmentAndLimits) {
  const std::vector<Entry> free{ram(0x1000, 0x1ffffff)};
  const ByteSize two_mib(2u << 20);
  EXPECT_EQ(find_free(free, {.size = ByteSize(16), .alignment = two_mib}),
            range(0x200000, 0x20000f));
  EXPECT_EQ(
      find_free(free,
                {.size = ByteSize(16), .alignment = two_mib, .placement = Placement::kHighest}),
      range(0x1e00000, 0x1e0000f));
  EXPECT_EQ(
      find_free(free,
                {.size = ByteSize(0x1000), .within = kBelow1MiB, .placement = Placement::kHighest}),
      range(0xff000, 0xfffff));
  EXPECT_EQ(find_free(free, {.size = two_mib, .within = kBelow1MiB}), std::nullopt);
  EXPECT_EQ(find_free(free, {.size = ByteSize(16), .within = range(0x801, 0x100f)}),
            range(0x1000, 0x100f));
  EXPECT_EQ(find_free(free, {.size = ByteSize(16), .within = range(0x1001, 0x1fff)}), std::nullopt)
      << "no aligned address with room after it";
  EXPECT_EQ(
      find_free(free,
                {.size = ByteSize(16), .alignment = ByteSize(1), .within = range(0x1001, 0x1fff)}),
      range(0x1001, 0x1010));
}

TEST(FindFree, RefusesNonsense) {
  const std::vector<Entry> free{ram(0, kTop - 1)};
  for (const Placement placement : {Placement::kLowest, Placement::kHighest}) {
    EXPECT_EQ(find_free(free, {.size = ByteSize(0), .placement = placement}), std::nullopt);
    EXPECT_EQ(
        find_free(free, {.size = ByteSize(1), .alignment = ByteSize(0), .placement = placement}),
        std::nullopt);
    EXPECT_EQ(
        find_free(free, {.size = ByteSize(1), .alignment = ByteSize(12), .placement = placement}),
        std::nullopt);
    EXPECT_EQ(
        find_free(free, {.size = ByteSize(kTop), .alignment = ByteSize(1), .placement = placement}),
        range(0, kTop - 1));
    EXPECT_EQ(find_free({}, {.size = ByteSize(1), .placement = placement}), std::nullopt);
  }
}

TEST(FindFree, DoesNotWrapAtTheTop) {
  const std::vector<Entry> free{ram(kTop - 0x17ff, kTop)};
  EXPECT_EQ(find_free(free, {.size = ByteSize(0x1000)}), range(kTop - 0xfff, kTop));
  EXPECT_EQ(find_free(free, {.size = ByteSize(1), .alignment = ByteSize(0x2000)}), std::nullopt);
  EXPECT_EQ(find_free(free, {.size = ByteSize(0x1000), .placement = Placement::kHighest}),
            range(kTop - 0xfff, kTop));
}

TEST(FindFreeLowPage, IsWhereAProcessorCanStart) {
  EXPECT_EQ(find_free_low_page(std::array{ram(0, 0xfffff)}), range(0x1000, 0x1fff));
  EXPECT_EQ(find_free_low_page(std::array{ram(0, 0xfff), ram(0x9e800, 0xfffff)}),
            range(0x9f000, 0x9ffff));
  EXPECT_EQ(
      find_free_low_page(std::array{ram(0, 0xfff), ram(0xa0000, 0xfffff), ram(0x100000, 0x1fffff)}),
      std::nullopt);
}

TEST(Statistics, OfNoRamAreEmpty) {
  const Statistics none = statistics(std::array{reserved(0, 0xfff)});
  EXPECT_EQ(none.ram, ByteSize(0));
  EXPECT_EQ(none.ram_ranges, 0u);
  EXPECT_EQ(none.last_below_4g, std::nullopt);
  EXPECT_EQ(none.last_above_4g, std::nullopt);
  EXPECT_EQ(none.largest, std::nullopt);
}

TEST(Statistics, SeeBothSidesOfFourGiB) {
  const Statistics both =
      statistics(std::array{ram(0x1000, 0x9ffff), ram(0x100000, 0xbfffffff),
                            reserved(0xfeff8000, 0xfeffffff), ram(0x100000000, 0x13fffffff)});
  EXPECT_EQ(both.ram, ByteSize(0x9f000 + 0xbff00000ull + 0x40000000ull));
  EXPECT_EQ(both.ram_ranges, 3u);
  EXPECT_EQ(both.last_below_4g, PhysAddr(0xbfffffff));
  EXPECT_EQ(both.last_above_4g, PhysAddr(0x13fffffff));
  EXPECT_EQ(both.largest, range(0x100000, 0xbfffffff));
}

TEST(Statistics, ARangeAcrossFourGiBCountsOnBothSides) {
  const Statistics across = statistics(std::array{ram(0x100000, 0x1ffffffff)});
  EXPECT_EQ(across.last_below_4g, PhysAddr(0xffffffff));
  EXPECT_EQ(across.last_above_4g, PhysAddr(0x1ffffffff));
  const Statistics up_to = statistics(std::array{ram(0x100000, 0xffffffff)});
  EXPECT_EQ(up_to.last_above_4g, std::nullopt);
}

TEST(Statistics, OfEqualsTheLowestIsTheLargest) {
  EXPECT_EQ(statistics(std::array{ram(0, 0xfff), ram(0x2000, 0x2fff)}).largest, range(0, 0xfff));
}

TEST(Statistics, SaturateAtTheWholeAddressSpace) {
  EXPECT_EQ(statistics(std::array{ram(0, kTop / 2), ram(kTop / 2 + 1, kTop)}).ram, ByteSize(kTop));
}

}  // namespace
}  // namespace pvh::memory_map
