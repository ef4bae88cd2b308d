// SPDX-License-Identifier: BSD-2-Clause
// What a kernel does with a Boot: after any of it, free() is the RAM that no reservation touches
// (judge_free finds that out in another way), and nobody's room is taken.
#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/guest/boot.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/memory_map/testing/maps.hpp"

namespace pvh::guest {
namespace {

using memory_map::testing::range;
using testing::BootBuilder;
using testing::FakeMachine;
using testing::has_reservation;
using testing::judge_free;

constexpr base::ByteSize kPage = base::kPageSize;

class BootTest : public ::testing::Test {
 protected:
  Boot boot() {
    auto boot = builder_.boot();
    EXPECT_TRUE(boot) << name(boot.error().code);
    return *boot;
  }
  static std::size_t count(const Boot& boot, ReservationKind kind) {
    return static_cast<std::size_t>(
        std::ranges::count(boot.reservations(), kind, &Reservation::kind));
  }
  static bool is_free(const Boot& boot, std::uint64_t address) {
    return memory_map::lookup(boot.free(), base::PhysAddr(address)) != nullptr;
  }

  FakeMachine fake_;
  BootBuilder builder_{fake_};
};

TEST_F(BootTest, AllocatesWholePages) {
  Boot boot = this->boot();
  const auto first = boot.allocate({.size = base::ByteSize(1), .alignment = base::ByteSize(1)});
  EXPECT_EQ(first, range(0x1000, 0x1fff));
  const auto second = boot.allocate({.size = base::ByteSize(0x1001)});
  EXPECT_EQ(second, range(0x2000, 0x3fff));
  const auto aligned = boot.allocate({.size = kPage, .alignment = base::ByteSize(0x200000)});
  EXPECT_EQ(aligned, range(0x400000, 0x400fff));
  const auto highest = boot.allocate({.size = kPage, .placement = memory_map::Placement::kHighest});
  EXPECT_EQ(highest, range(0x7fff000, 0x7ffffff));
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, RefusesWhatCannotBe) {
  Boot boot = this->boot();
  EXPECT_FALSE(boot.allocate({.size = base::ByteSize(0)}));
  EXPECT_FALSE(boot.allocate({.size = base::ByteSize(UINT64_MAX)}));
  EXPECT_FALSE(boot.allocate({.size = base::ByteSize(0x10000000)}));
  EXPECT_FALSE(boot.allocate({.size = kPage, .alignment = base::ByteSize(3)}));
  EXPECT_FALSE(boot.allocate({.size = kPage, .alignment = base::ByteSize(0)}));
  EXPECT_FALSE(boot.allocate({.size = kPage, .within = range(0x200000, 0x2fffff)}));
  EXPECT_EQ(count(boot, ReservationKind::kAllocated), 0u);
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, SharesANoteAmongNeighbours) {
  Boot boot = this->boot();
  const auto take = [&](std::uint64_t address) {
    EXPECT_TRUE(boot.allocate({.size = kPage, .within = range(address, address + 0xfff)}));
  };
  take(0x10000);
  take(0x11000);
  take(0x13000);
  EXPECT_EQ(count(boot, ReservationKind::kAllocated), 2u);
  take(0x12000);
  EXPECT_EQ(count(boot, ReservationKind::kAllocated), 1u);
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kAllocated, 0x10000, 0x13fff));
  take(0xf000);
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kAllocated, 0xf000, 0x13fff));
  EXPECT_EQ(count(boot, ReservationKind::kAllocated), 1u);
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, AllocatesNothingThatItCannotNote) {
  builder_.sizes.reservations = 4;  // image, start_info, map, one more
  Boot boot = this->boot();
  EXPECT_TRUE(boot.allocate({.size = kPage, .within = range(0x10000, 0x10fff)}));
  EXPECT_FALSE(boot.allocate({.size = kPage, .within = range(0x20000, 0x20fff)}));
  EXPECT_TRUE(is_free(boot, 0x20000));
  EXPECT_TRUE(boot.allocate({.size = kPage, .within = range(0x11000, 0x11fff)}));
  EXPECT_FALSE(boot.reserve(range(0x30000, 0x30000), ReservationKind::kAcpi));
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, AllocatesLowPages) {
  Boot boot = this->boot();
  const auto page = boot.allocate_low_page();
  EXPECT_EQ(page, range(0x1000, 0x1fff));
  std::size_t pages = 1;
  while (const auto next = boot.allocate_low_page()) {
    EXPECT_LT(next->last(), base::PhysAddr(0xa0000));
    ++pages;
  }
  // 0x1000-0x9efff without start_info and the map.
  EXPECT_EQ(pages, 0x9e - 2u);
  EXPECT_TRUE(is_free(boot, 0x100000));
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, ReservesAnything) {
  Boot boot = this->boot();
  EXPECT_TRUE(boot.reserve(range(0x1000800, 0x1000800), ReservationKind::kXen, 7));
  EXPECT_TRUE(boot.reserve(range(0x60000000, UINT64_MAX), ReservationKind::kAcpi));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kXen, 0x1000800, 0x1000800, 7));
  EXPECT_FALSE(is_free(boot, 0x1000000));
  EXPECT_TRUE(is_free(boot, 0x1001000));
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, GivesBootDataBack) {
  builder_.command_line = "quiet";
  builder_.modules = {{0x1000000, 0x1000, 0x21000, 0}};
  builder_.place();
  fake_.put(0x21000, std::string_view("rw\0", 3));
  Boot boot = this->boot();
  EXPECT_FALSE(is_free(boot, 0x6000) || is_free(boot, 0x7000));
  boot.release_boot_data();
  EXPECT_TRUE(is_free(boot, 0x6000) && is_free(boot, 0x7000));
  EXPECT_FALSE(is_free(boot, 0x20000) || is_free(boot, 0x21000) || is_free(boot, 0x1000000) ||
               is_free(boot, 0x200000));
  EXPECT_EQ(boot.command_line(), "quiet");
  EXPECT_EQ(boot.modules()[0].command_line, "rw");
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, KeepsAPageThatSomebodyElseUses) {
  builder_.command_line = "quiet";
  builder_.command_line_address = 0x6800;
  Boot boot = this->boot();
  boot.release_boot_data();
  EXPECT_FALSE(is_free(boot, 0x6000));
  EXPECT_TRUE(boot.release(ReservationKind::kCommandLine));
  EXPECT_EQ(boot.command_line(), "");
  EXPECT_TRUE(is_free(boot, 0x6000));
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, GivesBackByKindAndIndex) {
  builder_.modules = {{0x1000000, 0x1000, 0x21000, 0}, {0x1001000, 0x1000, 0x22000, 0}};
  builder_.place();
  fake_.put(0x21000, std::string_view("a\0", 2));
  fake_.put(0x22000, std::string_view("b\0", 2));
  Boot boot = this->boot();
  EXPECT_TRUE(boot.release(ReservationKind::kModule, 0));
  EXPECT_TRUE(is_free(boot, 0x1000000));
  EXPECT_FALSE(is_free(boot, 0x1001000));
  EXPECT_FALSE(boot.release(ReservationKind::kModule, 0));
  EXPECT_TRUE(boot.release(ReservationKind::kModuleCommandLine, 1));
  EXPECT_EQ(boot.modules()[0].command_line, "a");
  EXPECT_EQ(boot.modules()[1].command_line, "");
  EXPECT_TRUE(boot.release(ReservationKind::kModule));
  EXPECT_TRUE(is_free(boot, 0x1001000));
  EXPECT_FALSE(boot.release(ReservationKind::kImage));
  EXPECT_FALSE(is_free(boot, 0x200000));
  EXPECT_FALSE(boot.release(ReservationKind::kXen));
  EXPECT_EQ(judge_free(boot), "");
}

