// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <pvh/base/event_fd.hpp>
#include <pvh/devices/async_io.hpp>

namespace pvh::devices {

std::int64_t perform(const FileOperation& operation) {
  const auto offset = static_cast<off_t>(operation.offset);
  const auto count = static_cast<int>(operation.buffers.size());
  std::int64_t result = -1;
  switch (operation.kind) {
    case FileOperation::Kind::kRead:
      result = ::preadv2(operation.fd, operation.buffers.data(), count, offset, operation.flags);
      break;
    case FileOperation::Kind::kWrite:
      result = ::pwritev2(operation.fd, operation.buffers.data(), count, offset, operation.flags);
      break;
    case FileOperation::Kind::kSync:
      result = ::fdatasync(operation.fd);
      break;
    case FileOperation::Kind::kFallocate:
      result =
          ::fallocate(operation.fd, operation.flags, offset, static_cast<off_t>(operation.size));
      break;
  }
  return result < 0 ? -std::int64_t{errno} : result;
}

namespace {

constexpr std::size_t kThreads = 4;

class ThreadIo final : public AsyncIo {
 public:
  explicit ThreadIo(base::EventFd done_bell) : done_bell_(std::move(done_bell)) {}
  ~ThreadIo() override {
    ThreadIo::drain();
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
    }
    work_came_.notify_all();
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }

  [[nodiscard]] bool attach(EventLoop& loop) {
    watch_ = loop.watch(done_bell_.get(), EPOLLIN, [this](std::uint32_t) { collect(); });
    return watch_ && start_threads();
  }

  void start(std::size_t slot, const FileOperation& operation) override {
    {
      const std::scoped_lock lock(mutex_);
      waiting_.push_back({slot, operation});
      ++under_way_;
    }
    work_came_.notify_one();
  }

  void submit() override {}

  void drain() override {
    std::unique_lock lock(mutex_);
    all_done_.wait(lock, [this] { return under_way_ == 0; });
    done_.clear();
    done_bell_.clear();
  }

 private:
  struct Work {
    std::size_t slot;
    FileOperation operation;
  };

  [[nodiscard]] bool start_threads() {
    // Signals are for the threads that wait for them.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (std::size_t i = 0; i < kThreads; ++i) {
        threads_.emplace_back([this] { run(); });
      }
    } catch (const std::system_error& error) {  // the one way in which std::thread can say no
      errno = error.code().value();
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return !threads_.empty();
  }

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_came_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
      if (waiting_.empty()) {
        return;
      }
      const Work work = waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      const std::int64_t result = perform(work.operation);
      lock.lock();
      done_.push_back({work.slot, result});
      if (--under_way_ == 0) {
        all_done_.notify_all();
      }
      done_bell_.signal();
    }
  }

  void collect() {
    std::vector<Completion> done;
    {
      const std::scoped_lock lock(mutex_);
      done_bell_.clear();
      done.swap(done_);
    }
    tell(done);
  }

  base::EventFd done_bell_;
  EventLoop::Watch watch_;

  std::mutex mutex_;  // what is below, but for the threads
  std::condition_variable work_came_;
  std::condition_variable all_done_;
  std::deque<Work> waiting_;
  std::vector<Completion> done_;
  std::size_t under_way_ = 0;  // waiting, and in a system call
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<AsyncIo> make_thread_io(EventLoop& loop, unsigned /*slots*/) {
  auto done_bell = base::EventFd::create();
  if (!done_bell) {
    return nullptr;
  }
  auto io = std::make_unique<ThreadIo>(std::move(*done_bell));
  if (!io->attach(loop)) {
    return nullptr;
  }
  return io;
}

std::unique_ptr<AsyncIo> make_async_io(EventLoop& loop, unsigned slots) {
  auto io = make_uring_io(loop, slots);
  return io ? std::move(io) : make_thread_io(loop, slots);
}

}  // namespace pvh::devices
