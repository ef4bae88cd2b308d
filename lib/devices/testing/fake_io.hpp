// SPDX-License-Identifier: BSD-2-Clause
// Asynchronous file operations for tests: they are done when the loop runs, or fail as the test
// says, or wait until it lets them go.
#pragma once

#include <sys/epoll.h>

#include <cerrno>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include <pvh/base/event_fd.hpp>
#include <pvh/devices/async_io.hpp>

namespace pvh::devices::testing {

class FakeIo final : public AsyncIo {
 public:
  // The result in place of the system call's, or nothing to let it happen. May change the
  // operation.
  std::function<std::optional<std::int64_t>(FileOperation&)> hook;
  bool hold = false;  // operations are under way until this is false and submit() is called
  std::vector<FileOperation> seen;
  std::size_t drained = 0;  // operations that were under way in drain()

  explicit FakeIo(EventLoop& loop) : bell_(*base::EventFd::create()) {
    watch_ = loop.watch(bell_.get(), EPOLLIN, [this](std::uint32_t) { collect(); });
  }
  ~FakeIo() override { FakeIo::drain(); }

  void start(std::size_t slot, const FileOperation& operation) override {
    seen.push_back(operation);
    waiting_.push_back({slot, operation});
  }
  void submit() override { bell_.signal(); }
  void drain() override {
    drained += waiting_.size();
    for (Work& work : waiting_) {
      perform(work.operation);
    }
    waiting_.clear();
  }

 private:
  struct Work {
    std::size_t slot;
    FileOperation operation;
  };

  std::int64_t perform(FileOperation& operation) {
    if (hook) {
      if (const auto result = hook(operation)) {
        return *result;
      }
    }
    return devices::perform(operation);
  }
  void collect() {
    bell_.clear();
    if (hold) {
      return;
    }
    std::vector<Completion> done;
    for (Work& work : waiting_) {
      done.push_back({work.slot, perform(work.operation)});
    }
    waiting_.clear();
    tell(done);
  }

  base::EventFd bell_;
  EventLoop::Watch watch_;
  std::deque<Work> waiting_;
};

}  // namespace pvh::devices::testing
