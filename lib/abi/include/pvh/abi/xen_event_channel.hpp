// SPDX-License-Identifier: BSD-2-Clause
// event_channel_op(EVTCHNOP_send, &evtchn_send): how the other end of a ring is told. Source:
// xen/include/public/event_channel.h in xen.git.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

inline constexpr std::uint32_t EVTCHNOP_send = 4;

struct evtchn_send {
  base::Le32 port;
};

static_assert(sizeof(evtchn_send) == 4);
static_assert(offsetof(evtchn_send, port) == 0);
static_assert(std::has_unique_object_representations_v<evtchn_send>);
static_assert(std::is_trivially_copyable_v<evtchn_send>);

}  // namespace pvh::abi
