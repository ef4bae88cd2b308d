// SPDX-License-Identifier: BSD-2-Clause
// A network card that a machine shall have.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <pvh/devices/net/forward.hpp>
#include <pvh/devices/net/mac_address.hpp>

namespace pvh::vmm {

struct NetOption {
  std::string tap;  // an interface of the host's; empty: the user network
  std::vector<devices::net::Forward> forwards;  // of the user network
  std::optional<devices::net::MacAddress> mac;  // else one of its own

  friend bool operator==(const NetOption&, const NetOption&) = default;
};

}  // namespace pvh::vmm
