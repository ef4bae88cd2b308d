// SPDX-License-Identifier: BSD-2-Clause
#include <sys/epoll.h>

#include <array>
#include <system_error>
#include <utility>

#include <pvh/devices/event_loop.hpp>

namespace pvh::devices {
namespace {

constexpr std::uint64_t kWakeId = 0;
constexpr std::size_t kMostEvents = 32;  // at once; the others come with the next wait

epoll_event event_of(std::uint32_t events, std::uint64_t id) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  return event;
}

}  // namespace

EventLoop::Watch::Watch(Watch&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_), fd_(other.fd_) {}

EventLoop::Watch& EventLoop::Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
    fd_ = other.fd_;
  }
  return *this;
}

void EventLoop::Watch::want(std::uint32_t events) const {
  if (loop_ != nullptr) {
    epoll_event event = event_of(events, id_);
    ::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_MOD, fd_, &event);
  }
}

void EventLoop::Watch::reset() {
  if (loop_ != nullptr) {
    ::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_DEL, fd_, nullptr);
    loop_->handlers_.erase(id_);
    loop_ = nullptr;
  }
}

std::unique_ptr<EventLoop> EventLoop::create() {
  base::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  auto wake = base::EventFd::create();
  if (!epoll || !wake) {
    return nullptr;
  }
  epoll_event event = event_of(EPOLLIN, kWakeId);
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake->get(), &event) != 0) {
    return nullptr;
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(*wake)));
}

EventLoop::EventLoop(base::Fd epoll, base::EventFd wake)
    : epoll_(std::move(epoll)), wake_(std::move(wake)) {}

EventLoop::~EventLoop() {
  if (thread_.joinable()) {
    stop();
  }
}

EventLoop::Watch EventLoop::watch(int fd, std::uint32_t events, Handler handler) {
  const std::uint64_t id = next_id_;
  epoll_event event = event_of(events, id);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return {};
  }
  ++next_id_;
  handlers_.emplace(id, std::make_shared<Handler>(std::move(handler)));
  return {*this, id, fd};
}

void EventLoop::run_once(int milliseconds) {
  std::array<epoll_event, kMostEvents> events;
  const int count =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), milliseconds);
  for (int i = 0; i < count; ++i) {
    const epoll_event event = events[static_cast<std::size_t>(i)];
    const std::uint64_t id = event.data.u64;  // a copy: the structure is packed
    if (id == kWakeId) {
      wake_.clear();
      take_calls();
      continue;
    }
    // A handler may drop the watches of others whose events wait here, and its own.
    const auto found = handlers_.find(id);
    if (found != handlers_.end()) {
      const std::shared_ptr<Handler> handler = found->second;
      (*handler)(event.events);
    }
  }
}

void EventLoop::run() {
  while (!stop_.load()) {
    run_once(-1);
  }
}

bool EventLoop::start() {
  // Held, so that no call() comes between the thread's first steps and our knowing of it.
  const std::scoped_lock lock(mutex_);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {  // the one way in which std::thread can say no
    return false;
  }
  return true;
}

void EventLoop::stop() {
  stop_.store(true);
  wake_.signal();
  if (thread_.joinable()) {
    thread_.join();
  }
  thread_ = std::thread();
  stop_.store(false);
}

void EventLoop::take_calls() {
  std::vector<Call*> calls;
  {
    const std::scoped_lock lock(mutex_);
    calls.swap(calls_);
  }
  for (Call* const call : calls) {
    (*call->work)();
    const std::scoped_lock lock(mutex_);
    call->done = true;
    call_done_.notify_all();
  }
}

void EventLoop::call(const std::function<void()>& work) {
  std::unique_lock lock(mutex_);
  if (!thread_.joinable() || thread_.get_id() == std::this_thread::get_id()) {
    lock.unlock();
    work();
    return;
  }
  Call call{&work};
  calls_.push_back(&call);
  wake_.signal();
  call_done_.wait(lock, [&call] { return call.done; });
}

}  // namespace pvh::devices
