// SPDX-License-Identifier: BSD-2-Clause
// hvm_op(HVMOP_get_param or HVMOP_set_param, &xen_hvm_param): numbers that a domain and its
// toolstack share. Source: xen/include/public/hvm/{hvm_op,params}.h in xen.git.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint32_t HVMOP_set_param = 0;
inline constexpr std::uint32_t HVMOP_get_param = 1;

// Alike for 32- and 64-bit guests.
struct xen_hvm_param {
  base::Le16 domid;  // DOMID_SELF
  base::Le16 pad;
  base::Le32 index;  // HVM_PARAM_*
  base::Le64 value;
};

// How events reach the domain: bits 56-63 the kind (0: an interrupt line), the rest its number; all
// 0 is "not at all". Setting it latches the layout of shared_info to the caller's mode.
inline constexpr std::uint32_t HVM_PARAM_CALLBACK_IRQ = 0;
inline constexpr std::uint32_t HVM_PARAM_STORE_PFN = 1;
inline constexpr std::uint32_t HVM_PARAM_STORE_EVTCHN = 2;
inline constexpr std::uint32_t HVM_PARAM_CONSOLE_PFN = 17;
inline constexpr std::uint32_t HVM_PARAM_CONSOLE_EVTCHN = 18;
inline constexpr std::uint32_t HVM_NR_PARAMS = 39;

static_assert(sizeof(xen_hvm_param) == 16);
static_assert(offsetof(xen_hvm_param, domid) == 0);
static_assert(offsetof(xen_hvm_param, index) == 4);
static_assert(offsetof(xen_hvm_param, value) == 8);
static_assert(std::has_unique_object_representations_v<xen_hvm_param>);
static_assert(std::is_trivially_copyable_v<xen_hvm_param>);

}  // namespace pvh::abi
