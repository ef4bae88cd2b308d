// SPDX-License-Identifier: BSD-2-Clause
// How much a device may do in a second: bytes, operations, or both. Two token buckets that hold one
// second's worth, so whoever was idle may do that much at once. Lives on the EventLoop's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include <pvh/base/fd.hpp>
#include <pvh/devices/event_loop.hpp>

namespace pvh::devices {

// 0: no limit.
struct RateLimits {
  std::uint64_t bytes_per_second = 0;
  std::uint64_t operations_per_second = 0;

  friend bool operator==(RateLimits, RateLimits) = default;
};

class RateLimiter {
 public:
  using Nanoseconds = std::chrono::nanoseconds;
  using Clock = std::function<Nanoseconds()>;  // never goes back

  struct Parts {
    EventLoop& loop;
    RateLimits limits;
    // Called on the loop's thread when something that take() refused may go.
    std::function<void()> ready;
    Clock clock;  // empty: CLOCK_MONOTONIC
  };

  // Nothing when the host has no timer left: errno says why.
  [[nodiscard]] static std::unique_ptr<RateLimiter> create(Parts parts);

  // Whether an operation of so many bytes may go now, which is then counted. If not, ask again
  // after `ready`. One that is larger than the bucket goes when the bucket is full, and those after
  // it wait the longer.
  [[nodiscard]] bool take(std::uint64_t bytes);
  // Nobody waits any more.
  void cancel();

 private:
  // Tokens as doubles: exact for what a second can hold, and no product of theirs overflows.
  struct Bucket {
    double rate = 0;  // tokens for each second, and the most it holds; 0 for no limit
    double tokens = 0;

    void fill(double seconds);
    // Until it has enough for `cost`; 0 when it has.
    [[nodiscard]] double wait(double cost) const;
  };

  RateLimiter(Parts parts, base::Fd timer);
  void arm(Nanoseconds wait);

  Parts parts_;
  base::Fd timer_;
  EventLoop::Watch watch_;
  Bucket bytes_;
  Bucket operations_;
  Nanoseconds filled_;  // the moment up to which the buckets were filled
};

}  // namespace pvh::devices
