// SPDX-License-Identifier: BSD-2-Clause
// Both sides of PVH meet: what the loader plans and writes, the guest's runtime finds, all of it
// and nothing else. Then the bytes in between go wrong, one at a time.
//
// The judge of a capture is the reference reader (reference.hpp), which looks at the same bytes,
// wrong ones included: whatever they say now is the truth. The judge of the reference is the plan.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/round_trip/plan_judge.hpp"
#include "tests/round_trip/world.hpp"

namespace pvh::round_trip {
namespace {

using loader::Piece;
using loader::PieceKind;

constexpr int kPlans = 2000;
constexpr int kMutatedPlans = 1000;
constexpr int kMutationsOfEach = 20;

struct Counts {
  int plans = 0;
  int interleaved = 0;
  int captured = 0;
  int above_4_gib = 0;
  std::map<loader::Shape, int> shapes;
};

TEST(RoundTrip, WhatIsPlannedIsCaptured) {
  Random random(20261124);
  Counts counts;
  for (int round = 0; counts.plans < kPlans; ++round) {
    ASSERT_LT(round, 4 * kPlans) << "the loader refuses too much";
    const auto world = World::draw(random);
    if (!world) {
      continue;
    }
    ++counts.plans;
    ++counts.shapes[world->request().shape];
    const Expectation expected = world->expectation();
    const auto captured = world->capture();
    std::string wrong = judge(expected, captured, *world);
    if (captured) {
      ++counts.captured;
      counts.above_4_gib += captured->free().back().range.last().value() >> 32 != 0 ? 1 : 0;
      wrong += compare_with_plan(*world, *captured);
      wrong += name_lost(expected, *captured);
    } else if (!is_interleaved(*world)) {
      wrong += fmt::format("it fails with {}\n", guest::name(captured.error().code));
    } else {
      ++counts.interleaved;
    }
    ASSERT_EQ(wrong, "") << "round " << round << ": " << world->text();
  }
  // None of it may starve, or the test would say nothing.
  EXPECT_GT(counts.captured, kPlans * 8 / 10);
  EXPECT_GT(counts.interleaved, 0);
  EXPECT_GT(counts.above_4_gib, kPlans / 20);
  EXPECT_EQ(counts.shapes.size(), 6u);
  RecordProperty("captured", counts.captured);
  RecordProperty("interleaved", counts.interleaved);
  RecordProperty("above_4_gib", counts.above_4_gib);
}

// ---- one byte goes wrong

std::byte read_byte(World& world, std::uint64_t at) {
  std::array<std::byte, 1> byte{};
  EXPECT_TRUE(world.memory().read(base::PhysAddr(at), byte));
  return byte[0];
}
void write_byte(World& world, std::uint64_t at, std::byte value) {
  const std::array byte{value};
  EXPECT_TRUE(world.memory().write(base::PhysAddr(at), byte));
}

std::byte other_byte(Random& random, std::byte old) {
  constexpr std::array kEdges{std::byte{0}, std::byte{1}, std::byte{0x7f}, std::byte{0x80},
                              std::byte{0xff}};
  std::byte value = old;
  while (value == old) {
    switch (random.upto(2)) {
      case 0:
        value = old ^ std::byte(1u << random.upto(7));
        break;
      case 1:
        value = random.one_of<std::byte>(kEdges);
        break;
      default:
        value = std::byte(random.upto(255));
    }
  }
  return value;
}

// What a monitor may get wrong about a map besides a byte: it calls everything RAM. Then nothing
// but the reservations keeps ACPI's tables and the boot data from being handed out.
void call_everything_ram(World& world) {
  constexpr std::uint64_t kType = 16;
  for (const Piece& piece : world.plan().pieces) {
    if (piece.kind == PieceKind::kMemoryMap) {
      for (std::uint64_t at = 0; at < piece.content.size(); at += 24) {
        write_byte(world, piece.range.first().value() + at + kType, std::byte{1});
      }
    }
  }
  if (world.xen() && world.xen()->map) {
    for (memory_map::RawEntry& entry : *world.xen()->map) {
      entry.type = 1;
    }
  }
}

struct Verdicts {
  int captured = 0;
  int refused = 0;
  std::map<std::string, int> by_target;
  std::set<guest::BootErrorCode> codes;
};

// Captures and compares; the words say what is wrong.
std::string look(World& world, Verdicts& verdicts) {
  const Expectation expected = world.expectation();
  const auto captured = world.capture();
  if (captured) {
    ++verdicts.captured;
  } else {
    ++verdicts.refused;
    verdicts.codes.insert(captured.error().code);
  }
  return judge(expected, captured, world);
}

std::string mutate_a_byte(World& world, Random& random, std::span<const Target> targets,
                          Verdicts& verdicts) {
  const Target& target = random.one_of(targets);
  const auto at = static_cast<std::uint64_t>(target.first) +
                  random.upto(static_cast<std::uint64_t>(target.end - target.first) - 1);
  const std::byte old = read_byte(world, at);
  const std::byte value = other_byte(random, old);
  write_byte(world, at, value);
  ++verdicts.by_target[target.name.starts_with("command line of") ? "text" : target.name];
  const std::string wrong = look(world, verdicts);
  write_byte(world, at, old);
  return wrong.empty()
             ? ""
             : fmt::format("{:#x} instead of {:#x} at {:#x} + {:#x} in {}:\n{}",
                           std::to_integer<int>(value), std::to_integer<int>(old),
                           static_cast<std::uint64_t>(target.first),
                           at - static_cast<std::uint64_t>(target.first), target.name, wrong);
}

std::string mutate_xens_answer(World& world, Random& random, Verdicts& verdicts) {
  auto& map = world.xen()->map;
  if (random.one_in(16)) {
    const auto kept = std::exchange(map, std::nullopt);
    const std::string wrong = look(world, verdicts);
    map = kept;
    return wrong;
  }
  memory_map::RawEntry& entry = (*map)[random.upto(map->size() - 1)];
  const memory_map::RawEntry old = entry;
  const std::uint64_t bit = std::uint64_t{1} << random.upto(63);
  switch (random.upto(2)) {
    case 0:
      entry.addr ^= bit;
      break;
    case 1:
      entry.size ^= bit;
      break;
    default:
      entry.type ^= static_cast<std::uint32_t>(std::uint64_t{1} << random.upto(31));
  }
  ++verdicts.by_target["Xen's answer"];
  const std::string wrong = look(world, verdicts);
  const std::string mutation =
      fmt::format("Xen says {:#x} +{:#x} type {}:\n", entry.addr, entry.size, entry.type);
  entry = old;
  return wrong.empty() ? "" : mutation + wrong;
}

TEST(RoundTrip, OneWrongByteMakesNothingFreeThatIsInUse) {
  Random random(20261125);
  Verdicts verdicts;
  int plans = 0;
  for (int round = 0; plans < kMutatedPlans; ++round) {
    ASSERT_LT(round, 4 * kMutatedPlans) << "the loader refuses too much";
    const auto world = World::draw(random);
    if (!world || is_interleaved(*world)) {
      continue;
    }
    ++plans;
    const auto targets = targets_of(*world);
    for (int i = 0; i < kMutationsOfEach; ++i) {
      if (i == kMutationsOfEach / 2) {
        call_everything_ram(*world);
        const std::string wrong = look(*world, verdicts);
        ASSERT_EQ(wrong, "") << "all is RAM, round " << round << ": " << world->text();
      }
      const std::string wrong = world->xen() && random.one_in(4)
                                    ? mutate_xens_answer(*world, random, verdicts)
                                    : mutate_a_byte(*world, random, targets, verdicts);
      ASSERT_EQ(wrong, "") << "mutation " << i << ", round " << round << ": " << world->text();
    }
  }
  const int all = verdicts.captured + verdicts.refused;
  EXPECT_GE(all, 20000);
  EXPECT_GT(verdicts.captured, all / 2) << "most bytes do not matter so much";
  EXPECT_GT(verdicts.refused, all / 50);
  EXPECT_GE(verdicts.codes.size(), 10u);
  for (const auto& [target, count] : verdicts.by_target) {
    EXPECT_GT(count, 400) << target;
  }
  RecordProperty("captured", verdicts.captured);
  RecordProperty("refused", verdicts.refused);
}

}  // namespace
}  // namespace pvh::round_trip
