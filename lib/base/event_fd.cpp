// SPDX-License-Identifier: BSD-2-Clause
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include <pvh/base/event_fd.hpp>

namespace pvh::base {

std::optional<EventFd> EventFd::create() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) {
    return std::nullopt;
  }
  return EventFd(std::move(fd));
}

void EventFd::signal() const {
  // Fails only when the counter is full, and then the reader is awake already.
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof(one));
}

bool EventFd::clear() const {
  std::uint64_t count = 0;
  return ::read(fd_.get(), &count, sizeof(count)) == sizeof(count);
}

}  // namespace pvh::base
