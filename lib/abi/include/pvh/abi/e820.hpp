// SPDX-License-Identifier: BSD-2-Clause
// The BIOS memory map entry: INT 15h AX=E820h, "SMAP" in the BSDs, and what XENMEM_memory_map
// stores. Packed: 20 bytes, not the 24 of hvm_memmap_table_entry. Source: ACPI 6.5 section 15.1 and
// table 15.5; xen/arch/x86/include/asm/e820.h in xen.git.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/abi/start_info.hpp>
#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

struct e820entry {
  base::Le64 addr;
  base::Le64 size;
  base::Le32 type;
};

// "SMAP", the signature of the INT 15h call.
inline constexpr std::uint32_t SMAP_SIG = 0x534d4150;

inline constexpr std::uint32_t SMAP_TYPE_MEMORY = 1;
inline constexpr std::uint32_t SMAP_TYPE_RESERVED = 2;
inline constexpr std::uint32_t SMAP_TYPE_ACPI_RECLAIM = 3;
inline constexpr std::uint32_t SMAP_TYPE_ACPI_NVS = 4;
inline constexpr std::uint32_t SMAP_TYPE_ACPI_ERROR = 5;
inline constexpr std::uint32_t SMAP_TYPE_DISABLED = 6;
inline constexpr std::uint32_t SMAP_TYPE_PMEM = 7;

static_assert(sizeof(e820entry) == 20);
static_assert(offsetof(e820entry, addr) == 0);
static_assert(offsetof(e820entry, size) == 8);
static_assert(offsetof(e820entry, type) == 16);
static_assert(std::has_unique_object_representations_v<e820entry>);
static_assert(std::is_trivially_copyable_v<e820entry>);

// The type numbers are equal, so an entry of one table is an entry of the other; memory_map relies
// on it.
static_assert(SMAP_TYPE_MEMORY == XEN_HVM_MEMMAP_TYPE_RAM);
static_assert(SMAP_TYPE_RESERVED == XEN_HVM_MEMMAP_TYPE_RESERVED);
static_assert(SMAP_TYPE_ACPI_RECLAIM == XEN_HVM_MEMMAP_TYPE_ACPI);
static_assert(SMAP_TYPE_ACPI_NVS == XEN_HVM_MEMMAP_TYPE_NVS);
static_assert(SMAP_TYPE_ACPI_ERROR == XEN_HVM_MEMMAP_TYPE_UNUSABLE);
static_assert(SMAP_TYPE_DISABLED == XEN_HVM_MEMMAP_TYPE_DISABLED);
static_assert(SMAP_TYPE_PMEM == XEN_HVM_MEMMAP_TYPE_PMEM);

}  // namespace pvh::abi
