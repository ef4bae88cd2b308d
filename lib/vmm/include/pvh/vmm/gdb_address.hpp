// SPDX-License-Identifier: BSD-2-Clause
// Where a machine listens for gdb.
#pragma once

#include <cstdint>
#include <string>

namespace pvh::vmm {

// Nobody who reaches it is asked who he is, and he may do anything to the guest.
struct GdbAddress {
  std::string path;                // of a Unix socket; empty: TCP
  std::string host = "127.0.0.1";  // a numeric address, version 4 or 6
  std::uint16_t port = 0;          // 0: one that is free, told by MachineOptions::notice
};

}  // namespace pvh::vmm
