// SPDX-License-Identifier: BSD-2-Clause
// A network that needs no privilege: the program passt turns the guest's connections into sockets
// of the user's on the host, and is the guest's gateway, DHCP server and resolver.
//
// passt is a child process with nothing of ours but its end of a socket, in a sandbox that it
// builds by itself. It ends when we do, however we end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include <pvh/base/fd.hpp>
#include <pvh/devices/net/error.hpp>
#include <pvh/devices/net/forward.hpp>
#include <pvh/devices/net/stream.hpp>

namespace pvh::devices::net {

// What the guest is offered by DHCP, on every host alike: what QEMU's user network has.
inline constexpr const char* kUserAddress = "10.0.2.15";
inline constexpr const char* kUserNetmask = "255.255.255.0";
inline constexpr const char* kUserGateway = "10.0.2.2";  // also the host's loopback
inline constexpr const char* kUserGatewayMac = "52:55:0a:00:02:02";
inline constexpr std::uint16_t kUserMtu = 65520;

// The default routes that the host has.
struct Routes {
  bool ipv4 = false;
  bool ipv6 = false;
};
[[nodiscard]] Routes default_routes();

// After the program's name; the socket is descriptor 3 and standard output hears of its readiness.
[[nodiscard]] std::vector<std::string> passt_arguments(const std::vector<Forward>& forwards,
                                                       Routes routes);

class PasstEnd final : public StreamEnd {
 public:
  struct Options {
    std::vector<Forward> forwards;
    std::string program;    // its path; empty: `passt` in PATH
    int patience = 10'000;  // milliseconds until it must be ready
  };

  // Returns when the network is up, some tenths of a second later. The calling thread must live as
  // long as the process: passt is killed when it ends.
  [[nodiscard]] static std::expected<std::unique_ptr<PasstEnd>, NetFault> start(
      const Options& options);
  ~PasstEnd() override;

  [[nodiscard]] pid_t pid() const { return pid_; }  // -1 when it has ended
  [[nodiscard]] std::string last_words() override;

 private:
  PasstEnd(base::Fd socket, base::Fd words, pid_t pid);
  // How it ended, and what it said.
  [[nodiscard]] std::string reap();

  base::Fd words_;  // its standard error
  pid_t pid_ = -1;
};

}  // namespace pvh::devices::net
