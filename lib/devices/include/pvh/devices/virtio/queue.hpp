// SPDX-License-Identifier: BSD-2-Clause
// The device's end of one split virtqueue (virtio 1.2, 2.7), the same for every device.
//
// The other end is a guest that may be hostile and that runs meanwhile: each descriptor is copied
// once, checked, and only the copy is used; no index is believed; a chain visits at most as many
// descriptors as the queue has, so it ends. A Queue is used by one thread. Nothing here allocates
// once a Chain has been used.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::devices::virtio {

// What a driver can get wrong. A device that meets one of these stops and asks to be reset.
enum class QueueError {
  kBadSize,        // not a power of two from 1 to the queue's maximum
  kMisaligned,     // a part of the queue is not aligned as it must be
  kOutsideRam,     // a part of the queue, or a buffer, is not in the guest's memory
  kBadIndex,       // the driver made more chains available than the queue has entries
  kBadDescriptor,  // a descriptor number outside the table
  kLoop,           // a chain with more descriptors than the queue has entries
  kBadIndirect,    // a table inside a table, that goes on after it, or of an odd size
  kBadOrder,       // a buffer to read behind one to write
  kTooShort        // a chain has not the bytes that every request to this device has
};

[[nodiscard]] base::Explanation explain(QueueError code);
using QueueFault = base::Fault<QueueError>;

// The buffers of one request, as system calls take them: guest memory, in the driver's order. It
// belongs to the device until it is pushed back.
struct Chain {
  std::uint16_t head = 0;
  std::vector<iovec> readable;  // written by the driver
  std::vector<iovec> writable;  // to be written by the device
  std::uint64_t readable_bytes = 0;
  std::uint64_t writable_bytes = 0;
};

// Copies between the host and the buffers, from `offset` on; gives the number of bytes that were
// there. Any bytes that the host decides upon are copied first.
std::size_t copy_from(const std::vector<iovec>& buffers, std::uint64_t offset,
                      base::MutableBytes out);
std::size_t copy_to(const std::vector<iovec>& buffers, std::uint64_t offset, base::Bytes in);
// `size` bytes of the buffers from `offset` on, as far as they go, in `part`.
void take_part(const std::vector<iovec>& buffers, std::uint64_t offset, std::uint64_t size,
               std::vector<iovec>& part);

// A chain to give back, and how many bytes the device wrote into it.
struct Used {
  std::uint16_t head = 0;
  std::uint32_t written = 0;
};

// Where the driver put it.
struct QueueSetup {
  std::uint16_t size = 0;
  base::PhysAddr descriptors;
  base::PhysAddr driver_area;
  base::PhysAddr device_area;
  bool event_index = false;  // VIRTIO_F_EVENT_IDX was negotiated
  bool indirect = false;     // VIRTIO_F_INDIRECT_DESC was negotiated
};

class Queue {
 public:
  // Not in use: of size 0, never to be popped.
  Queue() = default;
  // `memory` must outlive the queue. `most` is the largest size that the device offers.
  [[nodiscard]] static std::expected<Queue, QueueFault> create(guest_memory::GuestMemory& memory,
                                                               const QueueSetup& setup,
                                                               std::uint16_t most);

  // The next chain that the driver made available; false when there is none. After an error the
  // queue is of no use any more.
  [[nodiscard]] std::expected<bool, QueueFault> pop(Chain& chain);
  // The chains of the last `count` calls of pop() were not used after all: the next ones give them
  // again.
  void unpop(std::uint16_t count = 1) {
    next_available_ = static_cast<std::uint16_t>(next_available_ - count);
  }

  // Gives a chain back: the device wrote so many bytes into it. Chains may be given back in any
  // order.
  void push(std::uint16_t head, std::uint32_t written);
  // The same for several that belong together: the driver sees all of them or none.
  void push(std::span<const Used> chains);

  // Whether the driver wants to be interrupted for what was pushed since the last call.
  [[nodiscard]] bool wants_interrupt();

  // Asks the driver to say nothing of new chains while the device looks anyhow (a hint).
  void mute_driver();
  // Asks it to ring again. True when chains came in the meantime, for which it will not ring: pop()
  // them before sleeping.
  [[nodiscard]] bool unmute_driver();

  [[nodiscard]] std::uint16_t size() const { return size_; }

 private:
  [[nodiscard]] std::uint16_t load(base::MutableBytes area, std::size_t offset) const;
  void store(base::MutableBytes area, std::size_t offset, std::uint16_t value);
  [[nodiscard]] std::expected<void, QueueFault> walk(Chain& chain, base::Bytes table,
                                                     std::uint16_t first);
  [[nodiscard]] std::expected<void, QueueFault> add_buffer(Chain& chain, std::uint64_t address,
                                                           std::uint32_t length, bool writable);

  guest_memory::GuestMemory* memory_ = nullptr;
  base::MutableBytes descriptors_;
  base::MutableBytes driver_area_;
  base::MutableBytes device_area_;
  std::uint16_t size_ = 0;
  bool event_index_ = false;
  bool indirect_ = false;
  std::uint16_t next_available_ = 0;
  std::uint16_t next_used_ = 0;
  std::uint16_t signalled_used_ = 0;  // next_used_ when wants_interrupt() was last asked
};

}  // namespace pvh::devices::virtio
