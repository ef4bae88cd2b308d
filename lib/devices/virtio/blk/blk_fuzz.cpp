// SPDX-License-Identifier: BSD-2-Clause
// A hostile driver: any bytes as descriptors, rings and requests, changed while requests are under
// way. What must hold: no operation reaches outside the disk, and the file keeps its size.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <lib/devices/testing/fake_io.hpp>
#include <span>
#include <string>

#include <pvh/devices/virtio/blk.hpp>

namespace {

namespace devices = pvh::devices;
namespace virtio = pvh::devices::virtio;
using pvh::base::ByteSize;
using pvh::base::PhysAddr;
using pvh::guest_memory::GuestMemory;

constexpr std::uint64_t kMemory = 0x100000;
constexpr std::uint64_t kMemorySize = 0x10000;
constexpr std::uint64_t kDiskSize = 0x8000;
constexpr std::uint16_t kQueueSize = 8;
constexpr virtio::QueueSetup kSetup{.size = kQueueSize,
                                    .descriptors = PhysAddr(kMemory),
                                    .driver_area = PhysAddr(kMemory + 0x80),
                                    .device_area = PhysAddr(kMemory + 0xc0),
                                    .event_index = false,
                                    .indirect = true};

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

struct Ears final : virtio::DriverSide {
  void used_buffers() override {}
  void config_changed() override {}
  void notify_again(std::size_t /*queue*/) override {}
  void broken(const virtio::QueueFault& /*fault*/) override {}
};

std::string path_of(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) {
    return 0;
  }
  const pvh::base::Fd file(::memfd_create("disk", MFD_CLOEXEC));
  require(::ftruncate(file.get(), kDiskSize) == 0);
  const auto loop = devices::EventLoop::create();
  auto memory = *GuestMemory::create(
      std::vector{*pvh::base::Range::from_size(PhysAddr(kMemory), ByteSize(kMemorySize))});
  const unsigned way = data[0];
  auto disk = virtio::Disk::open({.path = path_of(file.get()),
                                  .read_only = (way & 1) != 0,
                                  .snapshot = (way & 2) != 0,
                                  .overlay_folder = "/dev/shm"});
  require(disk.has_value());
  auto made_io = std::make_unique<devices::testing::FakeIo>(*loop);
  devices::testing::FakeIo& io = *made_io;
  io.hook = [way](devices::FileOperation& operation) -> std::optional<std::int64_t> {
    require(operation.offset <= kDiskSize && operation.size <= kDiskSize - operation.offset);
    std::uint64_t bytes = 0;
    for (const iovec& buffer : operation.buffers) {
      bytes += buffer.iov_len;
    }
    require(operation.buffers.empty() || bytes == operation.size);
    // An error now and then.
    return (way & 4) != 0 && operation.offset / 512 % 5 == 4 ? std::optional<std::int64_t>(-EIO)
                                                             : std::nullopt;
  };
  Ears ears;
  const auto blk = virtio::Blk::create({.loop = *loop,
                                        .disk = std::move(*disk),
                                        .io = std::move(made_io),
                                        .id = "fuzz",
                                        .limits = {},
                                        .clock = {},
                                        .complain = [](const std::string&) {}});
  const auto activate = [&] {
    blk->reset();
    auto queue = virtio::Queue::create(memory, kSetup, virtio::Blk::kRequests);
    require(queue.has_value());
    virtio::Activation activation;
    activation.queues.push_back(std::move(*queue));
    activation.features = (way & 8) != 0 ? 0 : blk->features();
    activation.driver = &ears;
    blk->activate(std::move(activation));
  };
  activate();

  // Each step: what, where, how many bytes of the input follow.
  for (std::size_t at = 1; at + 4 <= size;) {
    const unsigned what = data[at];
    const std::uint64_t where = (data[at + 1] | std::uint64_t{data[at + 2]} << 8) % kMemorySize;
    const std::size_t length = std::min<std::size_t>(
        {data[at + 3], size - at - 4, static_cast<std::size_t>(kMemorySize - where)});
    const auto bytes = std::as_bytes(std::span(data + at + 4, length));
    at += 4 + length;
    require(memory.write(PhysAddr(kMemory + where), bytes).has_value());
    switch (what % 8) {
      case 0:
        io.hold = !io.hold;
        break;
      case 1:
        break;  // only the bytes
      case 2:
        activate();
        // The new queue begins at 0.
        require(memory.write_value(PhysAddr(kMemory + 0x82), pvh::base::Le16(0)).has_value());
        break;
      default:
        blk->notify(0);
        loop->run_once(0);
        break;
    }
  }
  io.hold = false;
  io.submit();
  loop->run_once(0);
  blk->reset();
  struct stat status{};
  require(::fstat(file.get(), &status) == 0 && status.st_size == kDiskSize);
  return 0;
}
