// SPDX-License-Identifier: BSD-2-Clause
#include <sys/epoll.h>

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/devices/event_loop.hpp>

namespace pvh::devices {
namespace {

TEST(EventLoop, CallsWhoAskedAsLongAsTheWatchLives) {
  const auto loop = EventLoop::create();
  const auto bell = base::EventFd::create();
  int calls = 0;
  {
    const auto watch = loop->watch(bell->get(), EPOLLIN, [&](std::uint32_t) { ++calls; });
    ASSERT_TRUE(watch);
    loop->run_once(0);
    EXPECT_EQ(calls, 0);
    bell->signal();
    loop->run_once(1000);
    loop->run_once(1000);
    EXPECT_EQ(calls, 2) << "level-triggered";
    watch.want(0);
    loop->run_once(0);
    EXPECT_EQ(calls, 2);
    watch.want(EPOLLIN);
    loop->run_once(1000);
    EXPECT_EQ(calls, 3);
  }
  loop->run_once(0);
  EXPECT_EQ(calls, 3);
}

TEST(EventLoop, AHandlerMayDropAnyWatch) {
  const auto loop = EventLoop::create();
  const auto first = base::EventFd::create();
  const auto second = base::EventFd::create();
  std::vector<EventLoop::Watch> watches;
  int calls = 0;
  const auto drop_all = [&](std::uint32_t) {
    ++calls;
    watches.clear();
  };
  watches.push_back(loop->watch(first->get(), EPOLLIN, drop_all));
  watches.push_back(loop->watch(second->get(), EPOLLIN, drop_all));
  first->signal();
  second->signal();
  loop->run_once(1000);
  EXPECT_EQ(calls, 1) << "the other's event was waiting already";
}

TEST(EventLoop, CannotWatchARegularFile) {
  const auto loop = EventLoop::create();
  EXPECT_FALSE(loop->watch(-1, EPOLLIN, [](std::uint32_t) {}));
}

TEST(EventLoop, CallsOnItsThreadAndWaits) {
  const auto loop = EventLoop::create();
  std::thread::id before;
  loop->call([&] { before = std::this_thread::get_id(); });
  EXPECT_EQ(before, std::this_thread::get_id()) << "it does not run";

  ASSERT_TRUE(loop->start());
  int sum = 0;  // touched by one thread at a time, or TSan says so
  std::vector<std::thread> callers;
  std::atomic<int> elsewhere = 0;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        loop->call([&] {
          ++sum;
          elsewhere += std::this_thread::get_id() == before ? 0 : 1;
          loop->call([&] { ++sum; });  // from its own thread
        });
      }
    });
  }
  for (std::thread& caller : callers) {
    caller.join();
  }
  loop->stop();
  EXPECT_EQ(sum, 8000);
  EXPECT_EQ(elsewhere, 4000);
}

TEST(EventLoop, StartsAgainAfterItWasStopped) {
  const auto loop = EventLoop::create();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(loop->start());
    std::thread::id where;
    loop->call([&] { where = std::this_thread::get_id(); });
    EXPECT_NE(where, std::this_thread::get_id());
    loop->stop();
  }
}

}  // namespace
}  // namespace pvh::devices
