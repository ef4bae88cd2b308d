// SPDX-License-Identifier: BSD-2-Clause
#include "internal/virtio_devices.hpp"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/async_io.hpp>
#include <pvh/devices/net/passt.hpp>
#include <pvh/devices/net/tap.hpp>
#include <pvh/devices/virtio/balloon.hpp>
#include <pvh/devices/virtio/blk.hpp>
#include <pvh/devices/virtio/net.hpp>
#include <pvh/devices/virtio/rng.hpp>
#include <pvh/devices/virtio/vsock.hpp>
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

Result<std::unique_ptr<devices::virtio::Net>> make_net(const NetOption& option,
                                                       const std::string& name,
                                                       devices::EventLoop& loop) {
  using namespace devices::net;  // NOLINT(google-build-using-namespace): here only
  const auto named = [&name](Failure failure) {
    failure.subject = name;
    return std::unexpected(std::move(failure));
  };
  devices::virtio::Net::Parts parts{.loop = loop,
                                    .end = nullptr,
                                    .mac = {},
                                    .mtu = 0,
                                    .limits = {.bytes_per_second = option.bytes_per_second},
                                    .complain = [name](const std::string& words) {
                                      say(name, words + "; the guest's link is down");
                                    }};
  if (option.tap.empty()) {
    auto end = PasstEnd::start({.forwards = option.forwards, .program = {}});
    if (!end) {
      return named(to_failure(end.error()));
    }
    parts.end = std::move(*end);
    parts.mtu = kUserMtu;
    // Nobody else is on its wire.
    parts.mac = option.mac ? *option.mac : MacAddress::random();
  } else {
    auto end = TapEnd::open(option.tap);
    if (!end) {
      return named(to_failure(end.error()));
    }
    parts.end = std::move(*end);
    // A TAP has one user at a time, so its name can stand for the card, also after a restart.
    parts.mac = option.mac ? *option.mac : MacAddress::of_name(option.tap);
  }
  auto net = devices::virtio::Net::create(std::move(parts));
  if (!net) {
    return std::unexpected(host_failure(name));
  }
  return net;
}

}  // namespace

Result<std::vector<devices::virtio::Disk>> open_disks(const MachineOptions& options) {
  std::vector<devices::virtio::Disk> disks;
  for (const DiskRequest& request : options.disks) {
    auto disk = devices::virtio::Disk::open(request.file);
    if (!disk) {
      Failure failure = to_failure(disk.error());
      failure.subject = request.file.path;
      return std::unexpected(std::move(failure));
    }
    disks.push_back(std::move(*disk));
  }
  return disks;
}

Result<std::unique_ptr<VirtioDevices>> VirtioDevices::create(
    const MachineOptions& options, std::vector<devices::virtio::Disk> disks,
    std::span<const VirtioSlot> slots, Host host) {
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
  for (std::size_t i = 0; i < disks.size(); ++i) {
    TRY(made->add_disk(options.disks[i], std::move(disks[i]), *place++));
  }
  if (options.vsock) {
    auto vsock =
        devices::virtio::Vsock::create(*made->loop_, options.vsock->cid, options.vsock->path);
    if (!vsock) {
      return std::unexpected(
          Failure{FailureKind::kHostIo, base::to_text(vsock.error()), "--vsock"});
    }
    TRY(made->add("vsock", *place++, std::move(*vsock)));
  }
  if (options.balloon) {
    TRY(made->add("balloon", *place++, std::make_unique<devices::virtio::Balloon>()));
  }
  for (const NetOption& net : options.nets) {
    const std::string name = net.tap.empty() ? "--net user" : "--net tap=" + net.tap;
    auto card = TRY(make_net(net, name, *made->loop_));
    TRY(made->add(name, *place++, std::move(card)));
  }
  return made;
}

VirtioDevices::~VirtioDevices() = default;

Result<void> VirtioDevices::add_disk(const DiskRequest& request, devices::virtio::Disk disk,
                                     const VirtioSlot& place) {
  std::string name = fmt::format("disk {}", request.file.path);
  auto io = devices::make_async_io(*loop_, devices::virtio::Blk::kRequests);
  if (!io) {
    return std::unexpected(host_failure(name));
  }
  auto blk = devices::virtio::Blk::create(
      {.loop = *loop_,
       .disk = std::move(disk),
       .io = std::move(io),
       .id = request.id,
       .limits = request.limits,
       .clock = {},
       .complain = [name](const std::string& words) { say(name, words); }});
  if (!blk) {
    return std::unexpected(host_failure(name));
  }
  return add(std::move(name), place, std::move(blk));
}

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
