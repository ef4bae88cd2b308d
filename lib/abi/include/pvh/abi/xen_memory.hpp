// SPDX-License-Identifier: BSD-2-Clause
// memory_op(command, &argument): how a guest asks Xen for its memory map, and puts Xen's own pages
// into its memory.
//
// XENMEM_memory_map stores min(nr_entries, what there is) packed e820entry records and answers 0
// even when there were more. A 32-bit guest passes the compat structures. Source:
// xen/include/public/memory.h in xen.git.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint32_t XENMEM_add_to_physmap = 7;
inline constexpr std::uint32_t XENMEM_memory_map = 9;
inline constexpr std::uint32_t XENMEM_remove_from_physmap = 15;

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

struct xen_add_to_physmap {
  base::Le16 domid;  // DOMID_SELF
  base::Le16 size;   // XENMAPSPACE_gmfn_range only
  base::Le32 space;  // XENMAPSPACE_*
  base::Le64 idx;    // which page of the space
  base::Le64 gpfn;   // number of the guest's page where it shall appear
};

struct compat_add_to_physmap {
  base::Le16 domid;
  base::Le16 size;
  base::Le32 space;
  base::Le32 idx;
  base::Le32 gpfn;
};

inline constexpr std::uint32_t XENMAPSPACE_shared_info = 0;
inline constexpr std::uint32_t XENMAPSPACE_grant_table = 1;

struct xen_remove_from_physmap {
  base::Le16 domid;
  base::Le16 pad[3];
  base::Le64 gpfn;
};

struct compat_remove_from_physmap {
  base::Le16 domid;
  base::Le16 pad;
  base::Le32 gpfn;
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

static_assert(sizeof(xen_add_to_physmap) == 24);
static_assert(offsetof(xen_add_to_physmap, domid) == 0);
static_assert(offsetof(xen_add_to_physmap, size) == 2);
static_assert(offsetof(xen_add_to_physmap, space) == 4);
static_assert(offsetof(xen_add_to_physmap, idx) == 8);
static_assert(offsetof(xen_add_to_physmap, gpfn) == 16);
static_assert(std::has_unique_object_representations_v<xen_add_to_physmap>);
static_assert(std::is_trivially_copyable_v<xen_add_to_physmap>);

static_assert(sizeof(compat_add_to_physmap) == 16);
static_assert(offsetof(compat_add_to_physmap, domid) == 0);
static_assert(offsetof(compat_add_to_physmap, size) == 2);
static_assert(offsetof(compat_add_to_physmap, space) == 4);
static_assert(offsetof(compat_add_to_physmap, idx) == 8);
static_assert(offsetof(compat_add_to_physmap, gpfn) == 12);
static_assert(std::has_unique_object_representations_v<compat_add_to_physmap>);
static_assert(std::is_trivially_copyable_v<compat_add_to_physmap>);

static_assert(sizeof(xen_remove_from_physmap) == 16);
static_assert(offsetof(xen_remove_from_physmap, domid) == 0);
static_assert(offsetof(xen_remove_from_physmap, gpfn) == 8);
static_assert(std::has_unique_object_representations_v<xen_remove_from_physmap>);
static_assert(std::is_trivially_copyable_v<xen_remove_from_physmap>);

static_assert(sizeof(compat_remove_from_physmap) == 8);
static_assert(offsetof(compat_remove_from_physmap, domid) == 0);
static_assert(offsetof(compat_remove_from_physmap, gpfn) == 4);
static_assert(std::has_unique_object_representations_v<compat_remove_from_physmap>);
static_assert(std::is_trivially_copyable_v<compat_remove_from_physmap>);

}  // namespace pvh::abi
