// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using testing::Driver;
using testing::DriverMemory;

constexpr std::uint64_t kFeature = 1u << 5;

class FakeBackend final : public Backend {
 public:
  [[nodiscard]] std::uint32_t id() const override { return 42; }
  [[nodiscard]] std::uint64_t features() const override { return kFeature; }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return sizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override {
    read_config_bytes(std::as_bytes(std::span(config)), offset, data);
  }
  void write_config(std::uint64_t offset, base::Bytes data) override {
    writes.emplace_back(offset, data.size());
  }
  void activate(Activation activation) override { active = std::move(activation); }
  void notify(std::size_t queue) override { notified.push_back(queue); }
  void reset() override {
    active.reset();
    ++resets;
  }

  std::array<std::uint16_t, 2> sizes{16, 64};
  std::array<char, 6> config{'c', 'o', 'n', 'f', 'i', 'g'};
  std::vector<std::pair<std::uint64_t, std::size_t>> writes;
  std::optional<Activation> active;
  std::vector<std::size_t> notified;
  int resets = 0;
};

struct MmioTest : ::testing::Test {
  std::unique_ptr<EventLoop> loop = EventLoop::create();
  FakeBackend backend;
  Driver driver{backend, *loop};
};

TEST_F(MmioTest, IsFound) {
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_MAGIC_VALUE), 0x74726976u);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_VERSION), 2u);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_DEVICE_ID), 42u);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_STATUS), 0u);
  EXPECT_EQ(driver.offered(), kFeature | abi::VIRTIO_F_VERSION_1 | abi::VIRTIO_F_INDIRECT_DESC |
                                  abi::VIRTIO_F_EVENT_IDX);
  driver.write(abi::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_DEVICE_FEATURES), 0u);
  driver.write(abi::VIRTIO_MMIO_QUEUE_SEL, 1);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_QUEUE_NUM_MAX), 64u);
  driver.write(abi::VIRTIO_MMIO_QUEUE_SEL, 2);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_QUEUE_NUM_MAX), 0u) << "there are two";
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX) << "no shared memory";
}

TEST_F(MmioTest, GivesConfigurationByTheByteAndZerosBehindIt) {
  EXPECT_EQ(driver.config<base::Le16>(4).get(), 'i' | 'g' << 8);
  EXPECT_EQ(driver.config<base::Le32>(4).get(), std::uint32_t{'i'} | std::uint32_t{'g'} << 8);
  EXPECT_EQ(driver.config<base::Le64>(0xe00).get(), 0u);
  driver.write(abi::VIRTIO_MMIO_CONFIG + 2, 0);
  EXPECT_EQ(backend.writes, (std::vector<std::pair<std::uint64_t, std::size_t>>{{2, 4}}));
}

TEST_F(MmioTest, StartsWithTheQueuesThatAreReady) {
  ASSERT_TRUE(driver.negotiate(kFeature | abi::VIRTIO_F_EVENT_IDX));
  driver.add_queue(1);
  EXPECT_FALSE(backend.active);
  driver.start();
  ASSERT_TRUE(backend.active);
  EXPECT_EQ(backend.active->features, kFeature | abi::VIRTIO_F_EVENT_IDX | abi::VIRTIO_F_VERSION_1);
  EXPECT_EQ(backend.active->queues.at(0).size(), 0);
  EXPECT_EQ(backend.active->queues.at(1).size(), 64);
  EXPECT_EQ(backend.notified, std::vector<std::size_t>{1}) << "for what waits already";
  EXPECT_EQ(driver.connected, 1);
  driver.ring(0);
  EXPECT_EQ(backend.notified, std::vector<std::size_t>{1}) << "queue 0 is not in use";
  driver.ring(1);
  driver.ring(7);
  EXPECT_EQ(backend.notified, (std::vector<std::size_t>{1, 1}));
}

TEST_F(MmioTest, RefusesFeaturesThatItDidNotOffer) {
  EXPECT_FALSE(driver.negotiate(1));
  driver.start();
  EXPECT_FALSE(backend.active) << "not before the features are settled";
  EXPECT_EQ(driver.status() & abi::VIRTIO_CONFIG_S_DRIVER_OK, 0u);
  EXPECT_FALSE(driver.negotiate(std::uint64_t{1} << 63));
  EXPECT_TRUE(driver.negotiate(kFeature));
}

TEST_F(MmioTest, RefusesALegacyDriver) {
  driver.write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_ACKNOWLEDGE);
  driver.write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_DRIVER);
  driver.write(abi::VIRTIO_MMIO_STATUS, abi::VIRTIO_CONFIG_S_FEATURES_OK);
  EXPECT_EQ(driver.status(), abi::VIRTIO_CONFIG_S_ACKNOWLEDGE | abi::VIRTIO_CONFIG_S_DRIVER);
}

TEST_F(MmioTest, FeaturesAndQueuesAreSettledInTime) {
  ASSERT_TRUE(driver.negotiate(kFeature));
  driver.write(abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
  driver.write(abi::VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
  auto& queue = driver.add_queue(0);
  driver.write(abi::VIRTIO_MMIO_QUEUE_NUM, 1);  // while it is ready
  driver.start();
  ASSERT_TRUE(backend.active);
  EXPECT_EQ(backend.active->features, kFeature | abi::VIRTIO_F_VERSION_1);
  EXPECT_EQ(backend.active->queues.at(0).size(), queue.size());
  driver.write(abi::VIRTIO_MMIO_QUEUE_READY, 0);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_QUEUE_READY), 1u) << "the device has it";
}

