// SPDX-License-Identifier: BSD-2-Clause
#include "plan_entry.hpp"

namespace pvh::loader::internal {
namespace {

// Hostile and legal: what the specification leaves open, as no loader would leave it, but so that
// VMX and SVM take it. No selector names a descriptor that is there; the hidden parts are right.
// EFLAGS has set what it may have (CF PF AF ZF SF DF OF IOPL=3 NT AC ID), so VM, IF, TF are clear.
constexpr std::uint32_t kPoisonEflags =
    kEflags | 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800 | 0x3000 | 0x4000 | 0x40000 | 0x200000;
constexpr std::uint32_t kForbiddenEflags = 0x20000 | 0x200 | 0x100;
static_assert((kPoisonEflags & kForbiddenEflags) == 0);

void poison(EntryState& state) {
  state.eax = 0x2badb002;  // what a Multiboot loader leaves, and qboot
  state.ecx = 0xc0000080;  // EFER, for whoever forgets to load it before RDMSR
  state.edx = 0xdeadbeef;
  state.esi = 0xfffffff1;
  state.edi = 0x80000003;
  state.ebp = 0xffffffff;
  state.esp = 0xfffffffd;
  state.eflags = kPoisonEflags;
  state.cr2 = 0xbadc0de1;
  state.cr3 = 0xbadc0000;
  state.cs.selector = 0x8888;
  state.ds.selector = 0x6660;
  state.es.selector = 0x4440;
  state.ss.selector = 0x2220;
  state.tr.selector = 0xaaa8;
  state.fs = {.selector = 0xfff8,
              .base = 0xdead0000,
              .limit = 0xfff,
              .type = kTypeData,
              .present = true,
              .db = true};
  state.gs = {};
  state.gdtr = {base::PhysAddr(0xa5a5a5a0), 0x7};  // room for the null descriptor alone
  state.idtr = {base::PhysAddr(0x5a5a5a50), 0x3};
}

}  // namespace

EntryState entry_state(const ShapeFacts& shape, bool poisoned, std::optional<base::PhysAddr> gdt) {
  EntryState state;
  state.eax = shape.eax;
  state.eflags = shape.eflags;
  state.cr0 = shape.cr0;
  state.cs = kFlatCode;
  state.ds = kFlatData;
  state.es = kFlatData;
  state.ss = kFlatData;
  state.fs = kFlatData;
  state.gs = kFlatData;
  state.tr = kBusyTss;
  if (!shape.selectors) {
    for (SegmentState* segment : {&state.cs, &state.ds, &state.es, &state.ss, &state.tr}) {
      segment->selector = 0;
    }
    state.fs = {};
    state.gs = {};
  }
  if (shape.tr_never_loaded) {
    state.tr.selector = 0;
    state.tr.limit = 0xffff;
  }
  state.gdtr = {gdt.value_or(base::PhysAddr(shape.gdt_address)), shape.gdt_limit};
  state.idtr = {base::PhysAddr(shape.idt_address), shape.idt_limit};
  if (poisoned) {
    poison(state);
  }
  return state;
}

}  // namespace pvh::loader::internal
