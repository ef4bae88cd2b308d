// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/devices/net/error.hpp>

namespace pvh::devices::net {

base::Explanation explain(NetError code) {
  switch (code) {
    case NetError::kNoPasst:
      return {"a network in user mode needs the program passt, which is not in PATH",
              "apt install passt, or use tap=NAME"};
    case NetError::kPasstFailed:
      return {"passt could not start the network", ""};
    case NetError::kPortNotFree:
      return {"this port of the host cannot be forwarded", "forward another one"};
    case NetError::kNoTun:
      return {"the kernel's TAP device cannot be opened", "modprobe tun?"};
    case NetError::kNoTap:
      return {"there is no such network interface", "ip tuntap add mode tap user $USER NAME"};
    case NetError::kTapNotOurs:
      return {"this TAP interface belongs to another user",
              "ip tuntap add mode tap user $USER NAME"};
    case NetError::kTapBusy:
      return {"this TAP interface is in use", "give each machine its own"};
    case NetError::kTapRefused:
      return {"this network interface cannot be used as a TAP", ""};
    case NetError::kNoResources:
      return {"the host has not what a network needs", ""};
  }
  return {"unknown error", ""};
}

}  // namespace pvh::devices::net
