// SPDX-License-Identifier: BSD-2-Clause
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/abi/virtio_balloon.hpp>
#include <pvh/devices/virtio/balloon.hpp>

#include "lib/devices/testing/virtio_driver.hpp"

namespace pvh::devices::virtio {
namespace {

using testing::Driver;
using testing::DriverMemory;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = DriverMemory::kFirst + (2 << 20);  // where the test's pages are

struct BalloonTest : ::testing::Test {
  void start() {
    ASSERT_TRUE(driver.negotiate(abi::VIRTIO_BALLOON_F_PAGE_REPORTING |
                                 abi::VIRTIO_BALLOON_F_DEFLATE_ON_OOM));
    for (std::uint32_t i = 0; i < 3; ++i) {
      queues.push_back(&driver.add_queue(i));
    }
    driver.start();
  }
  void fill(std::uint64_t pages) {
    const std::string content(kPage, 'x');
    for (std::uint64_t i = 0; i < pages; ++i) {
      ASSERT_TRUE(driver.memory.memory().write(base::PhysAddr(kPages + i * kPage),
                                               std::as_bytes(std::span(content))));
    }
  }
  bool is_zero(std::uint64_t page) {
    return driver.memory.get(kPages + page * kPage, kPage) == std::string(kPage, '\0');
  }
  std::uint64_t put_numbers(const std::vector<std::uint32_t>& pages) {
    std::string text;
    for (const std::uint32_t page : pages) {
      text.append(reinterpret_cast<const char*>(&page), sizeof(page));
    }
    return driver.memory.put(text);
  }

  std::unique_ptr<EventLoop> loop = EventLoop::create();
  Balloon balloon;
  Driver driver{balloon, *loop};
  std::vector<testing::DriverQueue*> queues;
};

TEST_F(BalloonTest, AsksForPagesAndHearsHowManyItGot) {
  balloon.set_target(base::ByteSize(16 * kPage + 1));
  start();
  EXPECT_EQ(driver.config<base::Le32>(0).get(), 16u);
  EXPECT_EQ(driver.interrupt(), 0u);
  balloon.set_target(base::ByteSize(8 * kPage));
  EXPECT_EQ(driver.interrupt(), abi::VIRTIO_MMIO_INT_CONFIG);
  EXPECT_EQ(balloon.target().value(), 8 * kPage);
  driver.write(abi::VIRTIO_MMIO_CONFIG + 4, 7);
  driver.write(abi::VIRTIO_MMIO_CONFIG + 0, 99);  // not the driver's
  EXPECT_EQ(balloon.actual().value(), 7 * kPage);
  EXPECT_EQ(balloon.target().value(), 8 * kPage);
}

TEST_F(BalloonTest, DropsThePagesOfTheBalloonAndNoOthers) {
  start();
  fill(8);
  const std::uint32_t first = kPages / kPage;
  const auto numbers = put_numbers({first + 1, first + 2, first + 5, 0, UINT32_MAX, first + 7});
  const auto head = queues[0]->add({{numbers, 6 * 4, false}});
  driver.ring(0);
  EXPECT_EQ(queues[0]->used(), (std::vector<testing::DriverQueue::Used>{{head, 0}}));
  for (const std::uint64_t page : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u}) {
    const bool given = page == 1 || page == 2 || page == 5 || page == 7;
    EXPECT_EQ(is_zero(page), given) << page;
  }
  queues[1]->add({{numbers, 6 * 4, false}});
  driver.ring(1);
  EXPECT_EQ(queues[1]->used().size(), 1u);
}

TEST_F(BalloonTest, TakesMoreNumbersThanOneBufferOfLinuxHas) {
  start();
  constexpr std::uint32_t kMany = 500;
  fill(kMany);
  std::vector<std::uint32_t> pages;
  for (std::uint32_t i = 0; i < kMany; ++i) {
    pages.push_back(static_cast<std::uint32_t>(kPages / kPage) + kMany - 1 - i);  // no runs
  }
  const auto numbers = put_numbers(pages);
  queues[0]->add({{numbers, 1001, false}, {numbers + 1001, kMany * 4 - 1001, false}});
  driver.ring(0);
  for (std::uint32_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(is_zero(i)) << i;
  }
}

TEST_F(BalloonTest, TakesOnlySoManyNumbersOfOneBuffer) {
  start();
  fill(1);
  constexpr std::uint32_t kTaken = 1024;
  const std::uint32_t first = kPages / kPage;
  std::vector<std::uint32_t> pages(kTaken, first + 1);
  pages.push_back(first);
  const auto numbers = put_numbers(pages);
  queues[0]->add({{numbers, (kTaken + 1) * 4, false}});
  driver.ring(0);
  EXPECT_FALSE(is_zero(0)) << "it stays the guest's";
  queues[0]->add({{numbers + 4, kTaken * 4, false}});
  driver.ring(0);
  EXPECT_TRUE(is_zero(0));
}

TEST_F(BalloonTest, DropsWhatTheDriverReportsAsFree) {
  start();
  fill(8);
  queues[2]->add({{kPages + 2 * kPage, 3 * kPage, true}, {kPages + 6 * kPage + 1, kPage, true}});
  driver.ring(2);
  EXPECT_EQ(queues[2]->used().size(), 1u);
  for (const std::uint64_t page : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u}) {
    EXPECT_EQ(is_zero(page), page >= 2 && page <= 4) << page << ": only whole pages";
  }
}

}  // namespace
}  // namespace pvh::devices::virtio
