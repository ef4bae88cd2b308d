// SPDX-License-Identifier: BSD-2-Clause
// What CPUID tells one vCPU: KVM's offer, made into one package of `cpus` single-threaded cores,
// with the hypervisor bit, the clock frequencies that a guest would otherwise have to measure, and
// without what PVH kernels mishandle.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace pvh::vmm {

// KVM's leaf: "KVMKVMKVM", and the largest leaf of its range. [Documentation/virt/kvm/x86/cpuid.rst
// in linux.git]
inline constexpr std::uint32_t kKvmSignature = 0x40000000;

struct CpuidInput {
  unsigned cpus;
  unsigned apic_id;       // of this vCPU
  std::uint32_t tsc_khz;  // 0: unknown, no leaf 40000010h
  // Leaves 15h (TSC and crystal) and 16h (processor) of the host, which KVM leaves out of its
  // offer.
  std::optional<kvm_cpuid_entry2> host_leaf_15;
  std::optional<kvm_cpuid_entry2> host_leaf_16;
};

// Leaf `function` of the CPU that this runs on, when it has that leaf and it is not blank.
[[nodiscard]] std::optional<kvm_cpuid_entry2> host_leaf(std::uint32_t function);

// Pure; linear in the offer.
[[nodiscard]] std::vector<kvm_cpuid_entry2> guest_cpuid(std::span<const kvm_cpuid_entry2> offer,
                                                        const CpuidInput& input);

}  // namespace pvh::vmm
