// SPDX-License-Identifier: BSD-2-Clause
// Xen's CPUID leaves, counted from the first one: 0x40000000, or a higher block when another
// interface (Hyper-V's) comes first. Source: xen/include/public/arch-x86/cpuid.h in xen.git.
#pragma once

#include <cstdint>

namespace pvh::abi {

// CPUID.1:ECX: a hypervisor is there. Reserved for this by Intel and AMD.
inline constexpr std::uint32_t kCpuidHypervisorBit = 1u << 31;

inline constexpr std::uint32_t XEN_CPUID_FIRST_LEAF = 0x40000000;
// Where the next block may begin, and where none does any more.
inline constexpr std::uint32_t kCpuidBlockSize = 0x100;
inline constexpr std::uint32_t kCpuidBlocksEnd = 0x40010000;

// "XenVMMXenVMM" in EBX, ECX, EDX of the first leaf; EAX is the last leaf.
inline constexpr std::uint32_t XEN_CPUID_SIGNATURE_EBX = 0x566e6558;
inline constexpr std::uint32_t XEN_CPUID_SIGNATURE_ECX = 0x65584d4d;
inline constexpr std::uint32_t XEN_CPUID_SIGNATURE_EDX = 0x4d4d566e;

// Leaf 1: EAX is major << 16 | minor. Leaf 2: EAX hypercall pages (1), EBX the first MSR.
inline constexpr std::uint32_t kXenCpuidVersion = 1;
inline constexpr std::uint32_t kXenCpuidHypercallPage = 2;
// Leaf 3, subleaf 0: ECX is the guest's TSC frequency in kHz.
inline constexpr std::uint32_t kXenCpuidTime = 3;
// Leaf 4: EAX flags; EBX the vCPU's number and ECX the domain's, where the flags say so.
inline constexpr std::uint32_t kXenCpuidHvm = 4;
inline constexpr std::uint32_t XEN_HVM_CPUID_VCPU_ID_PRESENT = 1u << 3;
inline constexpr std::uint32_t XEN_HVM_CPUID_DOMID_PRESENT = 1u << 4;
// Every Xen has the first two; a toolstack may hide the others.
inline constexpr std::uint32_t kXenCpuidLeastLeaves = 2;

}  // namespace pvh::abi
