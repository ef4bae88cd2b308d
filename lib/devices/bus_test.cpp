// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/devices/bus.hpp>

namespace pvh::devices {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Access {
  std::uint64_t offset;
  std::vector<std::uint8_t> bytes;
  friend bool operator==(const Access&, const Access&) = default;
};

// Remembers what it is asked; reads give `fill`.
class Recorder final : public Device {
 public:
  explicit Recorder(std::uint8_t fill = 0) : fill_(fill) {}

  void read(std::uint64_t offset, base::MutableBytes data) override {
    std::ranges::fill(data, std::byte{fill_});
    reads.push_back({offset, std::vector<std::uint8_t>(data.size(), fill_)});
  }
  Action write(std::uint64_t offset, base::Bytes data) override {
    Access access{offset, {}};
    for (const std::byte byte : data) {
      access.bytes.push_back(std::to_integer<std::uint8_t>(byte));
    }
    writes.push_back(access);
    return answer;
  }

  std::vector<Access> reads;
  std::vector<Access> writes;
  Action answer;

 private:
  std::uint8_t fill_;
};

template <typename... T>
std::array<std::byte, sizeof...(T)> bytes(T... values) {
  return {std::byte(values)...};
}

TEST(Bus, GivesEachDeviceOffsetsIntoItsOwnRange) {
  PortBus bus;
  Recorder low;
  Recorder high;
  ASSERT_TRUE(bus.add(Port{0x3f8}, 8, high));
  ASSERT_TRUE(bus.add(Port{0x60}, 1, low));
  EXPECT_EQ(bus.write(Port{0x3f8}, bytes(1)), Action{});
  EXPECT_EQ(bus.write(Port{0x3ff}, bytes(2)), Action{});
  EXPECT_EQ(bus.write(Port{0x60}, bytes(3)), Action{});
  EXPECT_THAT(high.writes, ElementsAre(Access{0, {1}}, Access{7, {2}}));
  EXPECT_THAT(low.writes, ElementsAre(Access{0, {3}}));
}

TEST(Bus, AnswersForNobodyWithAllOnes) {
  PortBus bus;
  Recorder device(0x11);
  ASSERT_TRUE(bus.add(Port{0x100}, 2, device));
  for (const Port port : {Port{0}, Port{0xff}, Port{0x102}, Port{0xffff}}) {
    auto data = bytes(0);
    bus.read(port, data);
    EXPECT_EQ(data, bytes(0xff));
    EXPECT_EQ(bus.write(port, data), Action{});
  }
  EXPECT_TRUE(device.reads.empty());
  EXPECT_TRUE(device.writes.empty());
}

TEST(Bus, RefusesADeviceThatMeetsAnother) {
  PortBus bus;
  Recorder device;
  ASSERT_TRUE(bus.add(Port{0x100}, 8, device));
  struct Case {
    std::uint16_t first;
    std::uint64_t count;
  };
  for (const Case& c : {Case{0x100, 8}, Case{0x107, 1}, Case{0x100, 1}, Case{0xff, 2},
                        Case{0x103, 2}, Case{0x80, 0x100}, Case{0, 0x10000}}) {
    const auto added = bus.add(Port{c.first}, c.count, device);
    ASSERT_FALSE(added) << c.first;
    EXPECT_EQ(added.error().code, BusError::kOverlap);
    EXPECT_THAT(to_text(added.error()), HasSubstr("0x100-0x107"));
  }
  EXPECT_TRUE(bus.add(Port{0xff}, 1, device));
  EXPECT_TRUE(bus.add(Port{0x108}, 1, device));
}

TEST(Bus, RefusesRangesThatAreEmptyOrLeaveTheSpace) {
  PortBus ports;
  MmioBus memory;
  Recorder device;
  EXPECT_EQ(ports.add(Port{1}, 0, device).error().code, BusError::kEmptyRange);
  EXPECT_EQ(ports.add(Port{0xffff}, 2, device).error().code, BusError::kEmptyRange);
  EXPECT_EQ(ports.add(Port{1}, UINT64_MAX, device).error().code, BusError::kEmptyRange);
  EXPECT_EQ(memory.add(base::PhysAddr(2), UINT64_MAX, device).error().code, BusError::kEmptyRange);
  EXPECT_TRUE(ports.add(Port{0xffff}, 1, device));
  EXPECT_TRUE(memory.add(base::PhysAddr(1), UINT64_MAX, device));
}

TEST(Bus, SplitsAnAccessThatLeavesItsDeviceIntoBytes) {
  PortBus bus;
  Recorder first(0x11);
  Recorder second(0x22);
  ASSERT_TRUE(bus.add(Port{0x10}, 2, first));
  ASSERT_TRUE(bus.add(Port{0x13}, 1, second));
  auto data = bytes(0, 0, 0, 0);
  bus.read(Port{0x10}, data);
  EXPECT_EQ(data, bytes(0x11, 0x11, 0xff, 0x22));
  EXPECT_EQ(bus.write(Port{0x11}, bytes(1, 2, 3)), Action{});
  EXPECT_THAT(first.writes, ElementsAre(Access{1, {1}}));
  EXPECT_THAT(second.writes, ElementsAre(Access{0, {3}}));
}

TEST(Bus, DoesNotWrapAtTheTopOfTheSpace) {
  MmioBus memory;
  PortBus ports;
  Recorder bottom(0x11);
  Recorder top(0x22);
  ASSERT_TRUE(memory.add(base::PhysAddr(0), 1, bottom));
  ASSERT_TRUE(memory.add(base::PhysAddr(UINT64_MAX), 1, top));
  auto data = bytes(0, 0);
  memory.read(base::PhysAddr(UINT64_MAX), data);
  EXPECT_EQ(data, bytes(0x22, 0xff));
  ASSERT_TRUE(ports.add(Port{0}, 1, bottom));
  EXPECT_EQ(ports.write(Port{0xffff}, bytes(1, 2)), Action{});
  EXPECT_TRUE(bottom.writes.empty());
}

TEST(Bus, PassesWideAccessesWhole) {
  PortBus bus;
  Recorder device(0x5a);
  ASSERT_TRUE(bus.add(Port{0xcf8}, 8, device));
  auto two = bytes(0, 0);
  auto four = bytes(0, 0, 0, 0);
  bus.read(Port{0xcfc}, two);
  bus.read(Port{0xcfc}, four);
  EXPECT_EQ(four, bytes(0x5a, 0x5a, 0x5a, 0x5a));
  EXPECT_THAT(device.reads,
              ElementsAre(Access{4, {0x5a, 0x5a}}, Access{4, {0x5a, 0x5a, 0x5a, 0x5a}}));
}

TEST(Bus, GivesAStringElementByElementAtOneOffset) {
  PortBus bus;
  Recorder device;
  ASSERT_TRUE(bus.add(Port{0x80}, 4, device));
  EXPECT_EQ(bus.write_string(Port{0x81}, bytes(1, 2, 3, 4), 2), Action{});
  EXPECT_THAT(device.writes, ElementsAre(Access{1, {1, 2}}, Access{1, {3, 4}}));
  auto data = bytes(1, 2, 3);
  bus.read_string(Port{0x80}, data, 1);
  EXPECT_EQ(data, bytes(0, 0, 0));
  EXPECT_EQ(device.reads.size(), 3u);
}

TEST(Bus, StopsAStringWhenTheMachineIsAskedForSomething) {
  PortBus bus;
  Recorder device;
  device.answer = {Request::kDebugExit, 7};
  ASSERT_TRUE(bus.add(Port{0x80}, 1, device));
  EXPECT_EQ(bus.write_string(Port{0x80}, bytes(1, 2, 3), 1), (Action{Request::kDebugExit, 7}));
  EXPECT_EQ(device.writes.size(), 1u);
}

TEST(Bus, IgnoresAccessesOfNothingAndHalfElements) {
  PortBus bus;
  Recorder device;
  ASSERT_TRUE(bus.add(Port{0x80}, 4, device));
  EXPECT_EQ(bus.write(Port{0x80}, {}), Action{});
  EXPECT_EQ(bus.write_string(Port{0x80}, bytes(1), 0), Action{});
  EXPECT_EQ(bus.write_string(Port{0x80}, bytes(1, 2, 3), 2), Action{});
  bus.read(Port{0x80}, {});
  EXPECT_THAT(device.writes, ElementsAre(Access{0, {1, 2}}));
  EXPECT_TRUE(device.reads.empty());
}

TEST(Bus, FindsEveryOneOfManyDevices) {
  MmioBus bus;
  std::vector<std::unique_ptr<Recorder>> devices;
  constexpr std::uint64_t kStride = 0x1000;
  for (std::uint64_t i = 0; i < 200; ++i) {
    devices.push_back(std::make_unique<Recorder>(static_cast<std::uint8_t>(i)));
    const std::uint64_t slot = i * 77 % 200;  // not in order
    ASSERT_TRUE(bus.add(base::PhysAddr(slot * kStride), 0x200, *devices.back()));
  }
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::uint64_t slot = i * 77 % 200;
    auto inside = bytes(0);
    auto behind = bytes(0);
    bus.read(base::PhysAddr(slot * kStride + 0x1ff), inside);
    bus.read(base::PhysAddr(slot * kStride + 0x200), behind);
    EXPECT_EQ(inside, bytes(i));
    EXPECT_EQ(behind, bytes(0xff));
  }
}

}  // namespace
}  // namespace pvh::devices
