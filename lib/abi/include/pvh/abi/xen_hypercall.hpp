// SPDX-License-Identifier: BSD-2-Clause
// What all of Xen's hypercalls share: their numbers, who a domain is to itself, errors, and the
// sub-commands of the two calls that have no structures. A hypercall has its number in RAX (EAX)
// and up to five arguments in RDI, RSI, RDX, R10, R8 (EBX, ECX, EDX, ESI, EDI); pointers among them
// are linear addresses. Source: xen/include/public/{xen,errno,version,features}.h and
// arch-x86/xen-x86_{32,64}.h in xen.git.
#pragma once

#include <cstdint>

namespace pvh::abi {

// NOLINTBEGIN(bugprone-reserved-identifier): Xen's own spelling.
inline constexpr std::uint32_t __HYPERVISOR_memory_op = 12;
inline constexpr std::uint32_t __HYPERVISOR_xen_version = 17;
inline constexpr std::uint32_t __HYPERVISOR_console_io = 18;
inline constexpr std::uint32_t __HYPERVISOR_vcpu_op = 24;
inline constexpr std::uint32_t __HYPERVISOR_sched_op = 29;
inline constexpr std::uint32_t __HYPERVISOR_event_channel_op = 32;
inline constexpr std::uint32_t __HYPERVISOR_hvm_op = 34;
// NOLINTEND(bugprone-reserved-identifier)

// The hypercall page: as many stubs, each of as many bytes.
inline constexpr std::uint32_t kHypercallPageStubs = 128;
inline constexpr std::uint32_t kHypercallPageStubSize = 32;

inline constexpr std::uint16_t DOMID_SELF = 0x7ff0;

// Errors come back negative, none below -kLargestErrno.
inline constexpr std::uint32_t kLargestErrno = 4095;
inline constexpr std::uint32_t XEN_EPERM = 1;
inline constexpr std::uint32_t XEN_ENOENT = 2;
inline constexpr std::uint32_t XEN_EFAULT = 14;
inline constexpr std::uint32_t XEN_EBUSY = 16;
inline constexpr std::uint32_t XEN_EEXIST = 17;
inline constexpr std::uint32_t XEN_EINVAL = 22;
inline constexpr std::uint32_t XEN_ENOSYS = 38;

// console_io(CONSOLEIO_write, length, text)
inline constexpr std::uint32_t CONSOLEIO_write = 0;
inline constexpr std::uint32_t CONSOLEIO_read = 1;

// xen_version(XENVER_version, 0) answers major << 16 | minor.
inline constexpr std::uint32_t XENVER_version = 0;
inline constexpr std::uint32_t XENVER_get_features = 6;

// Bits of XENVER_get_features' first word.
inline constexpr std::uint32_t XENFEAT_auto_translated_physmap = 2;
inline constexpr std::uint32_t XENFEAT_hvm_callback_vector = 8;
inline constexpr std::uint32_t XENFEAT_hvm_safe_pvclock = 9;
inline constexpr std::uint32_t XENFEAT_dom0 = 11;

}  // namespace pvh::abi
