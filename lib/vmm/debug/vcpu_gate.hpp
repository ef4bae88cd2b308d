// SPDX-License-Identifier: BSD-2-Clause
// Holds vCPU threads between two KVM_RUNs, for somebody who wants to look at their vCPUs. A vCPU
// that is held stands still only after its KVM_RUN answered InterruptedExit, DebugExit or that it
// cannot go on: before that, an access to a device may be half done.
//
// A vCPU may be read and written (its ioctls issued) by the debugger's thread while it stands.
// Nothing here polls.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include <pvh/kvm/kvm.hpp>

namespace pvh::vmm::debug {

class VcpuGate {
 public:
  // What happened to a vCPU that stands because of it.
  enum class What : std::uint8_t { kDebug, kCrashed, kCannotRun };
  struct Event {
    std::size_t vcpu;
    What what;
    kvm::DebugExit debug;  // of kDebug
  };
  // `kick` interrupts a KVM_RUN; its handler does nothing. `notify` is called on the vCPU's thread
  // when there is an event. All are held until somebody says otherwise.
  VcpuGate(std::span<kvm::Vcpu> vcpus, int kick, std::function<void()> notify);

  // The vCPU's thread: at its start, after each KVM_RUN, and at its end.
  void enter(std::size_t vcpu);
  void pass(std::size_t vcpu, const kvm::Exit& exit);
  void leave(std::size_t vcpu);

  // The debugger's thread. hold_all() returns when every vCPU stands, or the gate was opened.
  void hold_all();
  void release(std::size_t vcpu);
  void release_all();
  [[nodiscard]] std::optional<Event> next_event();
  // Whether a vCPU that can go on no longer (a triple fault) stops, for someone to look at it.
  void keep_crashes(bool keep);

  // The machine ends: for good, nothing is held any more and nobody waits.
  void open();

 private:
  enum class Place : std::uint8_t { kOutside, kRunning, kStanding, kGone };
  struct State {
    Place place = Place::kOutside;
    bool held = true;
    pthread_t thread{};
  };

  void stand(std::unique_lock<std::mutex>& lock, State& state);
  void release_locked(std::size_t vcpu);

  std::span<kvm::Vcpu> vcpus_;
  int kick_;
  std::function<void()> notify_;

  std::mutex mutex_;
  std::condition_variable changed_;  // somebody stands, is gone, or may go
  std::vector<State> states_;
  std::deque<Event> events_;
  bool keep_crashes_ = false;
  bool open_ = false;
};

}  // namespace pvh::vmm::debug
