// SPDX-License-Identifier: BSD-2-Clause
// A Xen for host tests: it makes a FakeMachine look like a PVH domain, by CPUID and by hypercalls
// that answer and refuse as Xen 4.17 does. A test changes what it is before it asks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <pvh/abi/xen_vcpu.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/memory_map/map.hpp>

#include "lib/guest/testing/fake_machine.hpp"

namespace pvh::guest::testing {

class FakeXen {
 public:
  enum class Viridian : bool { kAbsent, kInFront };

  // On an Intel processor; set_vendor() changes that. With Hyper-V's leaves in front, Xen's begin
  // at 0x40000100 and its MSRs at 0x40000200. The machine calls this object: it must outlive the
  // last call.
  explicit FakeXen(FakeMachine& machine, Viridian viridian = Viridian::kAbsent);
  FakeXen(const FakeXen&) = delete;
  FakeXen& operator=(const FakeXen&) = delete;

  [[nodiscard]] std::uint32_t cpuid_base() const { return cpuid_base_; }
  [[nodiscard]] std::uint32_t msr_base() const { return msr_base_; }

  // ---- what XENMEM_memory_map tells: the first entries that fit. Without one it is -ENOSYS, as in
  // QEMU's emulation of Xen.
  std::optional<std::vector<memory_map::RawEntry>> map;
  std::optional<std::uint32_t> claimed_entries;  // a count of its own, right or wrong

  // ---- the hypercall page: stubs appear here when its MSR is written with its address
  base::MutableBytes hypercall_page;
  std::uint64_t hypercall_page_address = 0;

  // ---- the domain
  std::map<std::uint32_t, std::uint64_t> params;  // HVM_PARAM_*; others are 0
  bool is_hardware_domain = true;                 // else CONSOLEIO_write is -EPERM
  std::string console;                            // what CONSOLEIO_write wrote
  std::vector<std::uint32_t> shutdowns;           // SHUTDOWN_* reasons
  std::vector<std::uint32_t> sent_events;         // ports
  std::set<std::uint64_t> shared_info_frames;  // where it is mapped; Xen has it at one place only
  std::optional<int> width_of_shared_info;     // 64 once HVM_PARAM_CALLBACK_IRQ was set

  struct Vcpu {
    bool initialised = false;
    bool up = false;
    std::optional<std::uint64_t> info;  // address of its registered vcpu_info
    std::optional<abi::vcpu_hvm_context_64> context_64;
    std::optional<abi::vcpu_hvm_context_32> context_32;
  };
  std::vector<Vcpu> vcpus{
      Vcpu{.initialised = true, .up = true, .info = {}, .context_64 = {}, .context_32 = {}}};

  // ---- answers that a test forces: (hypercall, command) -> what comes back, and nothing is done
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::intptr_t> forced;

  // Whether Xen takes this context: 0, or -EINVAL.
  [[nodiscard]] static std::intptr_t check(const abi::vcpu_hvm_context_32& context);
  [[nodiscard]] static std::intptr_t check(const abi::vcpu_hvm_context_64& context);

 private:
  std::intptr_t call(const FakeMachine::Hypercall& call);
  std::intptr_t memory_op(Word command, Word argument);
  std::intptr_t hvm_op(Word command, Word argument);
  std::intptr_t sched_op(Word command, Word argument);
  std::intptr_t event_channel_op(Word command, Word argument);
  std::intptr_t console_io(Word command, Word size, Word text);
  std::intptr_t vcpu_op(Word command, Word number, Word argument);
  std::intptr_t tell_map(Word argument);
  std::intptr_t initialise(Vcpu& vcpu, Word argument);
  void write_stubs(std::uint32_t msr, std::uint64_t value);

  std::uint32_t cpuid_base_;
  std::uint32_t msr_base_;
};

}  // namespace pvh::guest::testing
