// SPDX-License-Identifier: BSD-2-Clause
#include <gtest/gtest.h>
#include <pvh/devices/rate_limiter.hpp>

namespace pvh::devices {
namespace {

using std::chrono::milliseconds;

struct RateLimiterTest : ::testing::Test {
  std::unique_ptr<EventLoop> loop = EventLoop::create();
  RateLimiter::Nanoseconds now{1000};
  int ready = 0;

  std::unique_ptr<RateLimiter> limiter(RateLimits limits) {
    return RateLimiter::create({.loop = *loop,
                                .limits = limits,
                                .ready = [this] { ++ready; },
                                .clock = [this] { return now; }});
  }
};

TEST_F(RateLimiterTest, GivesOneSecondsWorthAtOnceAndThenTheRate) {
  const auto limit = limiter({.bytes_per_second = 1000});
  EXPECT_TRUE(limit->take(600));
  EXPECT_TRUE(limit->take(400));
  EXPECT_FALSE(limit->take(1));
  now += milliseconds(100);
  EXPECT_TRUE(limit->take(60));
  EXPECT_FALSE(limit->take(60));
  EXPECT_TRUE(limit->take(40));
  now += std::chrono::hours(24);
  EXPECT_TRUE(limit->take(1000));
  EXPECT_FALSE(limit->take(1));
}

TEST_F(RateLimiterTest, CountsOperationsToo) {
  const auto limit = limiter({.bytes_per_second = 1000, .operations_per_second = 2});
  EXPECT_TRUE(limit->take(0));
  EXPECT_TRUE(limit->take(0));
  EXPECT_FALSE(limit->take(0));
  now += milliseconds(500);
  EXPECT_TRUE(limit->take(1000));
  now += milliseconds(500);
  EXPECT_FALSE(limit->take(1000));  // what was refused for the bytes took no operation
  now += milliseconds(500);
  EXPECT_TRUE(limit->take(1000));
}

TEST_F(RateLimiterTest, LetsWhatIsLargerThanASecondsWorthGoAndCountsIt) {
  const auto limit = limiter({.bytes_per_second = 1000});
  EXPECT_TRUE(limit->take(3000));
  now += milliseconds(2000);
  EXPECT_FALSE(limit->take(1));
  now += milliseconds(1);
  EXPECT_TRUE(limit->take(1));
  now += milliseconds(500);
  EXPECT_FALSE(limit->take(3000));  // not before it has a whole second's worth
}

TEST_F(RateLimiterTest, ExtremesAreNumbersToo) {
  const auto limit = limiter({.bytes_per_second = UINT64_MAX, .operations_per_second = 1});
  EXPECT_TRUE(limit->take(UINT64_MAX));
  EXPECT_FALSE(limit->take(UINT64_MAX));
  const auto slow = limiter({.bytes_per_second = 1});
  EXPECT_TRUE(slow->take(UINT64_MAX));
  EXPECT_FALSE(slow->take(1));
}

TEST_F(RateLimiterTest, CallsWhenItIsTime) {
  const auto limit = limiter({.bytes_per_second = 1000});
  EXPECT_TRUE(limit->take(1000));
  EXPECT_FALSE(limit->take(2));  // 2 ms
  loop->run_once(5000);
  EXPECT_EQ(ready, 1);
  now += milliseconds(2);
  EXPECT_TRUE(limit->take(2));
  loop->run_once(0);
  EXPECT_EQ(ready, 1);

  EXPECT_FALSE(limit->take(2));
  limit->cancel();
  loop->run_once(10);
  EXPECT_EQ(ready, 1);
}

}  // namespace
}  // namespace pvh::devices