TEST_F(MmioTest, ABadQueueAsksForAResetAndSaysWhy) {
  ASSERT_TRUE(driver.negotiate(0));
  QueueSetup setup;
  setup.size = 16;
  setup.descriptors = base::PhysAddr(0xfee00000);
  driver.set_queue(0, setup);
  driver.start();
  EXPECT_FALSE(backend.active);
  EXPECT_NE(driver.status() & abi::VIRTIO_CONFIG_S_NEEDS_RESET, 0u);
  EXPECT_EQ(driver.interrupt(), abi::VIRTIO_MMIO_INT_CONFIG);
  ASSERT_EQ(driver.complaints.size(), 1u);
  EXPECT_NE(driver.complaints[0].find("0xfee00000"), std::string::npos) << driver.complaints[0];

  ASSERT_TRUE(driver.negotiate(0)) << "and is as new after one";
  driver.add_queue(0);
  driver.start();
  EXPECT_TRUE(backend.active);
}

TEST_F(MmioTest, AnOversizedQueueIsRefused) {
  ASSERT_TRUE(driver.negotiate(0));
  QueueSetup setup = testing::DriverQueue(driver.memory, 32).setup();
  driver.set_queue(0, setup);  // at most 16
  driver.start();
  EXPECT_FALSE(backend.active);
  ASSERT_TRUE(driver.negotiate(0));
  driver.write(abi::VIRTIO_MMIO_QUEUE_SEL, 0);
  driver.write(abi::VIRTIO_MMIO_QUEUE_NUM, 0x10010);  // 16 in the low half
  driver.write(abi::VIRTIO_MMIO_QUEUE_READY, 1);
  driver.start();
  EXPECT_FALSE(backend.active);
}

TEST_F(MmioTest, NoBellIsHeardAfterTheDriverBrokeTheRules) {
  ASSERT_TRUE(driver.negotiate(0));
  driver.add_queue(0);
  driver.start();
  backend.notified.clear();
  backend.active->driver->broken({QueueError::kLoop, "", std::nullopt});
  backend.active->driver->broken({QueueError::kLoop, "", std::nullopt});
  EXPECT_EQ(driver.complaints.size(), 1u);
  driver.ring(0);
  EXPECT_TRUE(backend.notified.empty());
}

TEST_F(MmioTest, InterruptsSayWhyUntilTheyAreAcknowledged) {
  ASSERT_TRUE(driver.negotiate(0));
  driver.add_queue(0);
  driver.start();
  backend.active->driver->used_buffers();
  const std::uint32_t generation = driver.read(abi::VIRTIO_MMIO_CONFIG_GENERATION);
  backend.active->driver->config_changed();
  EXPECT_NE(driver.read(abi::VIRTIO_MMIO_CONFIG_GENERATION), generation);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_INTERRUPT_STATUS), 3u);
  driver.write(abi::VIRTIO_MMIO_INTERRUPT_ACK, abi::VIRTIO_MMIO_INT_VRING);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_INTERRUPT_STATUS), abi::VIRTIO_MMIO_INT_CONFIG);
}

TEST_F(MmioTest, AResetForgetsEverything) {
  ASSERT_TRUE(driver.negotiate(kFeature));
  driver.add_queue(0);
  driver.start();
  backend.active->driver->used_buffers();
  driver.write(abi::VIRTIO_MMIO_STATUS, 0);
  EXPECT_FALSE(backend.active);
  EXPECT_EQ(driver.status(), 0u);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_INTERRUPT_STATUS), 0u);
  driver.write(abi::VIRTIO_MMIO_QUEUE_SEL, 0);
  EXPECT_EQ(driver.read(abi::VIRTIO_MMIO_QUEUE_READY), 0u);
}

TEST_F(MmioTest, OddAccessesChangeNothing) {
  for (const std::size_t size : {1u, 2u, 8u}) {
    std::array<std::byte, 8> bytes{};
    std::ranges::fill(bytes, std::byte{0xff});
    driver.transport().read(abi::VIRTIO_MMIO_MAGIC_VALUE, base::MutableBytes(bytes).first(size));
    EXPECT_TRUE(std::ranges::all_of(base::Bytes(bytes).first(size),
                                    [](std::byte b) { return b == std::byte{0}; }));
    std::ranges::fill(bytes, std::byte{1});
    EXPECT_EQ(driver.transport().write(abi::VIRTIO_MMIO_STATUS, base::Bytes(bytes).first(size)),
              Action{});
  }
  EXPECT_EQ(driver.status(), 0u);
}

// Registers in any order with any values: no crash, and never an active device with a queue that
// does not lie in memory.
TEST_F(MmioTest, AnySequenceOfWritesIsSurvived) {
  std::mt19937_64 random(7);
  int activations = 0;
  for (int i = 0; i < 200000; ++i) {
    const std::uint64_t offset = random() % 0x44 * 4;
    std::uint32_t value = static_cast<std::uint32_t>(random());
    switch (random() % 5) {
      case 0:
        value &= 0xf;
        break;
      case 1:
        value = static_cast<std::uint32_t>(DriverMemory::kFirst + random() % 64 * 4096);
        break;
      case 2:
        value = 0;
        break;
      case 3:
        value &= 0x1f;
        break;
      default:
        break;
    }
    // A walk through the handshake now and then, or it would never be reached.
    if (random() % 64 == 0) {
      driver.negotiate(random() % 2 * kFeature);
    }
    driver.write(offset, value);
    if (random() % 16 == 0) {
      driver.settle();
    }
    if (backend.active) {
      ++activations;
      for (const Queue& queue : backend.active->queues) {
        ASSERT_LE(queue.size(), 64);
      }
    }
    driver.interrupt();
  }
  EXPECT_GT(activations, 0);
}

}  // namespace
}  // namespace pvh::devices::virtio
