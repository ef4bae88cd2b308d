// SPDX-License-Identifier: BSD-2-Clause
// The ELF notes by which a kernel tells Xen, and every PVH loader, how it is to be started. Owner
// "Xen". Source: xen/include/public/elfnote.h in xen.git.
#pragma once

#include <cstdint>
#include <string_view>

namespace pvh::abi {

inline constexpr std::string_view kXenNoteOwner{"Xen\0", 4};  // n_namesz counts the NUL

inline constexpr std::uint32_t XEN_ELFNOTE_INFO = 0;
inline constexpr std::uint32_t XEN_ELFNOTE_ENTRY = 1;
inline constexpr std::uint32_t XEN_ELFNOTE_HYPERCALL_PAGE = 2;
inline constexpr std::uint32_t XEN_ELFNOTE_VIRT_BASE = 3;
inline constexpr std::uint32_t XEN_ELFNOTE_PADDR_OFFSET = 4;
inline constexpr std::uint32_t XEN_ELFNOTE_XEN_VERSION = 5;
inline constexpr std::uint32_t XEN_ELFNOTE_GUEST_OS = 6;
inline constexpr std::uint32_t XEN_ELFNOTE_GUEST_VERSION = 7;
inline constexpr std::uint32_t XEN_ELFNOTE_LOADER = 8;
inline constexpr std::uint32_t XEN_ELFNOTE_PAE_MODE = 9;
inline constexpr std::uint32_t XEN_ELFNOTE_FEATURES = 10;
inline constexpr std::uint32_t XEN_ELFNOTE_BSD_SYMTAB = 11;
inline constexpr std::uint32_t XEN_ELFNOTE_HV_START_LOW = 12;
inline constexpr std::uint32_t XEN_ELFNOTE_L1_MFN_VALID = 13;
inline constexpr std::uint32_t XEN_ELFNOTE_SUSPEND_CANCEL = 14;
inline constexpr std::uint32_t XEN_ELFNOTE_INIT_P2M = 15;
inline constexpr std::uint32_t XEN_ELFNOTE_MOD_START_PFN = 16;
inline constexpr std::uint32_t XEN_ELFNOTE_SUPPORTED_FEATURES = 17;
// The 32-bit physical entry point: what makes a kernel a PVH kernel.
inline constexpr std::uint32_t XEN_ELFNOTE_PHYS32_ENTRY = 18;
// Up to three u32: alignment, lowest address, highest address of the last byte; the image may be
// moved in between.
inline constexpr std::uint32_t XEN_ELFNOTE_PHYS32_RELOC = 19;

}  // namespace pvh::abi
