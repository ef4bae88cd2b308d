// SPDX-License-Identifier: BSD-2-Clause
// How a guest asks Xen for its memory map: hypercall memory_op(XENMEM_memory_map, &xen_memory_map).
// Xen stores min(nr_entries, what there is) packed e820entry records and answers 0 even when there
// were more. Source: xen/include/public/memory.h in xen.git.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint32_t __HYPERVISOR_memory_op = 12;
inline constexpr std::uint32_t XENMEM_memory_map = 9;

// As a 64-bit guest passes it.
struct xen_memory_map {
  base::Le32 nr_entries;  // in: capacity of the buffer; out: entries stored
  base::Le32 pad;
  base::Le64 buffer;  // guest linear address
};

// As a 32-bit guest passes it.
struct compat_memory_map {
  base::Le32 nr_entries;
  base::Le32 buffer;
};

static_assert(sizeof(xen_memory_map) == 16);
static_assert(offsetof(xen_memory_map, nr_entries) == 0);
static_assert(offsetof(xen_memory_map, buffer) == 8);
static_assert(std::has_unique_object_representations_v<xen_memory_map>);
static_assert(std::is_trivially_copyable_v<xen_memory_map>);
static_assert(sizeof(compat_memory_map) == 8);
static_assert(offsetof(compat_memory_map, nr_entries) == 0);
static_assert(offsetof(compat_memory_map, buffer) == 4);
static_assert(std::has_unique_object_representations_v<compat_memory_map>);
static_assert(std::is_trivially_copyable_v<compat_memory_map>);

}  // namespace pvh::abi
