// SPDX-License-Identifier: BSD-2-Clause
// What is behind a virtio transport: the disk, the network card, the source of randomness. A
// backend sees queues that were checked and features that were negotiated; how the driver finds it
// and rings for it is the transport's matter.
//
// A backend lives on the thread of its EventLoop: everything but read_config() is called from
// there, so it needs no lock.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <pvh/base/bytes.hpp>
#include <pvh/devices/virtio/queue.hpp>

namespace pvh::devices::virtio {

// How a backend talks back to its driver. From the loop's thread.
class DriverSide {
 public:
  DriverSide() = default;
  DriverSide(const DriverSide&) = delete;
  DriverSide& operator=(const DriverSide&) = delete;
  virtual ~DriverSide() = default;

  // Something was pushed that the driver wants to hear of.
  virtual void used_buffers() = 0;
  // read_config() has something new.
  virtual void config_changed() = 0;
  // notify() for this queue, once the loop has seen to everybody else.
  virtual void notify_again(std::size_t queue) = 0;
  // The driver broke the rules: it is told that it must reset the device, and no queue is touched
  // until it does.
  virtual void broken(const QueueFault& fault) = 0;
};

struct Activation {
  std::vector<Queue> queues;  // as many as the backend has; a Queue of size 0 is not in use
  std::uint64_t features = 0;
  DriverSide* driver = nullptr;  // outlives the activation, as does:
  guest_memory::GuestMemory* memory = nullptr;
};

class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  // Constant; from any thread.
  [[nodiscard]] virtual std::uint32_t id() const = 0;  // VIRTIO_ID_*
  // Beside those of the transport and the queues.
  [[nodiscard]] virtual std::uint64_t features() const = 0;
  // The largest size of each queue: powers of two.
  [[nodiscard]] virtual std::span<const std::uint16_t> queue_sizes() const = 0;

  // The configuration space; what lies behind its end reads as 0. From any thread.
  virtual void read_config(std::uint64_t offset, base::MutableBytes data) const = 0;
  virtual void write_config(std::uint64_t /*offset*/, base::Bytes /*data*/) {}

  // The driver is ready. Buffers may be waiting: each queue is notified right after this.
  virtual void activate(Activation activation) = 0;
  // The driver rang for this queue.
  virtual void notify(std::size_t queue) = 0;
  // The driver went away. When this returns nothing of the guest's memory is touched any more;
  // what was asked for and not done is forgotten. Also called when it is not active.
  virtual void reset() = 0;
};

// What a notify() is for most queues: takes every chain that waits, tells the driver when it wants
// to know, and sees to it that the driver rings for the next. take(chain) pushes the chain, now or
// later, and gives true; or gives false to leave this chain and all behind it for another time, for
// which the driver does not ring. False when the queue turned out broken, and the driver was told:
// it must not be used any more. No more chains than the queue holds are taken in one turn, or a
// driver that refills it as fast as it is emptied would have the loop to itself.
template <typename Take>
[[nodiscard]] bool serve(Activation& active, std::size_t index, Chain& chain, Take take) {
  Queue& queue = active.queues[index];
  DriverSide& driver = *active.driver;
  unsigned left = queue.size();
  bool more = true;
  while (more) {
    queue.mute_driver();
    for (;;) {
      if (left == 0) {
        driver.notify_again(index);
        more = false;
        break;
      }
      const auto popped = queue.pop(chain);
      if (!popped) {
        driver.broken(popped.error());
        return false;
      }
      if (!*popped) {
        more = queue.unmute_driver();
        break;
      }
      if (!take(chain)) {
        queue.unpop();
        more = false;
        break;
      }
      --left;
    }
  }
  if (queue.wants_interrupt()) {
    driver.used_buffers();
  }
  return true;
}

// The same for a device that is done with a chain when take(chain) returns: how many bytes it wrote
// there, or nothing to leave it. The chain goes back only then, for the driver may have another use
// for its buffers at once.
template <typename Take>
[[nodiscard]] bool serve_at_once(Activation& active, std::size_t index, Chain& chain, Take take) {
  return serve(active, index, chain, [&active, index, &take](Chain& taken) {
    const std::optional<std::uint32_t> written = take(taken);
    if (written) {
      active.queues[index].push(taken.head, *written);
    }
    return written.has_value();
  });
}

// `whole` from `offset` on, and zeros: what read_config() gives of a structure.
void read_config_bytes(base::Bytes whole, std::uint64_t offset, base::MutableBytes data);

}  // namespace pvh::devices::virtio
