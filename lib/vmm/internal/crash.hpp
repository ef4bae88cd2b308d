// SPDX-License-Identifier: BSD-2-Clause
// The words for a guest that cannot go on: where it was, what it was about to run, and why KVM gave
// up.
#pragma once

#include <linux/kvm.h>

#include <span>
#include <string>
#include <vector>

#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/kvm/kvm.hpp>

namespace pvh::vmm::internal {

// General and control registers, four to a line.
[[nodiscard]] std::string format_registers(const kvm_regs& regs, const kvm_sregs& sregs);

// The bytes at CS:RIP, as far as they are mapped and in RAM; at most 15.
[[nodiscard]] std::vector<std::byte> instruction_bytes(const kvm::Vcpu& vcpu,
                                                       const guest_memory::GuestMemory& memory);

[[nodiscard]] std::string describe_triple_fault(const kvm::Vcpu& vcpu,
                                                const guest_memory::GuestMemory& memory);
[[nodiscard]] std::string describe_internal_error(const kvm::Vcpu& vcpu,
                                                  const guest_memory::GuestMemory& memory,
                                                  const kvm::InternalErrorExit& exit);
[[nodiscard]] std::string describe_failed_entry(const kvm::Vcpu& vcpu,
                                                const kvm::EntryFailedExit& exit);

// "vCPU 0 at 0x1000, vCPU 1 at 0xfff0", of vCPUs that nobody runs any more.
[[nodiscard]] std::string describe_positions(std::span<const kvm::Vcpu> vcpus);

// Whether this CPU offers vmx or svm. When it does not, /dev/kvm is a software KVM with gaps.
[[nodiscard]] bool host_has_hardware_virtualization();

}  // namespace pvh::vmm::internal
