// SPDX-License-Identifier: BSD-2-Clause
// A hostile driver and a hostile passt at once: queues in memory that the input wrote, frames and
// nonsense from the socket, resets in between. Nothing may crash, hang or touch other memory.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <pvh/abi/virtio.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/devices/net/stream.hpp>
#include <pvh/devices/virtio/mmio.hpp>
#include <pvh/devices/virtio/net.hpp>

namespace {

namespace abi = pvh::abi;
namespace base = pvh::base;
namespace devices = pvh::devices;
namespace virtio = pvh::devices::virtio;

constexpr std::uint64_t kMemory = 0x8000;
constexpr std::uint32_t kEntries = 8;

void write(virtio::MmioTransport& transport, std::uint64_t offset, std::uint32_t value) {
  static_cast<void>(transport.write(offset, base::to_bytes(base::Le32(value))));
}

// The rings lie in the first bytes of memory, one queue after the other.
void start(virtio::MmioTransport& transport, std::uint32_t features) {
  for (const std::uint32_t status : {0u, 1u, 3u}) {
    write(transport, abi::VIRTIO_MMIO_STATUS, status);
  }
  write(transport, abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
  write(transport, abi::VIRTIO_MMIO_DRIVER_FEATURES, 1);
  write(transport, abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
  write(transport, abi::VIRTIO_MMIO_DRIVER_FEATURES, features);
  write(transport, abi::VIRTIO_MMIO_STATUS, 11);
  for (std::uint32_t queue = 0; queue < 2; ++queue) {
    const std::uint32_t at = queue * 0x200;
    write(transport, abi::VIRTIO_MMIO_QUEUE_SEL, queue);
    write(transport, abi::VIRTIO_MMIO_QUEUE_NUM, kEntries);
    write(transport, abi::VIRTIO_MMIO_QUEUE_DESC_LOW, at);
    write(transport, abi::VIRTIO_MMIO_QUEUE_DRIVER_LOW, at + 0x80);
    write(transport, abi::VIRTIO_MMIO_QUEUE_DEVICE_LOW, at + 0x100);
    write(transport, abi::VIRTIO_MMIO_QUEUE_READY, 1);
  }
  write(transport, abi::VIRTIO_MMIO_STATUS, 15);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::array<int, 2> sockets{};
  const auto loop = devices::EventLoop::create();
  auto memory = pvh::guest_memory::GuestMemory::create(
      std::vector{*base::Range::from_size(base::PhysAddr(0), base::ByteSize(kMemory))});
  if (!loop || !memory ||
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    std::abort();
  }
  base::Fd passt(sockets[1]);
  const auto net =
      virtio::Net::create({.loop = *loop,
                           .end = std::make_unique<devices::net::StreamEnd>(base::Fd(sockets[0])),
                           .mac = {{2, 0, 0, 0, 0, 1}},
                           .mtu = 1500,
                           .limits = {},
                           .complain = [](const std::string&) {}});
  const auto transport = virtio::MmioTransport::create({.backend = *net,
                                                        .loop = *loop,
                                                        .memory = *memory,
                                                        .connect = [] { return true; },
                                                        .complain = [](const std::string&) {}});

  // Each step is a byte that says what, another for how many bytes follow, and those.
  auto rest = std::as_bytes(std::span(data, size));
  while (rest.size() >= 4) {
    const auto what = std::to_integer<unsigned>(rest[0]);
    const auto count = std::min(std::to_integer<std::size_t>(rest[1]), rest.size() - 4);
    const auto place =
        std::to_integer<std::uint64_t>(rest[2]) << 2 | std::to_integer<std::uint64_t>(rest[3]) << 8;
    const base::Bytes bytes = rest.subspan(4, count);
    rest = rest.subspan(4 + count);
    switch (what % 8) {
      case 0:
        start(*transport, static_cast<std::uint32_t>(place << 8));
        break;
      case 1:
      case 2:
      case 3:
        static_cast<void>(memory->write(base::PhysAddr(place), bytes));
        break;
      case 4:
      case 5:
        static_cast<void>(::send(passt.get(), bytes.data(), count, MSG_DONTWAIT | MSG_NOSIGNAL));
        break;
      case 6:
        write(*transport, abi::VIRTIO_MMIO_QUEUE_NOTIFY, what >> 3 & 1);
        break;
      default:
        if (what >> 3 == 31) {
          passt.reset();
        } else {
          std::array<std::byte, 4096> heard;
          static_cast<void>(::recv(passt.get(), heard.data(), heard.size(), MSG_DONTWAIT));
        }
        break;
    }
    for (int turn = 0; turn < 3; ++turn) {
      loop->run_once(0);
    }
  }
  return 0;
}
