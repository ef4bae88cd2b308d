// SPDX-License-Identifier: BSD-2-Clause
#include <vector>

#include <gtest/gtest.h>
#include <pvh/guest/memory.hpp>

namespace pvh::guest {
namespace {

using memory_map::Entry;
using memory_map::Type;

Entry entry(std::uint64_t first, std::uint64_t last, Type type = Type::kRam) {
  return {*base::Range::from_last(base::PhysAddr(first), base::PhysAddr(last)), type};
}

std::optional<std::uint64_t> page(const std::vector<Entry>& map) {
  const auto found = find_shared_info_page(map);
  return found ? std::optional(found->value()) : std::nullopt;
}

TEST(SharedInfoPage, IsTheFirstPageInNoEntryFrom1MiB) {
  EXPECT_EQ(page({}), 0x100000u);
  EXPECT_EQ(page({entry(0, 0x9fbff)}), 0x100000u);
  EXPECT_EQ(page({entry(0, 0xfffffff)}), 0x10000000u);
  EXPECT_EQ(page({entry(0x200000, 0xfffffff)}), 0x100000u);
  EXPECT_EQ(page({entry(0x101000, 0xfffffff)}), 0x100000u);
}

TEST(SharedInfoPage, IsAWholePage) {
  EXPECT_EQ(page({entry(0x100fff, 0x100fff)}), 0x101000u);
  EXPECT_EQ(page({entry(0, 0x1000ff, Type::kAcpi), entry(0x100200, 0x2fffff)}), 0x300000u);
  EXPECT_EQ(page({entry(0, 0x1fffff), entry(0x200010, 0x2fffff, Type::kReserved)}), 0x300000u);
  // Two entries in one page.
  EXPECT_EQ(page({entry(0x100000, 0x1000ff), entry(0x100800, 0x1008ff)}), 0x101000u);
}

TEST(SharedInfoPage, KeepsOffReservationsAndNeighbours) {
  EXPECT_EQ(page({entry(0, 0x9ffff), entry(0x100000, 0x0fffffff),
                  entry(0x10000000, 0x1fffffff, Type::kReserved), entry(0x20000000, 0x2fffffff)}),
            0x30000000u);
}

TEST(SharedInfoPage, LiesBelowTheIoApic) {
  EXPECT_EQ(page({entry(0, 0xfebfefff)}), 0xfebff000u);
  EXPECT_EQ(page({entry(0, 0xfebfffff)}), std::nullopt);
  EXPECT_EQ(page({entry(0, 0xffffffff)}), std::nullopt);
  EXPECT_EQ(page({entry(0x100000, UINT64_MAX)}), std::nullopt);
}

}  // namespace
}  // namespace pvh::guest
