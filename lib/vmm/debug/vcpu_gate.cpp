// SPDX-License-Identifier: BSD-2-Clause
#include "vcpu_gate.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

namespace pvh::vmm::debug {
namespace {

// Nothing when it is the machine's affair alone.
std::optional<VcpuGate::What> what_of(const kvm::Exit& exit) {
  if (std::holds_alternative<kvm::DebugExit>(exit)) {
    return VcpuGate::What::kDebug;
  }
  if (std::holds_alternative<kvm::ShutdownExit>(exit)) {
    return VcpuGate::What::kCrashed;
  }
  if (std::holds_alternative<kvm::InternalErrorExit>(exit) ||
      std::holds_alternative<kvm::EntryFailedExit>(exit)) {
    return VcpuGate::What::kCannotRun;
  }
  return std::nullopt;
}

}  // namespace

VcpuGate::VcpuGate(std::span<kvm::Vcpu> vcpus, int kick, std::function<void()> notify)
    : vcpus_(vcpus), kick_(kick), notify_(std::move(notify)), states_(vcpus.size()) {
  for (kvm::Vcpu& vcpu : vcpus_) {
    vcpu.set_immediate_exit(true);  // its first KVM_RUN runs nothing
  }
}

void VcpuGate::enter(std::size_t vcpu) {
  const std::scoped_lock lock(mutex_);
  states_[vcpu].place = Place::kRunning;
  states_[vcpu].thread = ::pthread_self();
}

void VcpuGate::leave(std::size_t vcpu) {
  const std::scoped_lock lock(mutex_);
  states_[vcpu].place = Place::kGone;
  changed_.notify_all();
}

void VcpuGate::stand(std::unique_lock<std::mutex>& lock, State& state) {
  state.place = Place::kStanding;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !state.held || open_; });
  state.place = Place::kRunning;
}

void VcpuGate::pass(std::size_t vcpu, const kvm::Exit& exit) {
  const auto what = what_of(exit);
  if (!what && !std::holds_alternative<kvm::InterruptedExit>(exit)) {
    return;
  }
  std::unique_lock lock(mutex_);
  State& state = states_[vcpu];
  if (what && (*what == What::kDebug || keep_crashes_)) {
    const auto* const debug = std::get_if<kvm::DebugExit>(&exit);
    state.held = true;
    events_.push_back({vcpu, *what, debug != nullptr ? *debug : kvm::DebugExit{}});
    notify_();
  }
  if (state.held && !open_) {
    stand(lock, state);
  }
}

void VcpuGate::hold_all() {
  std::unique_lock lock(mutex_);
  if (open_) {
    return;
  }
  for (std::size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    state.held = true;
    vcpus_[i].set_immediate_exit(true);
    if (state.place == Place::kRunning) {
      ::pthread_kill(state.thread, kick_);
    }
  }
  changed_.wait(lock, [&] {
    return open_ || std::ranges::all_of(states_, [](const State& state) {
             return state.place == Place::kStanding || state.place == Place::kGone;
           });
  });
}

void VcpuGate::release_locked(std::size_t vcpu) {
  if (open_) {
    return;  // whoever opened it wants every vCPU to end
  }
  states_[vcpu].held = false;
  vcpus_[vcpu].set_immediate_exit(false);
  changed_.notify_all();
}

void VcpuGate::release(std::size_t vcpu) {
  const std::scoped_lock lock(mutex_);
  release_locked(vcpu);
}

void VcpuGate::release_all() {
  const std::scoped_lock lock(mutex_);
  for (std::size_t i = 0; i < states_.size(); ++i) {
    release_locked(i);
  }
}

std::optional<VcpuGate::Event> VcpuGate::next_event() {
  const std::scoped_lock lock(mutex_);
  if (events_.empty()) {
    return std::nullopt;
  }
  const Event event = events_.front();
  events_.pop_front();
  return event;
}

void VcpuGate::keep_crashes(bool keep) {
  const std::scoped_lock lock(mutex_);
  keep_crashes_ = keep;
}

void VcpuGate::open() {
  const std::scoped_lock lock(mutex_);
  open_ = true;
  changed_.notify_all();
}

}  // namespace pvh::vmm::debug
