// SPDX-License-Identifier: BSD-2-Clause
#include "internal/vcpu_state.hpp"

#include <array>
#include <cstring>

#include <pvh/base/try.hpp>

namespace pvh::vmm::internal {
namespace {

constexpr std::uint32_t kMsrMiscEnable = 0x1a0;
constexpr std::uint64_t kFastStrings = 1;
constexpr std::uint32_t kMsrMtrrDefType = 0x2ff;
constexpr std::uint64_t kMtrrEnabled = 1u << 11;
constexpr std::uint64_t kWriteBack = 6;

// Offsets into the local APIC's page, and delivery modes. [intel/vol3 11.5.1]
constexpr std::size_t kLvtLint0 = 0x350;
constexpr std::size_t kLvtLint1 = 0x360;
constexpr std::uint32_t kExtInt = 7u << 8;
constexpr std::uint32_t kNmi = 4u << 8;

kvm_segment to_kvm(const loader::SegmentState& state) {
  kvm_segment segment{};
  segment.selector = state.selector;
  segment.base = state.base;
  segment.limit = state.limit;
  segment.type = state.type;
  segment.present = state.present ? 1 : 0;
  segment.s = state.system ? 0 : 1;  // the hardware's S bit is 0 for system segments
  segment.db = state.db ? 1 : 0;
  segment.g = state.granularity ? 1 : 0;
  segment.dpl = state.dpl;
  segment.unusable = state.present ? 0 : 1;
  return segment;
}

kvm_dtable to_kvm(const loader::TableRegister& state) {
  kvm_dtable table{};
  table.base = state.base.value();
  table.limit = state.limit;
  return table;
}

}  // namespace

kvm::Result<void> prepare_vcpu(kvm::Vcpu& vcpu) {
  std::array<kvm_msr_entry, 2> msrs{};
  msrs[0].index = kMsrMiscEnable;
  msrs[0].data = kFastStrings;
  msrs[1].index = kMsrMtrrDefType;
  msrs[1].data = kMtrrEnabled | kWriteBack;
  TRY(vcpu.set_msrs(msrs));

  kvm_lapic_state lapic = TRY(vcpu.get_lapic());
  std::memcpy(lapic.regs + kLvtLint0, &kExtInt, sizeof(kExtInt));
  std::memcpy(lapic.regs + kLvtLint1, &kNmi, sizeof(kNmi));
  return vcpu.set_lapic(lapic);
}

kvm_sregs apply(kvm_sregs sregs, const loader::EntryState& entry) {
  sregs.cs = to_kvm(entry.cs);
  sregs.ds = to_kvm(entry.ds);
  sregs.es = to_kvm(entry.es);
  sregs.fs = to_kvm(entry.fs);
  sregs.gs = to_kvm(entry.gs);
  sregs.ss = to_kvm(entry.ss);
  sregs.tr = to_kvm(entry.tr);
  sregs.ldt = to_kvm(entry.ldtr);
  sregs.gdt = to_kvm(entry.gdtr);
  sregs.idt = to_kvm(entry.idtr);
  sregs.cr0 = entry.cr0;
  sregs.cr2 = entry.cr2;
  sregs.cr3 = entry.cr3;
  sregs.cr4 = entry.cr4;
  sregs.efer = 0;
  return sregs;
}

kvm::Result<void> set_entry_state(kvm::Vcpu& vcpu, const loader::EntryState& entry) {
  const kvm_sregs reset = TRY(vcpu.get_sregs());
  TRY(vcpu.set_sregs(apply(reset, entry)));
  kvm_regs regs{};
  regs.rip = entry.eip;
  regs.rax = entry.eax;
  regs.rbx = entry.ebx;
  regs.rcx = entry.ecx;
  regs.rdx = entry.edx;
  regs.rsi = entry.esi;
  regs.rdi = entry.edi;
  regs.rbp = entry.ebp;
  regs.rsp = entry.esp;
  regs.rflags = entry.eflags;
  return vcpu.set_regs(regs);
}

}  // namespace pvh::vmm::internal
