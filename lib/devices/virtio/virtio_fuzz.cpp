// SPDX-License-Identifier: BSD-2-Clause
// A hostile driver of the smaller devices and of the transport: the first byte says which. Nothing
// may crash, hang or touch other memory.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include <pvh/base/fd.hpp>
#include <pvh/devices/virtio/balloon.hpp>
#include <pvh/devices/virtio/console.hpp>
#include <pvh/devices/virtio/rng.hpp>

#include "lib/devices/testing/hostile_driver.hpp"

namespace base = pvh::base;
namespace devices = pvh::devices;
namespace virtio = pvh::devices::virtio;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const auto loop = devices::EventLoop::create();
  std::array<int, 2> sockets{};
  if (!loop || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    std::abort();
  }
  base::Fd user(sockets[1]);
  base::Fd ours(sockets[0]);
  virtio::Rng rng;
  virtio::Balloon balloon;
  const auto console = virtio::Console::create({.loop = *loop,
                                                .input = base::Fd(::dup(ours.get())),
                                                .output = base::Fd(::dup(ours.get())),
                                                .filter = {},
                                                .size = virtio::Console::Size{80, 25},
                                                .output_lost = [](int) {}});
  const std::array<virtio::Backend*, 3> all{&rng, &balloon, console.get()};
  virtio::Backend& backend = *all[data[0] % all.size()];
  devices::testing::HostileDriver driver(*loop, backend,
                                         static_cast<std::uint32_t>(backend.queue_sizes().size()));
  driver.play(std::as_bytes(std::span(data, size)).subspan(1),
              [&](unsigned what, std::uint64_t place, base::Bytes bytes) {
                if (what == 31) {
                  user.reset();
                  ours.reset();
                } else if (what % 3 == 0) {
                  balloon.set_target(base::ByteSize(place << 12));
                  console->set_size({static_cast<std::uint16_t>(place), 25});
                } else if (what % 3 == 1) {
                  static_cast<void>(
                      ::send(user.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
                } else {
                  std::array<std::byte, 4096> heard;
                  static_cast<void>(::recv(user.get(), heard.data(), heard.size(), MSG_DONTWAIT));
                }
              });
  return 0;
}
