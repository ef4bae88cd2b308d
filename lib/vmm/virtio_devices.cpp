// SPDX-License-Identifier: BSD-2-Clause
#include "internal/virtio_devices.hpp"

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

Result<std::unique_ptr<devices::virtio::Net>> make_net(const NetOption& option,
                                                       const std::string& name,
                                                       devices::EventLoop& loop,
                                                       const Notice& notice) {
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
                                    .complain = [name, notice](const std::string& words) {
                                      tell(notice, name, words + "; the guest's link is down");
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

std::size_t count_virtio(const MachineOptions& options) {
  return (options.rng ? 1u : 0u) + (options.vsock ? 1u : 0u) + (options.balloon ? 1u : 0u) +
         options.disks.size() + options.nets.size();
}

// Makes those that count_virtio() counts.
Result<std::unique_ptr<VirtioDevices>> VirtioDevices::create(const MachineOptions& options) {
  std::unique_ptr<VirtioDevices> made(new VirtioDevices());
  made->notice_ = options.notice;
  if (count_virtio(options) == 0) {
    return made;
  }
  made->loop_ = devices::EventLoop::create();
  if (!made->loop_) {
    return std::unexpected(host_failure("epoll"));
  }
  if (options.rng) {
    made->add("rng", std::make_unique<devices::virtio::Rng>());
  }
  for (const DiskRequest& disk : options.disks) {
    TRY(made->add_disk(disk));
  }
  if (options.vsock) {
    auto vsock =
        devices::virtio::Vsock::create(*made->loop_, options.vsock->cid, options.vsock->path);
    if (!vsock) {
      return std::unexpected(
          Failure{FailureKind::kHostIo, base::to_text(vsock.error()), "--vsock"});
    }
    made->add("vsock", std::move(*vsock));
  }
  if (options.balloon) {
    made->add("balloon", std::make_unique<devices::virtio::Balloon>());
  }
  for (const NetOption& net : options.nets) {
    const std::string name = net.tap.empty() ? "--net user" : "--net tap=" + net.tap;
    made->add(name, TRY(make_net(net, name, *made->loop_, options.notice)));
  }
  return made;
}

VirtioDevices::~VirtioDevices() {
  detach();
}

void VirtioDevices::add(std::string name, std::unique_ptr<devices::virtio::Backend> backend) {
  slots_.push_back(std::make_unique<Slot>(Slot{std::move(name), {}, std::move(backend), nullptr}));
}

Result<void> VirtioDevices::add_disk(const DiskRequest& request) {
  auto disk = devices::virtio::Disk::open(request.file);
  if (!disk) {
    Failure failure = to_failure(disk.error());
    failure.subject = request.file.path;
    return std::unexpected(std::move(failure));
  }
  std::string name = fmt::format("disk {}", request.file.path);
  auto io = devices::make_async_io(*loop_, devices::virtio::Blk::kRequests);
  if (!io) {
    return std::unexpected(host_failure(name));
  }
  auto blk =
      devices::virtio::Blk::create({.loop = *loop_,
                                    .disk = std::move(*disk),
                                    .io = std::move(io),
                                    .id = request.id,
                                    .limits = request.limits,
                                    .clock = {},
                                    .complain = [name, notice = notice_](const std::string& words) {
                                      tell(notice, name, words);
                                    }});
  if (!blk) {
    return std::unexpected(host_failure(name));
  }
  add(std::move(name), std::move(blk));
  return {};
}

Result<void> VirtioDevices::attach(std::span<const VirtioSlot> slots, Host host) {
  host_.emplace(std::move(host));
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = *slots_[i];
    slot.place = slots[i];
    slot.connected = false;
    slot.transport = devices::virtio::MmioTransport::create(
        {.backend = *slot.backend,
         .loop = *loop_,
         .memory = host_->memory,
         .connect = [this, &slot] { return connect(slot); },
         .complain = [this, &slot](const std::string& words) { tell(notice_, slot.name, words); }});
    if (!slot.transport) {
      return std::unexpected(host_failure(slot.name));
    }
    if (const auto added =
            host_->bus.add(slot.place.registers.first(), kVirtioSize.value(), *slot.transport);
        !added) {
      return std::unexpected(Failure{FailureKind::kRequest, base::to_text(added.error())});
    }
  }
  return {};
}

void VirtioDevices::detach() {
  for (const std::unique_ptr<Slot>& slot : slots_) {
    slot->transport.reset();
  }
  host_.reset();
}

bool VirtioDevices::connect(Slot& slot) {
  if (slot.connected) {
    return true;
  }
  const devices::virtio::MmioTransport& transport = *slot.transport;
  const auto notify =
      slot.place.registers.first().checked_add(base::ByteSize(devices::virtio::kNotifyOffset));
  kvm::Result<void> done = host_->vm.irqfd(transport.interrupt().get(), slot.place.gsi);
  for (std::size_t i = 0; i < transport.queues() && done; ++i) {
    done = host_->vm.ioeventfd(transport.doorbell(i).get(), *notify, sizeof(std::uint32_t), i);
  }
  if (!done) {
    host_->fail(to_failure(done.error()));
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
