// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/base/little_endian.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::guest_memory {
namespace {

using base::ByteSize;
using base::PhysAddr;
using base::Range;

Range range(std::uint64_t first, std::uint64_t size) {
  return *Range::from_size(PhysAddr(first), ByteSize(size));
}

GuestMemory two_neighbours_and_an_island() {
  const std::array ranges{range(0x100000000, 0x1000), range(0x1000, 0x1000), range(0x2000, 0x2000)};
  return std::move(*GuestMemory::create(ranges));
}

TEST(GuestMemory, SortsItsRegionsAndKnowsItsSize) {
  const GuestMemory memory = two_neighbours_and_an_island();
  ASSERT_EQ(memory.regions().size(), 3u);
  EXPECT_EQ(memory.regions()[0].range.first(), PhysAddr(0x1000));
  EXPECT_EQ(memory.regions()[2].range.first(), PhysAddr(0x100000000));
  EXPECT_EQ(memory.total(), ByteSize(0x4000));
}

TEST(GuestMemory, AccessCrossesTouchingRegions) {
  GuestMemory memory = two_neighbours_and_an_island();
  ASSERT_TRUE(memory.write_value(PhysAddr(0x1ffc), base::Le64(0x1122334455667788)));
  EXPECT_EQ(memory.read_value<base::Le64>(PhysAddr(0x1ffc))->get(), 0x1122334455667788u);
  EXPECT_EQ(memory.read_value<base::Le32>(PhysAddr(0x2000))->get(), 0x11223344u);
  EXPECT_FALSE(memory.slice(PhysAddr(0x1ffc), ByteSize(8))) << "a slice is one host mapping";
}

TEST(GuestMemory, ChecksStartEndAndOverflow) {
  GuestMemory memory = two_neighbours_and_an_island();
  EXPECT_TRUE(memory.write_value(PhysAddr(0x3ff8), base::Le64(1)));
  EXPECT_FALSE(memory.write_value(PhysAddr(0x3ffc), base::Le64(1))) << "the end is outside";
  EXPECT_FALSE(memory.write_value(PhysAddr(0xffc), base::Le64(1))) << "the start is outside";
  EXPECT_FALSE(memory.read_value<base::Le64>(PhysAddr(UINT64_MAX - 3)));
  EXPECT_FALSE(memory.slice(PhysAddr(0x1000), ByteSize(UINT64_MAX)));
  EXPECT_FALSE(memory.slice(PhysAddr(0x5000), ByteSize(0)));
  EXPECT_TRUE(memory.slice(PhysAddr(0x1000), ByteSize(0x1000)));
  EXPECT_EQ(memory.read_value<base::Le64>(PhysAddr(0x4000)).error().code, MemoryError::kOutsideRam);
}

TEST(GuestMemory, AFailedWriteChangesNothing) {
  GuestMemory memory = two_neighbours_and_an_island();
  const std::vector<std::byte> ones(0x4000, std::byte{0xff});
  EXPECT_FALSE(memory.write(PhysAddr(0x1000), ones));
  EXPECT_EQ(memory.read_value<base::Le64>(PhysAddr(0x1000))->get(), 0u);
}

TEST(GuestMemory, EmptyAccessIsFine) {
  GuestMemory memory = two_neighbours_and_an_island();
  EXPECT_TRUE(memory.write(PhysAddr(0x1000), {}));
  EXPECT_TRUE(memory.read(PhysAddr(0x1000), {}));
}

TEST(GuestMemory, RefusesOverlapAndHalfPages) {
  EXPECT_FALSE(GuestMemory::create(std::array{range(0, 0x2000), range(0x1000, 0x1000)}));
  EXPECT_FALSE(GuestMemory::create(std::array{range(0x800, 0x1000)}));
  EXPECT_FALSE(GuestMemory::create(std::array{range(0, 0x800)}));
}

TEST(GuestMemory, SaysWhenTheHostCannot) {
  const auto memory = GuestMemory::create(std::array{range(0, std::uint64_t{1} << 60)});
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, MemoryError::kNoHostMemory);
  EXPECT_NE(memory.error().sys_errno, 0);
  EXPECT_THAT(base::to_text(memory.error()), testing::HasSubstr("--memory"));
}

TEST(GuestMemory, IsAlignedForHugePagesAsTheGuestSeesIt) {
  const std::array ranges{range(0x3000, 4u << 20)};
  const auto memory = GuestMemory::create(ranges);
  ASSERT_TRUE(memory);
  const auto host = reinterpret_cast<std::uintptr_t>(memory->regions()[0].mapping.bytes().data());
  EXPECT_EQ(host % (2u << 20), 0x3000u);
}

}  // namespace
}  // namespace pvh::guest_memory
