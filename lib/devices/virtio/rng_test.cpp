// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>
#include <pvh/devices/virtio/rng.hpp>

#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using testing::Driver;

struct RngTest : ::testing::Test {
  std::unique_ptr<EventLoop> loop = EventLoop::create();
  Rng rng;
  Driver driver{rng, *loop};
};

TEST_F(RngTest, FillsEveryBufferWithSomethingElse) {
  ASSERT_TRUE(driver.negotiate(0));
  auto& queue = driver.add_queue(0);
  driver.start();
  const auto a = driver.memory.take(64);
  const auto b = driver.memory.take(64);
  const auto head = queue.add({{a, 64, true}, {b, 64, true}});
  driver.ring(0);
  EXPECT_EQ(queue.used(), (std::vector<testing::DriverQueue::Used>{{head, 128}}));
  EXPECT_EQ(driver.interrupt(), abi::VIRTIO_MMIO_INT_VRING);
  EXPECT_NE(driver.memory.get(a, 64), std::string(64, '\0'));
  EXPECT_NE(driver.memory.get(a, 64), driver.memory.get(b, 64));
}

TEST_F(RngTest, GivesPartOfAHugeRequestAndNothingForABufferItMayNotWrite) {
  ASSERT_TRUE(driver.negotiate(0));
  auto& queue = driver.add_queue(0);
  driver.start();
  const auto huge = driver.memory.take(1 << 20);
  const auto first = queue.add({{huge, 1 << 20, true}});
  const auto second = queue.add({{huge, 16, false}});
  driver.ring(0);
  EXPECT_EQ(queue.used(),
            (std::vector<testing::DriverQueue::Used>{{first, 64 << 10}, {second, 0}}));
}

TEST_F(RngTest, ServesWhatWasAvailableBeforeTheDriverWasReady) {
  ASSERT_TRUE(driver.negotiate(0));
  auto& queue = driver.add_queue(0);
  const auto head = queue.add({{driver.memory.take(8), 8, true}});
  driver.start();
  EXPECT_EQ(queue.used(), (std::vector<testing::DriverQueue::Used>{{head, 8}}));
}

TEST_F(RngTest, TouchesNothingAfterAReset) {
  ASSERT_TRUE(driver.negotiate(0));
  auto& queue = driver.add_queue(0);
  driver.start();
  driver.write(abi::VIRTIO_MMIO_STATUS, 0);
  queue.add({{driver.memory.take(8), 8, true}});
  driver.ring(0);
  EXPECT_TRUE(queue.used().empty());
  EXPECT_EQ(driver.interrupt(), 0u);
}

}  // namespace
}  // namespace pvh::devices::virtio
