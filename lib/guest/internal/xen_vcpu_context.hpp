// SPDX-License-Identifier: BSD-2-Clause
// What VCPUOP_initialise wants to know of a processor's first instruction, for either mode, so that
// a host can test both. Xen's own checks are in xen/arch/x86/hvm/domain.c.
#pragma once

#include <cstdint>

#include <pvh/abi/xen_vcpu.hpp>
#include <pvh/guest/xen.hpp>

namespace pvh::guest::xen {

// Xen supplies the segments.
[[nodiscard]] constexpr abi::vcpu_hvm_context_64 context_64(const VcpuStart& start) {
  abi::vcpu_hvm_context_64 context{};
  context.mode = base::Le32(abi::VCPU_HVM_MODE_64B);
  context.regs.rip = base::Le64(start.entry);
  context.regs.rsp = base::Le64(start.stack);
  context.regs.rdi = base::Le64(start.argument);
  context.regs.cr0 = base::Le64(start.cr0);
  context.regs.cr3 = base::Le64(start.cr3);
  context.regs.cr4 = base::Le64(start.cr4);
  context.regs.efer = base::Le64(start.efer);
  return context;
}

// Flat segments and no paging: as PVH enters a kernel.
[[nodiscard]] constexpr abi::vcpu_hvm_context_32 context_32(const VcpuStart& start) {
  constexpr std::uint32_t kProtectedMode = 0x11;  // CR0.PE and ET, which is always set
  constexpr base::Le16 kCode(0xc9b);              // present, DPL 0, 32-bit, pages, read and execute
  constexpr base::Le16 kData(0xc93);              // the same, read and write
  constexpr base::Le16 kTss(0x8b);                // present, busy 32-bit TSS
  constexpr base::Le32 kFlat(UINT32_MAX);
  constexpr base::Le32 kTssLimit(0x67);
  abi::vcpu_hvm_context_32 context{};
  context.mode = base::Le32(abi::VCPU_HVM_MODE_32B);
  context.regs.eip = base::Le32(static_cast<std::uint32_t>(start.entry));
  context.regs.esp = base::Le32(static_cast<std::uint32_t>(start.stack));
  context.regs.eax = base::Le32(static_cast<std::uint32_t>(start.argument));
  context.regs.cr0 = base::Le32(kProtectedMode);
  context.regs.cs_limit = kFlat;
  context.regs.ds_limit = kFlat;
  context.regs.ss_limit = kFlat;
  context.regs.es_limit = kFlat;
  context.regs.tr_limit = kTssLimit;
  context.regs.cs_ar = kCode;
  context.regs.ds_ar = kData;
  context.regs.ss_ar = kData;
  context.regs.es_ar = kData;
  context.regs.tr_ar = kTss;
  return context;
}

}  // namespace pvh::guest::xen
