// SPDX-License-Identifier: BSD-2-Clause
// Thousands of random maps against the oracle. The engine's seed is fixed: a failure repeats.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/normalize.hpp>

#include "lib/memory_map/testing/maps.hpp"
#include "lib/memory_map/testing/oracle.hpp"

namespace pvh::memory_map {
namespace {

using testing::Space;

constexpr std::uint64_t kTop = UINT64_MAX;

// Where the edges are: both ends of the address space, the legacy hole, 4 GiB; byte by byte and in
// quarters of a page.
constexpr std::array kByteSpaces{
    Space{0, 1, 256},       Space{kTop - 255, 1, 256}, Space{0xf80, 1, 256},
    Space{0x9ff80, 1, 256}, Space{0xfff80, 1, 256},    Space{0xffffff80, 1, 256},
};
constexpr std::array kPageSpaces{
    Space{0, 0x400, 128},          Space{kTop - 0x1ffff, 0x400, 128}, Space{0x9c000, 0x400, 512},
    Space{0xfffe0000, 0x400, 256}, Space{0x1ffff0000, 0x800, 64},
};

class Random {
 public:
  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
  bool one_in(std::uint64_t chance) { return below(chance) == 0; }
  std::mt19937_64& engine() { return engine_; }

  std::uint32_t type() {
    static constexpr std::array<std::uint32_t, 12> kTypes{1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 12, 0};
    return one_in(50) ? UINT32_MAX : kTypes[below(kTypes.size())];
  }

  base::Range range(const Space& space) {
    const std::uint64_t first = below(space.cells);
    const std::uint64_t longest =
        one_in(3) ? space.cells - first : std::min<std::uint64_t>(space.cells - first, 12);
    return testing::range(space.first_of(first), space.last_of(first + below(longest)));
  }

  RawEntry raw_entry(const Space& space) {
    const base::Range chosen = range(space);
    RawEntry entry{chosen.first().value(), chosen.size().value(), type()};
    if (one_in(12)) {
      entry.size = 0;
    } else if (space.ends_at_top() && one_in(4)) {
      entry.size = one_in(2) ? 0 - entry.addr : kTop - below(space.cells);
    }
    return entry;
  }

  std::vector<RawEntry> raw_map(const Space& space, std::uint64_t most) {
    std::vector<RawEntry> map(below(most + 1));
    for (RawEntry& entry : map) {
      entry = !map.empty() && one_in(10) ? map[below(map.size())] : raw_entry(space);
    }
    return map;
  }

  std::vector<base::Range> ranges(const Space& space, std::uint64_t most) {
    std::vector<base::Range> result;
    for (std::uint64_t i = below(most + 1); i > 0; --i) {
      result.push_back(range(space));
    }
    return result;
  }

  NormalizeOptions options(const Space& space) {
    static constexpr std::array<std::uint32_t, 5> kBits{12, 16, 17, 32, 52};
    const std::uint32_t bits = one_in(2) ? 64 : kBits[below(kBits.size())];
    return {.phys_bits = bits,
            .page_granular = space.cell > 1 && !one_in(3),
            .withhold_page_zero = one_in(2),
            .withhold_legacy_hole = one_in(2)};
  }