TEST_F(BootTest, CanBeCopiedWhileItsStorageLives) {
  Boot boot = this->boot();
  const Boot copy = boot;
  EXPECT_EQ(judge_free(copy), "");
  EXPECT_EQ(&copy.machine(), &fake_.machine());
}

// Any sequence: every allocation is all free before and taken after it.
TEST_F(BootTest, KeepsItsPromisesInAnyOrder) {
  std::mt19937_64 random(2);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  for (int turn = 0; turn < 60; ++turn) {
    FakeMachine fake;
    BootBuilder builder(fake);
    builder.sizes = {.entries = 16, .modules = 8, .reservations = 5 + below(24), .strings = 0};
    builder.map = {{0, 0x9fc00, 1}, {0x100000, 0x300000, 1}};
    for (std::uint64_t i = below(8); i > 0; --i) {
      builder.map.push_back(
          {0x100000 + below(0x300000), below(0x20000), static_cast<std::uint32_t>(1 + below(3))});
    }
    builder.modlist = 0x8000;
    builder.modules.resize(below(3), {0x310000, 0x1234, 0, 0});
    builder.command_line_address = 0x20000 + below(0x1000);
    builder.command_line = "x";
    auto made = builder.boot();
    if (!made) {
      EXPECT_EQ(made.error().code, BootErrorCode::kTooManyReservations);
      continue;
    }
    Boot& boot = *made;
    std::vector<base::Range> taken;
    for (int step = 0; step < 60; ++step) {
      switch (below(8)) {
        case 0: {
          const std::uint64_t first = below(0x420000);
          static_cast<void>(
              boot.reserve(range(first, first + below(0x3000)), ReservationKind::kAcpi, 0));
          break;
        }
        case 1:
          static_cast<void>(boot.release(ReservationKind::kAcpi));
          break;
        case 2:
          if (below(10) == 0) {
            boot.release_boot_data();
          }
          break;
        case 3:
          if (below(10) == 0 && boot.release(ReservationKind::kAllocated)) {
            taken.clear();
          }
          break;
        default: {
          const std::vector before(boot.free().begin(), boot.free().end());
          std::optional<base::Range> within;
          if (below(2) == 0) {
            const std::uint64_t first = below(0x400000);
            within = range(first, first + below(0x100000));
          }
          const auto got =
              boot.allocate({.size = base::ByteSize(1 + below(0x5000)),
                             .alignment = base::ByteSize(std::uint64_t{1} << below(17)),
                             .within = within,
                             .placement = below(2) == 0 ? memory_map::Placement::kLowest
                                                        : memory_map::Placement::kHighest});
          if (got) {
            EXPECT_TRUE(memory_map::is_ram(before, *got));
            for (const base::Range other : taken) {
              EXPECT_FALSE(other.overlaps(*got));
            }
            taken.push_back(*got);
          }
        }
      }
      ASSERT_EQ(judge_free(boot), "") << "turn " << turn << ", step " << step;
      for (const base::Range each : taken) {
        ASSERT_TRUE(std::ranges::any_of(boot.reservations(), [&](const Reservation& note) {
          return note.kind == ReservationKind::kAllocated && note.range.contains(each);
        }));
      }
    }
  }
}

TEST(ReservationKinds, HaveNames) {
  EXPECT_EQ(to_string(ReservationKind::kImage), "image");
  EXPECT_EQ(to_string(ReservationKind::kAllocated), "allocated");
  EXPECT_EQ(to_string(static_cast<ReservationKind>(200)), "unknown");
}

}  // namespace
}  // namespace pvh::guest
