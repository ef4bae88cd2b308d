// SPDX-License-Identifier: BSD-2-Clause
#include "internal/crash.hpp"

#include <cpuid.h>

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pvh::vmm::internal {
namespace {

constexpr std::size_t kLongestInstruction = 15;

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    fmt::format_to(std::back_inserter(text), "{}{:02x}", text.empty() ? "" : " ",
                   std::to_integer<unsigned>(byte));
  }
  return text.empty() ? "unreadable" : text;
}

std::string registers_of(const kvm::Vcpu& vcpu) {
  const auto regs = vcpu.get_regs();
  const auto sregs = vcpu.get_sregs();
  return regs && sregs ? format_registers(*regs, *sregs) : "  registers cannot be read\n";
}

std::string where(const kvm::Vcpu& vcpu) {
  const auto regs = vcpu.get_regs();
  return regs ? fmt::format("{:#x}", regs->rip) : "an unknown address";
}

std::string_view suberror_name(std::uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "KVM cannot emulate an instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "an exception came while another was being delivered";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "KVM failed while delivering an interrupt or exception";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "the processor left the guest for a reason that KVM does not know";
    default:
      return "KVM reports an internal error";
  }
}

}  // namespace

std::string format_registers(const kvm_regs& regs, const kvm_sregs& sregs) {
  return fmt::format(
      "  rip {:016x} rflags {:08x} cs {:04x} ss {:04x}\n"
      "  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n"
      "  rsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}\n"
      "  r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}\n"
      "  r12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}\n"
      "  cr0 {:08x} cr2 {:016x} cr3 {:016x} cr4 {:08x} efer {:04x}\n"
      "  gdt {:016x}/{:04x} idt {:016x}/{:04x}\n",
      regs.rip, regs.rflags, sregs.cs.selector, sregs.ss.selector, regs.rax, regs.rbx, regs.rcx,
      regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.rsp, regs.r8, regs.r9, regs.r10, regs.r11,
      regs.r12, regs.r13, regs.r14, regs.r15, sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4,
      sregs.efer, sregs.gdt.base, sregs.gdt.limit, sregs.idt.base, sregs.idt.limit);
}

std::vector<std::byte> instruction_bytes(const kvm::Vcpu& vcpu,
                                         const guest_memory::GuestMemory& memory) {
  const auto regs = vcpu.get_regs();
  const auto sregs = vcpu.get_sregs();
  std::vector<std::byte> bytes;
  if (!regs || !sregs) {
    return bytes;
  }
  // Byte by byte: the next page may be unmapped, or map somewhere else.
  for (std::size_t i = 0; i < kLongestInstruction; ++i) {
    const auto place = vcpu.translate(sregs->cs.base + regs->rip + i);
    std::array<std::byte, 1> byte{};
    if (!place || place->valid == 0 ||
        !memory.read(base::PhysAddr(place->physical_address), byte)) {
      break;
    }
    bytes.push_back(byte[0]);
  }
  return bytes;
}

std::string describe_triple_fault(const kvm::Vcpu& vcpu, const guest_memory::GuestMemory& memory) {
  return fmt::format("the guest crashed: a triple fault on vCPU {} at {}, instruction bytes {}\n{}",
                     vcpu.id(), where(vcpu), hex(instruction_bytes(vcpu, memory)),
                     registers_of(vcpu));
}

std::string describe_internal_error(const kvm::Vcpu& vcpu, const guest_memory::GuestMemory& memory,
                                    const kvm::InternalErrorExit& exit) {
  const auto bytes = exit.instruction.empty() ? instruction_bytes(vcpu, memory) : exit.instruction;
  std::string text =
      fmt::format("{} (suberror {}) on vCPU {} at {}, instruction bytes {}",
                  suberror_name(exit.suberror), exit.suberror, vcpu.id(), where(vcpu), hex(bytes));
  if (!host_has_hardware_virtualization()) {
    text +=
        "; this host's CPU has neither vmx nor svm, so its KVM is a software one that lacks many "
        "instructions: run the "
        "guest with `pvh lab -- pvh run ...`";
  }
  return text + "\n" + registers_of(vcpu);
}

std::string describe_failed_entry(const kvm::Vcpu& vcpu, const kvm::EntryFailedExit& exit) {
  return fmt::format(
      "the processor refused to enter the guest on vCPU {} at {}, hardware reason {:#x}\n{}",
      vcpu.id(), where(vcpu), exit.hardware_reason, registers_of(vcpu));
}

std::string describe_positions(std::span<const kvm::Vcpu> vcpus) {
  std::string text;
  for (const kvm::Vcpu& vcpu : vcpus) {
    fmt::format_to(std::back_inserter(text), "{}vCPU {} at {}", text.empty() ? "" : ", ", vcpu.id(),
                   where(vcpu));
  }
  return text;
}

bool host_has_hardware_virtualization() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  const bool vmx = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & 1u << 5) != 0;
  const bool svm = __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx & 1u << 2) != 0;
  return vmx || svm;
}

}  // namespace pvh::vmm::internal
