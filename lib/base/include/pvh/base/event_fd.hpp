// SPDX-License-Identifier: BSD-2-Clause
// A bell between threads, or between this process and the kernel: a counter behind a file
// descriptor that polls as readable while it is not 0. (Hosted.)
#pragma once

#include <optional>
#include <utility>

#include <pvh/base/fd.hpp>

namespace pvh::base {

class EventFd {
 public:
  // Non-blocking and closed on exec. Nothing when the kernel refuses: errno says why.
  [[nodiscard]] static std::optional<EventFd> create();

  // Any thread, and a signal handler.
  void signal() const;
  // Whether it had been signalled since the last call.
  bool clear() const;

  [[nodiscard]] int get() const { return fd_.get(); }

 private:
  explicit EventFd(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace pvh::base
