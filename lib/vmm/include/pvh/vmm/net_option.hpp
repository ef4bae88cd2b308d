// SPDX-License-Identifier: BSD-2-Clause
// A network card that a machine shall have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pvh/devices/net/forward.hpp>
#include <pvh/devices/net/mac_address.hpp>

namespace pvh::vmm {

struct NetOption {
  std::string tap;  // an interface of the host's; empty: the user network
  std::vector<devices::net::Forward> forwards;  // of the user network
  std::uint64_t bytes_per_second = 0;           // in each direction; 0: no limit
  std::optional<devices::net::MacAddress> mac;  // else one of its own

  friend bool operator==(const NetOption&, const NetOption&) = default;
};

}  // namespace pvh::vmm
