// SPDX-License-Identifier: BSD-2-Clause
// The machine's virtio devices: made from the options in the order of the plan's slots, and the
// thread that they live on. They outlive the machine that they are attached to: one that is started
// anew finds them as the guest left them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <pvh/devices/bus.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/virtio/backend.hpp>
#include <pvh/devices/virtio/balloon_control.hpp>
#include <pvh/devices/virtio/console.hpp>
#include <pvh/devices/virtio/mmio.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/kvm/kvm.hpp>
#include <pvh/vmm/console.hpp>
#include <pvh/vmm/machine.hpp>
#include <pvh/vmm/terminal.hpp>

namespace pvh::vmm::internal {

// How many devices the options ask for: as many slots as attach() needs.
[[nodiscard]] std::size_t count_virtio(const MachineOptions& options);

class VirtioDevices {
 public:
  struct Host {
    kvm::Vm& vm;
    guest_memory::GuestMemory& memory;
    devices::MmioBus& bus;
    std::function<void(Ending)> end;  // from the devices' thread
  };

  // Opens what the options name: files, sockets, networks. KVM is not asked for anything. Without
  // devices this costs nothing.
  [[nodiscard]] static Result<std::unique_ptr<VirtioDevices>> create(const MachineOptions& options);
  ~VirtioDevices();
  VirtioDevices(const VirtioDevices&) = delete;
  VirtioDevices& operator=(const VirtioDevices&) = delete;

  // Puts them on the machine's bus, with doorbells and interrupts that KVM connects when a driver
  // comes. What `host` refers to must stay until detach(), which ends all access to its memory.
  [[nodiscard]] Result<void> attach(std::span<const VirtioSlot> slots, Host host);
  void detach();

  // Before the first vCPU runs, and after the last one has ended. SIGWINCH is blocked in between.
  [[nodiscard]] Result<void> start();
  void stop();

 private:
  struct Slot {
    std::string name;  // for messages: "rng", "disk FILE"
    VirtioSlot place;
    std::unique_ptr<devices::virtio::Backend> backend;
    std::unique_ptr<devices::virtio::MmioTransport> transport;
    bool connected = false;
    unsigned complaints = 0;  // about its driver
  };

  void complain(Slot& slot, const std::string& words);

  VirtioDevices() = default;

  void add(std::string name, std::unique_ptr<devices::virtio::Backend> backend);
  [[nodiscard]] Result<void> add_disk(const DiskRequest& request);
  [[nodiscard]] Result<void> add_console(const ConsoleSpec& spec);
  [[nodiscard]] std::vector<std::byte> take_keys(base::Bytes typed);
  void measure_terminal();
  [[nodiscard]] bool connect(Slot& slot);

  Notice notice_;
  std::optional<Host> host_;  // while attached
  std::unique_ptr<devices::EventLoop> loop_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<devices::virtio::BalloonControl> balloon_control_;  // of one of them; may be none

  // Of the virtio console, when there is one.
  std::optional<Console> console_place_;
  devices::virtio::Console* console_ = nullptr;
  EscapeFilter escape_;
  base::Fd resized_;  // a signalfd for SIGWINCH
  devices::EventLoop::Watch resized_watch_;
};

}  // namespace pvh::vmm::internal