 private:
  std::mt19937_64 engine_{0xc0ffee};
};

template <typename Check>
void for_each_space(int rounds, Check check) {
  for (int i = 0; i < rounds && !::testing::Test::HasFailure(); ++i) {
    for (const Space& space : kByteSpaces) {
      check(space);
    }
    for (const Space& space : kPageSpaces) {
      check(space);
    }
  }
}

// A map to work on that is right by the oracle, not by the code under test.
std::vector<Entry> some_map(Random& random, const Space& space) {
  const auto raw = random.raw_map(space, 12);
  return testing::oracle_normalize(
      space, raw, random.one_in(2) && space.cell > 1 ? testing::kPages : testing::kExact);
}

TEST(NormalizeProperty, SaysWhatTheOracleSays) {
  Random random;
  for_each_space(800, [&](const Space& space) {
    auto in = random.raw_map(space, random.one_in(4) ? 40 : 8);
    const auto options = random.options(space);
    EXPECT_EQ(testing::judge_normalize(space, in, options, output_size(in.size())), "");
    std::ranges::shuffle(in, random.engine());
    EXPECT_EQ(testing::judge_normalize(space, in, options, output_size(in.size())), "");
  });
}

TEST(NormalizeProperty, LosesTheSmallestRamAndNothingElseWhenRoomIsShort) {
  Random random;
  for_each_space(300, [&](const Space& space) {
    const auto in = random.raw_map(space, 30);
    const auto options = random.options(space);
    const std::size_t capacity = random.below(20);
    EXPECT_EQ(testing::judge_normalize(space, in, options, capacity), "");
  });
}

TEST(NormalizeProperty, DoesNotChangeWhatIsNormalised) {
  Random random;
  for_each_space(100, [&](const Space& space) {
    const auto map = some_map(random, space);
    std::vector<RawEntry> raw;
    for (const Entry& each : map) {
      raw.push_back(to_raw(each));
    }
    const auto again = testing::normalized(raw, testing::kExact);
    EXPECT_EQ(again.map, map);
    EXPECT_EQ(again.report.overlaps, 0u);
    EXPECT_EQ(again.report.needed, map.size());
  });
}

TEST(SubtractProperty, LeavesExactlyWhatTheOracleLeaves) {
  Random random;
  for_each_space(400, [&](const Space& space) {
    const auto map = some_map(random, space);
    const auto taken = random.ranges(space, 10);
    const SubtractOptions options{.page_granular = space.cell > 1 && random.one_in(2)};
    const auto all = testing::oracle_subtract(space, map, taken, options);
    const std::size_t capacity =
        random.one_in(2) ? edit_output_size(map.size(), taken.size()) : random.below(6);
    const auto expected = testing::oracle_fit(all, capacity);

    std::vector<Entry> out(capacity);
    std::vector<Scratch> scratch(edit_scratch_size(map.size(), taken.size()));
    Report report;
    const auto free = subtract(map, taken, out, scratch, options, report);
    ASSERT_TRUE(free);
    EXPECT_TRUE(std::ranges::equal(*free, *expected)) << testing::to_text(*free) << "expected\n"
                                                      << testing::to_text(*expected);
    EXPECT_EQ(report.needed, all.size());
    EXPECT_EQ(report.dropped_ranges, all.size() - expected->size());
    EXPECT_LE(all.size(), edit_output_size(map.size(), taken.size()));
  });
}

TEST(ReserveProperty, IsNormalizeWithMoreEntries) {
  Random random;
  for_each_space(400, [&](const Space& space) {
    const auto map = some_map(random, space);
    const auto taken = random.ranges(space, 10);
    std::uint32_t type = random.type();
    type = type == 1 ? 2 : type;
    const bool pages = space.cell > 1 && random.one_in(2);
    std::vector<RawEntry> raw;
    for (const Entry& each : map) {
      raw.push_back(to_raw(each));
    }
    for (const base::Range& each : taken) {
      raw.push_back({each.first().value(), each.size().value(), type});
    }
    const auto expected =
        testing::oracle_normalize(space, raw, pages ? testing::kPages : testing::kExact);

    std::vector<Entry> out(edit_output_size(map.size(), taken.size()));
    std::vector<Scratch> scratch(edit_scratch_size(map.size(), taken.size()));
    Report report;
    const auto result =
        reserve(map, taken, out, scratch, {.type = Type{type}, .page_granular = pages}, report);
    ASSERT_TRUE(result);
    EXPECT_TRUE(std::ranges::equal(*result, expected)) << testing::to_text(*result) << "expected\n"
                                                       << testing::to_text(expected);
  });
}

TEST(FindFreeProperty, FindsWhatTryingEveryAddressFinds) {
  Random random;
  for_each_space(400, [&](const Space& space) {
    const auto map = some_map(random, space);
    // Sizes and alignments of one cell and more, so that the oracle's steps hit every candidate.
    FindOptions options{.size = base::ByteSize((1 + random.below(20)) * space.cell),
                        .alignment = base::ByteSize(space.cell << random.below(6)),
                        .placement = random.one_in(2) ? Placement::kLowest : Placement::kHighest};
    if (random.one_in(2)) {
      options.within = random.range(space);
    }
    EXPECT_EQ(find_free(map, options), testing::oracle_find_free(space, map, options))
        << testing::to_text(map) << options.size.value() << " aligned "
        << options.alignment.value();
  });
}

TEST(FindOverlapProperty, FindsOneExactlyWhenThereIsOne) {
  Random random;
  for_each_space(400, [&](const Space& space) {
    const auto ranges = random.ranges(space, 5);
    bool any = false;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        any = any || ranges[i].overlaps(ranges[j]);
      }
    }
    std::vector<Scratch> scratch(ranges.size());
    const auto overlap = find_overlap(ranges, scratch);
    ASSERT_TRUE(overlap);
    ASSERT_EQ(overlap->has_value(), any);
    if (any) {
      EXPECT_NE((*overlap)->first, (*overlap)->second);
      EXPECT_TRUE(ranges.at((*overlap)->first).overlaps(ranges.at((*overlap)->second)));
    }
  });
}

TEST(LookupProperty, AgreesWithALinearSearch) {
  Random random;
  for_each_space(100, [&](const Space& space) {
    const auto map = some_map(random, space);
    for (std::uint64_t i = 0; i < space.cells; ++i) {
      const base::PhysAddr address(space.first_of(i));
      const auto found = std::ranges::find_if(
          map, [&](const Entry& each) { return each.range.contains(address); });
      EXPECT_EQ(lookup(map, address), found == map.end() ? nullptr : &*found);
    }
    const base::Range asked = random.range(space);
    const bool all_ram = std::ranges::any_of(map, [&](const Entry& each) {
      return each.type == Type::kRam && each.range.contains(asked);
    });
    EXPECT_EQ(is_ram(map, asked), all_ram);
  });
}

}  // namespace
}  // namespace pvh::memory_map
