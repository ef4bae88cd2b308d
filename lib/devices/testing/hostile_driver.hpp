// SPDX-License-Identifier: BSD-2-Clause
// A driver for fuzzers: it does what the input says, well-formed chains (which random bytes would
// hardly ever be) as well as anything at all in rings, buffers and registers.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <pvh/abi/virtio.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/virtio/mmio.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::devices::testing {

class HostileDriver {
 public:
  static constexpr std::uint64_t kMemory = 0x8000;

  HostileDriver(EventLoop& loop, virtio::Backend& backend, std::uint32_t queues)
      : loop_(loop),
        memory_(*guest_memory::GuestMemory::create(
            std::vector{*base::Range::from_size(base::PhysAddr(0), base::ByteSize(kMemory))})),
        transport_(virtio::MmioTransport::create({.backend = backend,
                                                  .loop = loop,
                                                  .memory = memory_,
                                                  .connect = [] { return true; },
                                                  .complain = [](const std::string&) {}})),
        offered_(queues) {}

  // Four bytes say what and how long, the rest of a step follows them. act(what, place, bytes) has
  // the steps that are not the driver's; `what` is the input's first byte, divided by 8.
  template <typename Act>
  void play(base::Bytes input, Act act) {
    start(0xffffffff);
    while (input.size() >= 4) {
      const auto what = std::to_integer<unsigned>(input[0]);
      const auto count = std::min(std::to_integer<std::size_t>(input[1]), input.size() - 4);
      const std::uint64_t place =
          std::to_integer<std::uint64_t>(input[2]) | std::to_integer<std::uint64_t>(input[3]) << 8;
      const base::Bytes bytes = input.subspan(4, count);
      input = input.subspan(4 + count);
      const auto queue = static_cast<std::uint32_t>((what >> 3) % offered_.size());
      switch (what % 8) {
        case 0:
          start(static_cast<std::uint32_t>(place << 8 | place << 24));
          break;
        case 1:
          static_cast<void>(memory_.write(base::PhysAddr(place), bytes));
          break;
        case 2:
          offer(queue, bytes, 0);
          break;
        case 3:
          // Seldom more than there is memory.
          offer(queue, {},
                static_cast<std::uint32_t>((place & 0x8000) != 0 ? place : place & 0xfff));
          break;
        case 4:
          write(abi::VIRTIO_MMIO_QUEUE_NOTIFY, queue);
          break;
        case 5:
          touch(place % 0x200, bytes);
          break;
        default:
          act(what >> 3, place, bytes);
          break;
      }
      for (int turn = 0; turn < 3; ++turn) {
        loop_.run_once(0);
      }
    }
  }

  // A well-formed chain of one buffer: `bytes` to read, or else room for so many (into anything
  // that is in memory). The driver rings.
  void offer(std::uint32_t queue, base::Bytes bytes, std::uint32_t room) {
    const std::uint64_t ring = ring_of(queue);
    std::uint16_t& next = offered_[queue];
    const auto slot = static_cast<std::uint16_t>(next % kEntries);
    const std::uint64_t buffer = 0x2000 + std::uint64_t{queue} * 0x1000 + slot * 0x100u;
    static_cast<void>(memory_.write(base::PhysAddr(buffer), bytes));
    const abi::virtq_desc descriptor{
        base::Le64(buffer),
        base::Le32(bytes.empty() ? room : base::narrow<std::uint32_t>(bytes.size()).value_or(0)),
        base::Le16(bytes.empty() ? abi::VIRTQ_DESC_F_WRITE : std::uint16_t{0}), base::Le16(0)};
    store(ring + slot * sizeof(descriptor), descriptor);
    store(ring + 0x80 + 4 + slot * 2u, base::Le16(slot));
    store(ring + 0x80 + 2, base::Le16(++next));
    write(abi::VIRTIO_MMIO_QUEUE_NOTIFY, queue);
  }

 private:
  static constexpr std::uint16_t kEntries = 8;

  static std::uint64_t ring_of(std::uint32_t queue) { return std::uint64_t{queue} * 0x200; }

  template <typename T>
  void store(std::uint64_t address, const T& value) {
    static_cast<void>(memory_.write_value(base::PhysAddr(address), value));
  }

  void write(std::uint64_t offset, std::uint32_t value) {
    static_cast<void>(transport_->write(offset, base::to_bytes(base::Le32(value))));
  }

  // A register, by any width.
  void touch(std::uint64_t offset, base::Bytes bytes) {
    std::array<std::byte, 8> read{};
    const std::size_t width = std::min(bytes.size(), read.size());
    static_cast<void>(transport_->write(offset, bytes.first(width)));
    transport_->read(offset, std::span(read).first(std::max<std::size_t>(width, 1)));
  }

  // The rings lie in the first bytes of memory, one queue after the other.
  void start(std::uint32_t features) {
    for (const std::uint32_t status : {0u, 1u, 3u}) {
      write(abi::VIRTIO_MMIO_STATUS, status);
    }
    write(abi::VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    std::array<std::byte, 4> offered{};
    transport_->read(abi::VIRTIO_MMIO_DEVICE_FEATURES, offered);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES, 1);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    write(abi::VIRTIO_MMIO_DRIVER_FEATURES, std::bit_cast<base::Le32>(offered).get() & features);
    write(abi::VIRTIO_MMIO_STATUS, 11);
    static_cast<void>(memory_.write(base::PhysAddr(0), std::vector<std::byte>(0x2000)));
    for (std::uint32_t queue = 0; queue < offered_.size(); ++queue) {
      const auto at = static_cast<std::uint32_t>(ring_of(queue));
      offered_[queue] = 0;
      write(abi::VIRTIO_MMIO_QUEUE_SEL, queue);
      write(abi::VIRTIO_MMIO_QUEUE_NUM, kEntries);
      write(abi::VIRTIO_MMIO_QUEUE_DESC_LOW, at);
      write(abi::VIRTIO_MMIO_QUEUE_DRIVER_LOW, at + 0x80);
      write(abi::VIRTIO_MMIO_QUEUE_DEVICE_LOW, at + 0x100);
      write(abi::VIRTIO_MMIO_QUEUE_READY, 1);
    }
    write(abi::VIRTIO_MMIO_STATUS, 15);
  }

  EventLoop& loop_;
  guest_memory::GuestMemory memory_;
  std::unique_ptr<virtio::MmioTransport> transport_;
  std::vector<std::uint16_t> offered_;  // of each queue: its index of available chains
};

}  // namespace pvh::devices::testing
