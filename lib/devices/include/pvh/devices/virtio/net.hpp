// SPDX-License-Identifier: BSD-2-Clause
// A network card for the guest (virtio 1.2, 5.1): one pair of queues, no offloads, so that every
// frame is whole and every driver understands it. Received frames may fill several buffers
// (MRG_RXBUF): the host's end may have longer ones than the guest's MTU.
//
// While the guest has no buffers the frames wait in the NetEnd, and while the end takes no frame
// the guest's wait in the queue: nothing is stored here.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pvh/abi/virtio_net.hpp>
#include <pvh/base/event_fd.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/net/end.hpp>
#include <pvh/devices/net/mac_address.hpp>
#include <pvh/devices/rate_limiter.hpp>
#include <pvh/devices/virtio/backend.hpp>

namespace pvh::devices::virtio {

class Net final : public Backend {
 public:
  struct Parts {
    EventLoop& loop;
    std::unique_ptr<net::NetEnd> end;
    net::MacAddress mac;
    std::uint16_t mtu = 0;  // what the driver is told to use; 0: nothing, so 1500
    RateLimits limits{};    // of each direction
    // Hears the end's last words. On the loop's thread.
    std::function<void(const std::string&)> complain;
  };

  // The loop does not run yet, or this is its thread. Nothing when the host has no descriptor left:
  // errno says why.
  [[nodiscard]] static std::unique_ptr<Net> create(Parts parts);

  [[nodiscard]] std::uint32_t id() const override;
  [[nodiscard]] std::uint64_t features() const override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override;

  void activate(Activation activation) override;
  void notify(std::size_t queue) override;
  void reset() override;

 private:
  enum class Delivery : std::uint8_t { kDone, kNoBuffers, kBroken };

  static constexpr std::array<std::uint16_t, 2> kQueueSizes{256, 256};

  // What one direction may carry now.
  struct Toll {
    std::unique_ptr<RateLimiter> limiter;  // none without limits
    bool paid = false;  // for the next frame, which could not go yet for another reason

    [[nodiscard]] bool pay(std::uint64_t bytes) {
      paid = paid || limiter == nullptr || limiter->take(bytes);
      return paid;
    }
    void forget();
  };

  Net(Parts parts, base::EventFd again);
  [[nodiscard]] bool limit();

  void on_end(std::uint32_t events);
  void receive();
  void transmit();
  [[nodiscard]] Delivery deliver(base::Bytes frame);
  // Whether the chain was dealt with; not if the end takes no frame now.
  [[nodiscard]] bool send(Chain& chain);
  void broken(const QueueFault& fault);
  void look_at_link();
  void choose_events();

  [[nodiscard]] Queue& receive_queue() { return active_->queues[abi::VIRTIO_NET_RECEIVEQ]; }
  [[nodiscard]] Queue& transmit_queue() { return active_->queues[abi::VIRTIO_NET_TRANSMITQ]; }

  Parts parts_;
  // Rung by receive() and transmit() when they did enough for one turn and others shall have
  // theirs.
  base::EventFd again_;
  EventLoop::Watch again_watch_;
  EventLoop::Watch end_watch_;
  std::uint32_t events_ = 0;  // what end_watch_ wants
  std::atomic<bool> link_up_ = true;

  std::optional<Activation> active_;
  bool guest_has_room_ = false;  // as far as we know: then the end is listened to
  bool end_has_room_ = true;     // else we wait for it before we look at the guest's frames
  bool may_receive_ = true;      // else we wait for the limiter
  Toll receive_toll_;
  Toll transmit_toll_;
  std::vector<Chain> chains_;  // of one received frame
  std::vector<Used> used_;
  Chain sent_;
};

}  // namespace pvh::devices::virtio
