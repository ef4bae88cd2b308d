// SPDX-License-Identifier: BSD-2-Clause
#include "internal/virtio_devices.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/virtio/rng.hpp>
#include <pvh/vmm/layout.hpp>

namespace pvh::vmm::internal {
namespace {

Failure host_failure(const std::string& what) {
  return {FailureKind::kHost, fmt::format("{}: {}", what, base::errno_text(errno))};
}

// One line, in one write: other threads say things, too.
void say(const std::string& name, const std::string& words) {
  const std::string line = fmt::format("pvh: {}: {}\n", name, words);
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

Result<std::unique_ptr<VirtioDevices>> VirtioDevices::create(const MachineOptions& options,
                                                             std::span<const VirtioSlot> slots,
                                                             Host host) {
  std::unique_ptr<VirtioDevices> made(new VirtioDevices(std::move(host)));
  if (slots.empty()) {
    return made;
  }
  made->loop_ = devices::EventLoop::create();
  if (!made->loop_) {
    return std::unexpected(host_failure("epoll"));
  }
  // boot_plan.cpp counts the same devices.
  auto place = slots.begin();
  if (options.rng) {
    TRY(made->add("rng", *place++, std::make_unique<devices::virtio::Rng>()));
  }
  return made;
}

VirtioDevices::~VirtioDevices() = default;

Result<void> VirtioDevices::add(std::string name, const VirtioSlot& place,
                                std::unique_ptr<devices::virtio::Backend> backend) {
  auto slot = std::make_unique<Slot>(Slot{std::move(name), place, std::move(backend), nullptr});
  slot->transport = devices::virtio::MmioTransport::create(
      {.backend = *slot->backend,
       .loop = *loop_,
       .memory = host_.memory,
       .connect = [this, made = slot.get()] { return connect(*made); },
       .complain = [made = slot.get()](const std::string& words) { say(made->name, words); }});
  if (!slot->transport) {
    return std::unexpected(host_failure(slot->name));
  }
  if (const auto added =
          host_.bus.add(place.registers.first(), kVirtioSize.value(), *slot->transport);
      !added) {
    return std::unexpected(Failure{FailureKind::kRequest, base::to_text(added.error())});
  }
  slots_.push_back(std::move(slot));
  return {};
}

bool VirtioDevices::connect(Slot& slot) {
  if (slot.connected) {
    return true;
  }
  const devices::virtio::MmioTransport& transport = *slot.transport;
  const auto notify =
      slot.place.registers.first().checked_add(base::ByteSize(devices::virtio::kNotifyOffset));
  kvm::Result<void> done = host_.vm.irqfd(transport.interrupt().get(), slot.place.gsi);
  for (std::size_t i = 0; i < transport.queues() && done; ++i) {
    done = host_.vm.ioeventfd(transport.doorbell(i).get(), *notify, sizeof(std::uint32_t), i);
  }
  if (!done) {
    host_.fail(to_failure(done.error()));
    return false;
  }
  slot.connected = true;
  return true;
}

Result<void> VirtioDevices::start() {
  if (loop_ && !loop_->start()) {
    return std::unexpected(host_failure("a thread for the devices"));
  }
  return {};
}

void VirtioDevices::stop() {
  if (loop_) {
    loop_->stop();
  }
}

}  // namespace pvh::vmm::internal
