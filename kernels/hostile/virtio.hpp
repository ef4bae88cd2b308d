// SPDX-License-Identifier: BSD-2-Clause
// A virtio driver that can do right, so that it can do wrong beyond the first check.
// Virtio 1.2, 2.7 and 4.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <pvh/abi/virtio.hpp>
#include <pvh/guest/boot.hpp>

namespace pvh::kernels::hostile {

// One split queue, in memory as the device sees it.
struct Queue {
  static constexpr std::uint16_t kEntries = 64;

  abi::virtq_desc table[kEntries];
  abi::virtq_ring_header driver;
  base::Le16 driver_ring[kEntries];
  base::Le16 used_event;
  alignas(4) abi::virtq_ring_header device;
  abi::virtq_used_elem device_ring[kEntries];
  base::Le16 avail_event;

  std::uint16_t entries;  // as many as both sides can, a power of two; not the device's to see
};

// Where its three parts are; by right those of a Queue.
struct Places {
  std::uint64_t table;
  std::uint64_t driver;
  std::uint64_t device;
};
[[nodiscard]] Places places_of(const Queue& queue);

class Device {
 public:
  static constexpr std::uint32_t kMostQueues = 8;

  constexpr Device() = default;
  explicit Device(std::uint64_t registers);

  [[nodiscard]] std::uint64_t registers() const { return registers_; }
  [[nodiscard]] std::uint32_t id() const { return id_; }  // VIRTIO_ID_*
  [[nodiscard]] std::uint32_t queues() const { return queues_; }

  [[nodiscard]] std::uint32_t read(std::uint64_t offset) const;
  void write(std::uint64_t offset, std::uint32_t value) const;

  // Reset, and on to FEATURES_OK with what is offered and in `features`.
  void begin(std::uint64_t features) const;
  void set_queue(std::uint32_t index, std::uint32_t size, const Places& places) const;
  void go() const;  // DRIVER_OK
  // All of that as it should be, with an empty Queue for each queue.
  void bring_up(std::uint64_t features, Queue* queues) const;
  void ring(std::uint32_t index) const { write(abi::VIRTIO_MMIO_QUEUE_NOTIFY, index); }

 private:
  std::uint64_t registers_ = 0;
  std::uint32_t id_ = 0;
  std::uint32_t queues_ = 0;
};

// Those of the DSDT.
[[nodiscard]] std::span<Device> find_devices(guest::Boot& boot);

// One part of a chain.
struct Buffer {
  std::uint64_t address;
  std::uint32_t size;
  bool is_written;  // by the device
};

// Puts a chain of at most kEntries buffers where the table begins and offers it; its driver waits
// for each chain before the next.
void offer(Queue& queue, std::span<const Buffer> chain);
// What the device wrote, once it has answered so many chains; nothing when it does not in so many
// ticks of the TSC.
inline constexpr std::uint64_t kPatience = 20'000'000'000;  // more than a loaded host needs
[[nodiscard]] std::optional<std::uint32_t> answer(guest::Machine& machine, const Queue& queue,
                                                  std::uint16_t chains,
                                                  std::uint64_t patience = kPatience);

// Whether a device that can be asked something, a disk or a source of randomness, is brought up and
// answers right; true for the others.
[[nodiscard]] bool serves(guest::Machine& machine, const Device& device);

}  // namespace pvh::kernels::hostile
