// SPDX-License-Identifier: BSD-2-Clause
// The machine's virtio devices: made from the options in the order of the plan's slots, on the bus,
// with doorbells and interrupts that KVM connects, and the thread that they live on.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <pvh/devices/bus.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/virtio/backend.hpp>
#include <pvh/devices/virtio/mmio.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/kvm/kvm.hpp>
#include <pvh/vmm/machine.hpp>

namespace pvh::vmm::internal {

class VirtioDevices {
 public:
  struct Host {
    kvm::Vm& vm;
    guest_memory::GuestMemory& memory;
    devices::MmioBus& bus;
    std::function<void(Failure)> fail;  // KVM refused something while the guest runs
  };

  // What `host` refers to must outlive the result. Without slots this costs nothing.
  [[nodiscard]] static Result<std::unique_ptr<VirtioDevices>> create(
      const MachineOptions& options, std::span<const VirtioSlot> slots, Host host);
  ~VirtioDevices();
  VirtioDevices(const VirtioDevices&) = delete;
  VirtioDevices& operator=(const VirtioDevices&) = delete;

  // Before the first vCPU runs, and after the last one has ended.
  [[nodiscard]] Result<void> start();
  void stop();

 private:
  struct Slot {
    std::string name;  // for messages: "rng", "disk FILE"
    VirtioSlot place;
    std::unique_ptr<devices::virtio::Backend> backend;
    std::unique_ptr<devices::virtio::MmioTransport> transport;
    bool connected = false;
  };

  explicit VirtioDevices(Host host) : host_(std::move(host)) {}

  [[nodiscard]] Result<void> add(std::string name, const VirtioSlot& place,
                                 std::unique_ptr<devices::virtio::Backend> backend);
  [[nodiscard]] bool connect(Slot& slot);

  Host host_;
  std::unique_ptr<devices::EventLoop> loop_;
  std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace pvh::vmm::internal
