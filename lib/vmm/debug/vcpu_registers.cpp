// SPDX-License-Identifier: BSD-2-Clause
#include "vcpu_registers.hpp"

#include <algorithm>
#include <cstring>
#include <span>

namespace pvh::vmm::debug {
namespace {

// KVM keeps one bit for each x87 register, set when it holds something; gdb has the two bits of
// FSTENV, of which 3 is "empty" and the others are a comment on the value.
std::uint16_t full_tag(std::uint8_t abridged) {
  unsigned tag = 0;
  for (unsigned i = 0; i < 8; ++i) {
    tag |= (abridged & 1U << i) != 0 ? 0U : 3U << (2 * i);
  }
  return static_cast<std::uint16_t>(tag);
}

std::uint8_t abridged_tag(std::uint16_t tag) {
  unsigned abridged = 0;
  for (unsigned i = 0; i < 8; ++i) {
    abridged |= (tag >> (2 * i) & 3U) != 3 ? 1U << i : 0U;
  }
  return static_cast<std::uint8_t>(abridged);
}

// Every register in gdb's order: visit(field, bytes) with the field of KVM's that holds it and its
// size in gdb's packets, which may be the larger one (a selector) or the smaller one (RFLAGS).
template <typename Registers, typename Visit>
void for_each(Registers& all, std::uint16_t& tag, Visit&& visit) {
  auto& regs = all.regs;
  auto& sregs = all.sregs;
  auto& fpu = all.fpu;
  for (auto* const one : {&regs.rax, &regs.rbx, &regs.rcx, &regs.rdx, &regs.rsi, &regs.rdi,
                          &regs.rbp, &regs.rsp, &regs.r8, &regs.r9, &regs.r10, &regs.r11, &regs.r12,
                          &regs.r13, &regs.r14, &regs.r15, &regs.rip}) {
    visit(*one, 8);
  }
  visit(regs.rflags, 4);
  for (auto* const one : {&sregs.cs, &sregs.ss, &sregs.ds, &sregs.es, &sregs.fs, &sregs.gs}) {
    visit(one->selector, 4);
  }
  for (auto& one : fpu.fpr) {
    visit(one, 10);
  }
  visit(fpu.fcw, 4);
  visit(fpu.fsw, 4);
  visit(tag, 4);
  // In 64-bit mode the segments of the last operation are not kept: the upper half stands there.
  std::uint32_t none = 0;
  visit(none, 4);  // fiseg
  visit(fpu.last_ip, 4);
  visit(none, 4);  // foseg
  visit(fpu.last_dp, 4);
  visit(fpu.last_opcode, 4);
  for (auto& one : fpu.xmm) {
    visit(one, 16);
  }
  visit(fpu.mxcsr, 4);
  for (auto* const one : {&sregs.fs.base, &sregs.gs.base, &sregs.cr0, &sregs.cr2, &sregs.cr3,
                          &sregs.cr4, &sregs.efer}) {
    visit(*one, 8);
  }
}

}  // namespace

std::array<std::byte, gdb::kRegisterBytes> to_gdb(const VcpuRegisters& registers) {
  std::array<std::byte, gdb::kRegisterBytes> bytes{};
  VcpuRegisters all = registers;
  std::uint16_t tag = full_tag(all.fpu.ftwx);
  std::size_t offset = 0;
  for_each(all, tag, [&](const auto& field, std::size_t size) {
    std::memcpy(bytes.data() + offset, &field, std::min(size, sizeof(field)));
    offset += size;
  });
  return bytes;
}

VcpuRegisters from_gdb(const VcpuRegisters& registers, base::Bytes bytes) {
  VcpuRegisters all = registers;
  std::uint16_t tag = 0;
  std::size_t offset = 0;
  for_each(all, tag, [&](auto& field, std::size_t size) {
    std::memcpy(&field, bytes.data() + offset, std::min(size, sizeof(field)));
    offset += size;
  });
  all.fpu.ftwx = abridged_tag(tag);
  return all;
}

}  // namespace pvh::vmm::debug
