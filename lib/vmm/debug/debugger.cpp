// SPDX-License-Identifier: BSD-2-Clause
#include "debugger.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>

namespace pvh::vmm::debug {
namespace {

// As if the machine were a program; gdb's numbers of the signals.
gdb::MachineEnd end_of(const Ending& ending) {
  constexpr std::uint8_t kSigIll = 4;
  constexpr std::uint8_t kSigAbrt = 6;
  constexpr std::uint8_t kSigSegv = 11;
  constexpr std::uint8_t kSigAlrm = 14;
  switch (ending.cause) {
    case EndingCause::kPowerOff:
    case EndingCause::kReset:
    case EndingCause::kQuit:
    case EndingCause::kStopped:
      return {.by_signal = false, .value = 0};
    case EndingCause::kDebugExit:
      return {.by_signal = false, .value = static_cast<std::uint8_t>(ending.value * 2 + 1)};
    case EndingCause::kTripleFault:
      return {.by_signal = true, .value = kSigSegv};
    case EndingCause::kCannotRun:
      return {.by_signal = true, .value = kSigIll};
    case EndingCause::kHost:
    case EndingCause::kHostIo:
      return {.by_signal = true, .value = kSigAbrt};
    case EndingCause::kSignal:  // of four, whose numbers are the same everywhere
      return {.by_signal = true, .value = static_cast<std::uint8_t>(ending.value)};
    case EndingCause::kTimeout:
      return {.by_signal = true, .value = kSigAlrm};
  }
  return {.by_signal = true, .value = kSigAbrt};
}

}  // namespace

Debugger::Debugger(Listener listener, base::Fd wake_event, Parts parts, std::uint32_t debug_flags)
    : listener_(std::move(listener)),
      notice_(std::move(parts.notice)),
      wake_(std::move(wake_event)),
      gate_(parts.vcpus, parts.kick, [this] { wake(); }),
      target_({.vcpus = parts.vcpus,
               .memory = parts.memory,
               .link_map = std::move(parts.link_map),
               .can_block_interrupts = (debug_flags & KVM_GUESTDBG_BLOCKIRQ) != 0,
               .gate = gate_,
               .end = std::move(parts.end)}) {}

Result<std::unique_ptr<Debugger>> Debugger::create(Listener listener, Parts parts) {
  if (parts.vm.check_extension(KVM_CAP_SET_GUEST_DEBUG).value_or(0) <= 0) {
    return std::unexpected(
        Failure{FailureKind::kHost, "--gdb: this KVM cannot debug guests (KVM_SET_GUEST_DEBUG)"});
  }
  base::Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) {
    return std::unexpected(
        Failure{FailureKind::kHost, fmt::format("eventfd: {}", base::errno_text(errno))});
  }
  // Which of its flags are known; older KVMs do not say, and lack the newer flags.
  const int flags = parts.vm.check_extension(KVM_CAP_SET_GUEST_DEBUG2).value_or(0);
  return std::unique_ptr<Debugger>(new Debugger(
      std::move(listener), std::move(event), std::move(parts), static_cast<std::uint32_t>(flags)));
}

Debugger::~Debugger() {
  let_go();
  finish(std::nullopt);
}

Result<void> Debugger::start() {
  tell(notice_, "", fmt::format("waiting for gdb: target remote {}", listener_.place()));
  try {
    thread_ = std::thread([this] { serve(); });
  } catch (const std::system_error& error) {  // the one way in which std::thread can say no
    return std::unexpected(Failure{FailureKind::kHost,
                                   fmt::format("cannot start a thread for gdb: {}", error.what())});
  }
  return {};
}

void Debugger::wake() const {
  // Fails only when the counter is full, and then the reader is awake already.
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
}

void Debugger::let_go() {
  gate_.open();
  ends_.store(true);
  wake();
}

void Debugger::finish(const std::optional<Ending>& ending) {
  if (!thread_.joinable()) {
    return;
  }
  thread_.join();
  if (server_ && ending && server_->state() != gdb::Server::State::kKilled) {
    // Unread bytes would turn the end of the connection into a reset, which overtakes what we say.
    std::array<std::byte, 4096> unread;
    while (::recv(client_.get(), unread.data(), unread.size(), MSG_DONTWAIT) > 0) {
    }
    server_->report_end(end_of(*ending));
    say();
  }
  client_.reset();
}

void Debugger::serve() {
  while (!ends_.load()) {
    enum : std::size_t { kWake, kListener, kClient, kCount };
    std::array<pollfd, kCount> fds{};
    fds[kWake] = {wake_.get(), POLLIN, 0};
    fds[kListener] = {client_ ? -1 : listener_.get(), POLLIN, 0};
    // A peer that does not take what it asked for is not heard.
    fds[kClient] = {client_.get(), static_cast<short>(output_.empty() ? POLLIN : POLLOUT), 0};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
      return;
    }
    if (fds[kWake].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t taken = ::read(wake_.get(), &count, sizeof(count));
    }
    if (fds[kListener].revents != 0) {
      come();
    }
    if (client_ && fds[kClient].revents != 0 && output_.empty()) {
      hear();
    }
    if (server_ && server_->state() == gdb::Server::State::kRunning) {
      if (const auto stop = target_.take_events()) {
        server_->report(*stop);
      }
    }
    say();
  }
}

void Debugger::come() {
  client_ = listener_.accept();
  if (client_) {
    server_.emplace(target_, target_.attach());
  }
}

void Debugger::hear() {
  std::array<std::byte, 4096> buffer;
  const ssize_t size = ::recv(client_.get(), buffer.data(), buffer.size(), 0);
  if (size > 0) {
    server_->receive(std::span(buffer).first(static_cast<std::size_t>(size)));
  } else if (size == 0 || (errno != EINTR && errno != EAGAIN)) {
    go();
  }
}

void Debugger::say() {
  if (!server_) {
    return;
  }
  output_ += server_->take_output();
  while (!output_.empty()) {
    const ssize_t sent =
        ::send(client_.get(), output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) {
      return;
    }
    if (sent < 0 && errno != EINTR) {
      return go();
    }
    output_.erase(0, static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
  }
  if (server_->state() == gdb::Server::State::kDetached) {
    go();
  }
}

// The peer is gone, or has said so: the guest goes on without.
void Debugger::go() {
  const auto state = server_->state();
  if (state == gdb::Server::State::kRunning) {
    [[maybe_unused]] const gdb::Stop stop = target_.interrupt();
  }
  if (state == gdb::Server::State::kRunning || state == gdb::Server::State::kStopped) {
    target_.detach();
  }
  server_.reset();
  client_.reset();
  output_.clear();
}

}  // namespace pvh::vmm::debug
