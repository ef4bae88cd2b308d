// SPDX-License-Identifier: BSD-2-Clause
// A port of the host's that leads to the guest.
#pragma once

#include <cstdint>
#include <string>

namespace pvh::devices::net {

// Who connects to this port of the host reaches that port of the guest.
struct Forward {
  enum class Protocol : std::uint8_t { kTcp, kUdp };

  Protocol protocol = Protocol::kTcp;
  std::string host;  // the address of the host's that is listened on, IPv4; empty: all of them
  std::uint16_t host_port = 0;
  std::uint16_t guest_port = 0;

  friend bool operator==(const Forward&, const Forward&) = default;
};

}  // namespace pvh::devices::net
