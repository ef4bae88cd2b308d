// SPDX-License-Identifier: BSD-2-Clause
// A hostile driver and a hostile passt at once: chains, frames and nonsense from the socket, resets
// in between. Nothing may crash, hang or touch other memory.
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include <pvh/base/fd.hpp>
#include <pvh/devices/net/stream.hpp>
#include <pvh/devices/virtio/net.hpp>

#include "lib/devices/testing/hostile_driver.hpp"

namespace devices = pvh::devices;
namespace base = pvh::base;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::array<int, 2> sockets{};
  const auto loop = devices::EventLoop::create();
  if (!loop || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    std::abort();
  }
  base::Fd passt(sockets[1]);
  const auto net = devices::virtio::Net::create(
      {.loop = *loop,
       .end = std::make_unique<devices::net::StreamEnd>(base::Fd(sockets[0])),
       .mac = {{2, 0, 0, 0, 0, 1}},
       .mtu = 1500,
       .limits = {},
       .complain = [](const std::string&) {}});
  devices::testing::HostileDriver driver(*loop, *net, 2);
  driver.play(std::as_bytes(std::span(data, size)),
              [&](unsigned what, std::uint64_t /*place*/, base::Bytes bytes) {
                if (what == 31) {
                  passt.reset();
                } else if (what % 4 != 0) {
                  static_cast<void>(
                      ::send(passt.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
                } else {
                  std::array<std::byte, 4096> heard;
                  static_cast<void>(::recv(passt.get(), heard.data(), heard.size(), MSG_DONTWAIT));
                }
              });
  return 0;
}
