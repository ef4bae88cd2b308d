// SPDX-License-Identifier: BSD-2-Clause
// The registers by which a driver finds a virtio device in memory: the MMIO transport, modern
// interface only (virtio 1.2, 4.2).
//
// A doorbell is an EventFd of its own for each queue, and the interrupt is another: a hypervisor
// that connects them (KVM_IOEVENTFD on the notify register, KVM_IRQFD) keeps every notification
// away from the vCPU's thread. Without that the notify register rings the same bells.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <pvh/base/event_fd.hpp>
#include <pvh/devices/bus.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/virtio/backend.hpp>
#include <pvh/guest_memory/guest_memory.hpp>

namespace pvh::devices::virtio {

// A page, so that each device can be mapped alone.
inline constexpr base::ByteSize kMmioSize{0x1000};
inline constexpr std::uint64_t kNotifyOffset = 0x50;

class MmioTransport final : public Device, private DriverSide {
 public:
  struct Parts {
    Backend& backend;
    EventLoop& loop;
    guest_memory::GuestMemory& memory;
    // Called before each activation, on the loop's thread: the place to connect bells to a
    // hypervisor, which a device that no driver looks at need not cost. False: it cannot be.
    std::function<bool()> connect;
    // Hears in words, once for each reset, that the driver broke the rules.
    std::function<void(const std::string&)> complain;
  };

  // All of `parts` must outlive the transport. Nothing when the host has no descriptor left: errno
  // says why.
  [[nodiscard]] static std::unique_ptr<MmioTransport> create(Parts parts);
  // The loop must not run any more.
  ~MmioTransport() override;

  // Registers are read and written as aligned 32-bit numbers; anything else outside the
  // configuration space reads as 0 and changes nothing.
  void read(std::uint64_t offset, base::MutableBytes data) override;
  [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;

  [[nodiscard]] std::size_t queues() const { return doorbells_.size(); }
  [[nodiscard]] const base::EventFd& doorbell(std::size_t queue) const { return doorbells_[queue]; }
  // Signalled for each interrupt: an edge.
  [[nodiscard]] const base::EventFd& interrupt() const { return interrupt_; }

  // As when the guest is started anew. Not while a vCPU runs.
  void reset();

 private:
  struct QueueRegisters {
    std::uint32_t size = 0;
    bool ready = false;
    std::uint64_t descriptors = 0;
    std::uint64_t driver_area = 0;
    std::uint64_t device_area = 0;
  };

  MmioTransport(Parts parts, std::vector<base::EventFd> doorbells, base::EventFd interrupt);

  // DriverSide
  void used_buffers() override;
  void config_changed() override;
  void notify_again(std::size_t queue) override;
  void broken(const QueueFault& fault) override;

  [[nodiscard]] std::uint32_t read_register(std::uint64_t offset);
  void write_register(std::uint64_t offset, std::uint32_t value);
  void write_queue_register(std::uint64_t offset, std::uint32_t value);
  void write_status(std::uint32_t value);
  void raise(std::uint32_t reason);
  // On the loop's thread.
  void activate(std::uint64_t features, const std::vector<QueueRegisters>& registers);
  void deactivate();

  [[nodiscard]] std::uint64_t offered() const;

  Parts parts_;
  std::vector<base::EventFd> doorbells_;
  base::EventFd interrupt_;
  std::vector<EventLoop::Watch> watches_;  // of the doorbells, while active; the loop's thread

  std::mutex mutex_;  // what is below, which any vCPU may touch
  std::uint32_t device_features_sel_ = 0;
  std::uint32_t driver_features_sel_ = 0;
  std::uint32_t queue_sel_ = 0;
  std::array<std::uint32_t, 2> driver_features_{};
  std::vector<QueueRegisters> registers_;

  std::atomic<std::uint32_t> status_ = 0;
  std::atomic<std::uint32_t> interrupt_status_ = 0;
  std::atomic<std::uint32_t> generation_ = 0;
};

}  // namespace pvh::devices::virtio
