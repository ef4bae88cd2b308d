// SPDX-License-Identifier: BSD-2-Clause
// Why a network could not be had.
#pragma once

#include <cstdint>
#include <expected>

#include <pvh/base/fault.hpp>

namespace pvh::devices::net {

enum class NetError : std::uint8_t {
  kNoPasst,      // the program is not there
  kPasstFailed,  // it ended before the network was up; the detail is what it said
  kPortNotFree,  // a port of the host that shall be forwarded cannot be had
  kNoTun,        // /dev/net/tun cannot be opened
  kNoTap,        // there is no network interface of that name
  kTapNotOurs,   // it belongs to another user
  kTapBusy,      // it is in use
  kTapRefused,   // it is no TAP, or the kernel refuses otherwise
  kNoResources   // the host has no descriptor, process or memory left
};

[[nodiscard]] base::Explanation explain(NetError code);
using NetFault = base::Fault<NetError>;

}  // namespace pvh::devices::net
