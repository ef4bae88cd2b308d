// SPDX-License-Identifier: BSD-2-Clause
// gdb at a machine: a thread that waits for one debugger at a time and serves it, and the gate that
// the machine's vCPUs pass. Before the first debugger came every vCPU waits; after it left they go
// on, and another one may come, whereupon they all stand again.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include <pvh/base/fd.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/kvm/kvm.hpp>
#include <pvh/vmm/machine.hpp>

#include "../gdb/server.hpp"
#include "guest_target.hpp"
#include "listener.hpp"
#include "vcpu_gate.hpp"

namespace pvh::vmm::debug {

class Debugger {
 public:
  struct Parts {
    const kvm::Vm& vm;
    std::span<kvm::Vcpu> vcpus;
    guest_memory::GuestMemory& memory;
    std::vector<LinkedRange> link_map;
    int kick;                   // the signal that interrupts a KVM_RUN
    std::function<void()> end;  // ends the machine; any thread may call it
    Notice notice;
  };
  // What `parts` refers to must outlive the Debugger.
  [[nodiscard]] static Result<std::unique_ptr<Debugger>> create(Listener listener, Parts parts);
  ~Debugger();
  Debugger(const Debugger&) = delete;
  Debugger& operator=(const Debugger&) = delete;

  [[nodiscard]] VcpuGate& gate() { return gate_; }

  // Tells where gdb is waited for.
  [[nodiscard]] Result<void> start();
  // The machine ends: first nothing is held any more; then, when no vCPU runs, gdb is told how.
  void let_go();
  void finish(const std::optional<Ending>& ending);

 private:
  Debugger(Listener listener, base::Fd wake, Parts parts, std::uint32_t debug_flags);

  void serve();
  void come();
  void hear();
  void say();
  void go();
  void wake() const;

  Listener listener_;
  Notice notice_;
  base::Fd wake_;  // an eventfd: a vCPU has something to tell, or the machine ends
  VcpuGate gate_;
  GuestTarget target_;
  std::atomic<bool> ends_ = false;
  std::thread thread_;

  // The thread's own, until it has ended.
  base::Fd client_;
  std::optional<gdb::Server> server_;
  std::string output_;
};

}  // namespace pvh::vmm::debug
