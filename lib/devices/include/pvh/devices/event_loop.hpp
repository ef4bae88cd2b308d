// SPDX-License-Identifier: BSD-2-Clause
// The thread on which the virtio devices live: it sleeps until one of the watched file descriptors
// has something, and calls who asked to know. A device that is only ever called from here needs no
// lock.
//
// Handlers must not block: one that does holds up all devices.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <pvh/base/event_fd.hpp>
#include <pvh/base/fd.hpp>

namespace pvh::devices {

class EventLoop {
 public:
  // The set EPOLL* of events; the descriptor is level-triggered.
  using Handler = std::function<void(std::uint32_t events)>;

  // A descriptor is watched as long as its Watch lives. Made, changed and dropped on the loop's
  // thread, or while the loop does not run. Must not outlive the loop or the descriptor.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    ~Watch() { reset(); }

    // What to wait for from now on; 0 for nothing but errors and hang-ups.
    void want(std::uint32_t events) const;
    void reset();
    [[nodiscard]] explicit operator bool() const { return loop_ != nullptr; }

   private:
    friend class EventLoop;
    Watch(EventLoop& loop, std::uint64_t id, int fd) : loop_(&loop), id_(id), fd_(fd) {}

    EventLoop* loop_ = nullptr;
    std::uint64_t id_ = 0;
    int fd_ = -1;
  };

  // Nothing when the kernel refuses: errno says why.
  [[nodiscard]] static std::unique_ptr<EventLoop> create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  // An empty Watch when the kernel refuses (a regular file, too many descriptors): errno says why.
  [[nodiscard]] Watch watch(int fd, std::uint32_t events, Handler handler);

  // Starts the loop's thread, which inherits the signal mask; false when the host has no thread to
  // give.
  [[nodiscard]] bool start();
  // Ends the thread; start() may start another. Nobody may be in call() by then.
  void stop();

  // Calls `work` on the loop's thread and returns when it is done; on the calling thread when that
  // is the loop's or when the loop does not run. From any thread.
  void call(const std::function<void()>& work);

  // What the thread does again and again: waits at most so long (-1: for ever) and calls the
  // handlers. For tests, in place of start().
  void run_once(int milliseconds);

 private:
  struct Call {
    const std::function<void()>* work;
    bool done = false;
  };

  EventLoop(base::Fd epoll, base::EventFd wake);
  void run();
  void take_calls();

  base::Fd epoll_;
  base::EventFd wake_;
  std::map<std::uint64_t, std::shared_ptr<Handler>> handlers_;  // by Watch's id, which epoll gives
  std::uint64_t next_id_ = 1;

  std::mutex mutex_;
  std::condition_variable call_done_;
  std::vector<Call*> calls_;
  std::thread thread_;  // joinable while it runs
  std::atomic<bool> stop_ = false;
};

}  // namespace pvh::devices
