// SPDX-License-Identifier: BSD-2-Clause
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <pvh/devices/rate_limiter.hpp>

namespace pvh::devices {
namespace {

using Seconds = std::chrono::duration<double>;

RateLimiter::Nanoseconds monotonic() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

}  // namespace

void RateLimiter::Bucket::fill(double seconds) {
  tokens = std::min(rate, tokens + seconds * rate);
}

double RateLimiter::Bucket::wait(double cost) const {
  const double wanted = std::min(cost, rate);
  return rate == 0 || tokens >= wanted ? 0 : (wanted - tokens) / rate;
}

std::unique_ptr<RateLimiter> RateLimiter::create(Parts parts) {
  base::Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) {
    return nullptr;
  }
  if (!parts.clock) {
    parts.clock = monotonic;
  }
  std::unique_ptr<RateLimiter> limiter(new RateLimiter(std::move(parts), std::move(timer)));
  return limiter->watch_ ? std::move(limiter) : nullptr;
}

RateLimiter::RateLimiter(Parts parts, base::Fd timer)
    : parts_(std::move(parts)), timer_(std::move(timer)), filled_(parts_.clock()) {
  bytes_.rate = bytes_.tokens = static_cast<double>(parts_.limits.bytes_per_second);
  operations_.rate = operations_.tokens = static_cast<double>(parts_.limits.operations_per_second);
  watch_ = parts_.loop.watch(timer_.get(), EPOLLIN, [this](std::uint32_t) {
    std::uint64_t expirations = 0;
    if (::read(timer_.get(), &expirations, sizeof(expirations)) == sizeof(expirations)) {
      parts_.ready();
    }
  });
}

bool RateLimiter::take(std::uint64_t bytes) {
  const Nanoseconds now = parts_.clock();
  const double passed = std::max(0.0, Seconds(now - filled_).count());
  filled_ = now;
  bytes_.fill(passed);
  operations_.fill(passed);
  const auto cost = static_cast<double>(bytes);
  const double wait = std::max(bytes_.wait(cost), operations_.wait(1));
  if (wait > 0) {
    // Rounded up, so that it is enough then; and a limit of very little a second stays a number.
    const double most = Seconds(std::chrono::hours(1)).count();
    arm(Nanoseconds(static_cast<std::int64_t>(std::ceil(std::min(wait, most) * 1e9)) + 1));
    return false;
  }
  bytes_.tokens -= cost;
  operations_.tokens -= 1;
  return true;
}

void RateLimiter::arm(Nanoseconds wait) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
  itimerspec when{};
  when.it_value.tv_sec = seconds.count();
  when.it_value.tv_nsec = (wait - seconds).count();
  ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void RateLimiter::cancel() {
  const itimerspec never{};
  ::timerfd_settime(timer_.get(), 0, &never, nullptr);
}

}  // namespace pvh::devices
