// SPDX-License-Identifier: BSD-2-Clause
// The machine as gdb's server wants it: vCPUs that a VcpuGate holds, and guest memory.
//
// A software breakpoint is an int3 in guest memory. It is known by its physical address, so it
// stops every vCPU under every mapping of that page; reads do not show it, writes go beneath it. A
// vCPU that goes on from one steps over it first, alone: the others wait while the int3 is away.
// The guest's own int3 and single steps are given back to the guest. Its own debug registers do
// nothing while there is a hardware breakpoint of ours.
//
// All but the constructor runs on the debugger's thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/kvm/kvm.hpp>
#include <pvh/vmm/machine.hpp>

#include "../gdb/target.hpp"
#include "debug_registers.hpp"
#include "vcpu_gate.hpp"
#include "vcpu_registers.hpp"

namespace pvh::vmm::debug {

class GuestTarget final : public gdb::Target {
 public:
  // `link_map` serves addresses of the kernel's image that its page tables do not map yet. `end`
  // ends the machine.
  struct Parts {
    std::span<kvm::Vcpu> vcpus;
    guest_memory::GuestMemory& memory;
    std::vector<LinkedRange> link_map;
    bool can_block_interrupts;
    VcpuGate& gate;
    std::function<void()> end;
  };
  explicit GuestTarget(Parts parts) : parts_(std::move(parts)), vcpus_(parts_.vcpus.size()) {}

  // A debugger came: everything stands.
  [[nodiscard]] gdb::Stop attach();
  // Looks at what happened; when it is the debugger's business, stops everything and says what.
  [[nodiscard]] std::optional<gdb::Stop> take_events();

  [[nodiscard]] gdb::Thread threads() const override { return parts_.vcpus.size(); }
  [[nodiscard]] std::string describe(gdb::Thread thread) override;
  [[nodiscard]] std::optional<std::vector<std::byte>> read_registers(gdb::Thread thread) override;
  [[nodiscard]] bool write_registers(gdb::Thread thread, base::Bytes registers) override;
  [[nodiscard]] std::size_t read_memory(gdb::Thread thread, std::uint64_t address,
                                        base::MutableBytes out) override;
  [[nodiscard]] bool write_memory(gdb::Thread thread, std::uint64_t address,
                                  base::Bytes in) override;
  [[nodiscard]] std::optional<gdb::BreakpointError> insert(
      gdb::Thread thread, const gdb::Breakpoint& breakpoint) override;
  bool remove(const gdb::Breakpoint& breakpoint) override;
  void resume(std::span<const gdb::Motion> motions) override;
  [[nodiscard]] gdb::Stop interrupt() override;
  void detach() override;
  void kill() override { parts_.end(); }

 private:
  struct VcpuState {
    gdb::Motion motion = gdb::Motion::kStay;
    std::optional<std::uint64_t> reported;  // the linear address of the breakpoint it reported
    std::optional<gdb::Stop> undelivered;   // it stopped while another stop was told
  };
  struct SoftwareBreakpoint {
    std::byte original;
    std::set<std::uint64_t> linear;  // the addresses for which it was asked
  };
  // One vCPU steps over one breakpoint; then the others go on.
  struct StepOver {
    std::size_t vcpu;
    base::PhysAddr address;
  };
  // Of a run of linear addresses, the parts that lie together in physical memory.
  struct Piece {
    base::PhysAddr address;
    std::size_t size;
  };

  [[nodiscard]] std::optional<base::PhysAddr> translate(std::size_t vcpu,
                                                        std::uint64_t linear) const;
  [[nodiscard]] std::optional<std::uint64_t> linear_pc(std::size_t vcpu) const;
  [[nodiscard]] std::vector<Piece> pieces(std::size_t vcpu, std::uint64_t linear,
                                          std::size_t size) const;
  // The breakpoint of ours at a linear address, whoever asked for it by which.
  [[nodiscard]] std::optional<base::PhysAddr> software_at(std::size_t vcpu,
                                                          std::uint64_t linear) const;
  [[nodiscard]] bool remove_software(std::uint64_t linear);
  void put(base::PhysAddr address, std::byte value);
  void put_back(base::PhysAddr address, std::byte original);
  [[nodiscard]] std::optional<VcpuRegisters> registers_of(gdb::Thread thread) const;

  // What an exit means; nothing when it was the guest's own affair, which is then given back.
  [[nodiscard]] std::optional<gdb::Stop> judge(const VcpuGate::Event& event);
  [[nodiscard]] std::optional<gdb::Stop> judge_debug(std::size_t vcpu, const kvm::DebugExit& exit);
  void give_back(std::size_t vcpu, const kvm::DebugExit& exit);
  [[nodiscard]] gdb::Stop stop_all(gdb::Stop first);
  void end_step_over();

  void go_on();
  [[nodiscard]] bool start_step_over();
  [[nodiscard]] std::optional<gdb::Stop> take_event(const VcpuGate::Event& event);
  void run(std::size_t vcpu, gdb::Motion motion);
  [[nodiscard]] bool set_debug(std::size_t vcpu, std::uint32_t more);
  [[nodiscard]] std::uint32_t step_flags(gdb::Motion motion) const;

  Parts parts_;
  std::vector<VcpuState> vcpus_;
  std::map<base::PhysAddr, SoftwareBreakpoint> software_;
  DebugRegisters hardware_;
  std::optional<StepOver> step_over_;
  std::optional<gdb::Stop> ready_;  // a stop to be told as soon as somebody asks
};

}  // namespace pvh::vmm::debug
