// SPDX-License-Identifier: BSD-2-Clause
// shared_info, the page through which Xen tells a domain of time and events. Only its size and
// where its parts begin: whoever takes events describes the rest. The layout is that of the mode in
// which HVM_PARAM_CALLBACK_IRQ was set. Source: xen/include/public/xen.h in xen.git.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pvh::abi {

// vcpu_info: one for each of the first 32 vCPUs, at the page's beginning. Others register their own
// with VCPUOP_register_vcpu_info.
inline constexpr std::size_t kVcpuInfoSize = 64;
inline constexpr std::uint32_t XEN_LEGACY_MAX_VCPUS = 32;

// evtchn_pending, evtchn_mask (one bit a channel), and the wall clock's version.
inline constexpr std::size_t kSharedInfoPending = 2048;
inline constexpr std::size_t kSharedInfoMask64 = 2560;
inline constexpr std::size_t kSharedInfoWallClock64 = 3072;
inline constexpr std::size_t kSharedInfoSize64 = 3136;
inline constexpr std::size_t kSharedInfoMask32 = 2176;
inline constexpr std::size_t kSharedInfoWallClock32 = 2304;
inline constexpr std::size_t kSharedInfoSize32 = 2344;

static_assert(kSharedInfoPending == XEN_LEGACY_MAX_VCPUS * kVcpuInfoSize);
// 64 words of 64 bits are 4096 channels, 32 of 32 are 1024.
static_assert(kSharedInfoMask64 == kSharedInfoPending + std::size_t{64} * 64 / 8);
static_assert(kSharedInfoWallClock64 == kSharedInfoMask64 + std::size_t{64} * 64 / 8);
static_assert(kSharedInfoMask32 == kSharedInfoPending + std::size_t{32} * 32 / 8);
static_assert(kSharedInfoWallClock32 == kSharedInfoMask32 + std::size_t{32} * 32 / 8);
static_assert(kSharedInfoSize64 <= 4096);

}  // namespace pvh::abi
