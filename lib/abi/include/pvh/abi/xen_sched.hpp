// SPDX-License-Identifier: BSD-2-Clause
// sched_op(command, &argument): a domain gives its processor away, or itself up. Source:
// xen/include/public/sched.h in xen.git.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint32_t SCHEDOP_yield = 0;
inline constexpr std::uint32_t SCHEDOP_block = 1;
inline constexpr std::uint32_t SCHEDOP_shutdown = 2;
inline constexpr std::uint32_t SCHEDOP_poll = 3;

struct sched_shutdown {
  base::Le32 reason;  // SHUTDOWN_*
};

inline constexpr std::uint32_t SHUTDOWN_poweroff = 0;
inline constexpr std::uint32_t SHUTDOWN_reboot = 1;
inline constexpr std::uint32_t SHUTDOWN_suspend = 2;
inline constexpr std::uint32_t SHUTDOWN_crash = 3;
inline constexpr std::uint32_t SHUTDOWN_watchdog = 4;

static_assert(sizeof(sched_shutdown) == 4);
static_assert(offsetof(sched_shutdown, reason) == 0);
static_assert(std::has_unique_object_representations_v<sched_shutdown>);
static_assert(std::is_trivially_copyable_v<sched_shutdown>);

}  // namespace pvh::abi
