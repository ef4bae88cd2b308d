// SPDX-License-Identifier: BSD-2-Clause
// The PVH boot structures, in the spelling of Xen's public headers.
// Source: xen/include/public/arch-x86/hvm/start_info.h and docs/misc/pvh.pandoc in xen.git.
//
//   EBX -> hvm_start_info -+-> cmdline_paddr   NUL-terminated string
//                          +-> modlist_paddr   nr_modules x hvm_modlist_entry --> payload, command
//                          line
//                          +-> rsdp_paddr      ACPI root pointer
//                          +-> memmap_paddr    memmap_entries x hvm_memmap_table_entry   (version 1
//                          only)
//
// Everything is little-endian and laid out alike for 32- and 64-bit guests. An address of 0 means
// "absent". Version 0 ends before memmap_paddr: what follows it in memory is not part of the
// structure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint32_t XEN_HVM_START_MAGIC_VALUE = 0x336ec578;

inline constexpr std::size_t kStartInfoSizeV0 = 40;
inline constexpr std::size_t kStartInfoSizeV1 = 56;

struct hvm_start_info {
  base::Le32 magic;          // XEN_HVM_START_MAGIC_VALUE
  base::Le32 version;        // 0 or 1
  base::Le32 flags;          // SIF_*
  base::Le32 nr_modules;     // how many entries modlist_paddr points at
  base::Le64 modlist_paddr;  // array of hvm_modlist_entry
  base::Le64 cmdline_paddr;
  base::Le64 rsdp_paddr;
  // From here on version 1.
  base::Le64 memmap_paddr;    // array of hvm_memmap_table_entry
  base::Le32 memmap_entries;  // may be 0 even in version 1
  base::Le32 reserved;        // written as 0, ignored by readers
};

struct hvm_modlist_entry {
  base::Le64 paddr;
  base::Le64 size;
  base::Le64 cmdline_paddr;
  base::Le64 reserved;
};

struct hvm_memmap_table_entry {
  base::Le64 addr;
  base::Le64 size;
  base::Le32 type;      // XEN_HVM_MEMMAP_TYPE_*
  base::Le32 reserved;  // written as 0, ignored by readers
};

inline constexpr std::uint32_t XEN_HVM_MEMMAP_TYPE_RAM = 1;
inline constexpr std::uint32_t XEN_HVM_MEMMAP_TYPE_RESERVED = 2;
inline constexpr std::uint32_t XEN_HVM_MEMMAP_TYPE_ACPI = 3;
inline constexpr std::uint32_t XEN_HVM_MEMMAP_TYPE_NVS = 4;
inline constexpr std::uint32_t XEN_HVM_MEMMAP_TYPE_UNUSABLE = 5;
inline constexpr std::uint32_t XEN_HVM_MEMMAP_TYPE_DISABLED = 6;
inline constexpr std::uint32_t XEN_HVM_MEMMAP_TYPE_PMEM = 7;

// hvm_start_info.flags. Source: xen/include/public/xen.h.
inline constexpr std::uint32_t SIF_PRIVILEGED = 1u << 0;
inline constexpr std::uint32_t SIF_INITDOMAIN = 1u << 1;
inline constexpr std::uint32_t SIF_MULTIBOOT_MOD = 1u << 2;
inline constexpr std::uint32_t SIF_MOD_START_PFN = 1u << 3;
inline constexpr std::uint32_t SIF_VIRT_P2M_4TOOLS = 1u << 4;
inline constexpr std::uint32_t SIF_PM_MASK = 0xffu << 8;

static_assert(sizeof(hvm_start_info) == kStartInfoSizeV1);
static_assert(offsetof(hvm_start_info, magic) == 0);
static_assert(offsetof(hvm_start_info, version) == 4);
static_assert(offsetof(hvm_start_info, flags) == 8);
static_assert(offsetof(hvm_start_info, nr_modules) == 12);
static_assert(offsetof(hvm_start_info, modlist_paddr) == 16);
static_assert(offsetof(hvm_start_info, cmdline_paddr) == 24);
static_assert(offsetof(hvm_start_info, rsdp_paddr) == 32);
static_assert(offsetof(hvm_start_info, memmap_paddr) == kStartInfoSizeV0);
static_assert(offsetof(hvm_start_info, memmap_entries) == 48);
static_assert(offsetof(hvm_start_info, reserved) == 52);
static_assert(std::has_unique_object_representations_v<hvm_start_info>);
static_assert(std::is_trivially_copyable_v<hvm_start_info>);

static_assert(sizeof(hvm_modlist_entry) == 32);
static_assert(offsetof(hvm_modlist_entry, paddr) == 0);
static_assert(offsetof(hvm_modlist_entry, size) == 8);
static_assert(offsetof(hvm_modlist_entry, cmdline_paddr) == 16);
static_assert(offsetof(hvm_modlist_entry, reserved) == 24);
static_assert(std::has_unique_object_representations_v<hvm_modlist_entry>);
static_assert(std::is_trivially_copyable_v<hvm_modlist_entry>);

static_assert(sizeof(hvm_memmap_table_entry) == 24);
static_assert(offsetof(hvm_memmap_table_entry, addr) == 0);
static_assert(offsetof(hvm_memmap_table_entry, size) == 8);
static_assert(offsetof(hvm_memmap_table_entry, type) == 16);
static_assert(offsetof(hvm_memmap_table_entry, reserved) == 20);
static_assert(std::has_unique_object_representations_v<hvm_memmap_table_entry>);
static_assert(std::is_trivially_copyable_v<hvm_memmap_table_entry>);

}  // namespace pvh::abi
