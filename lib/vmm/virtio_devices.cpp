// SPDX-License-Identifier: BSD-2-Clause
#include "internal/virtio_devices.hpp"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
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

std::unexpected<Failure> about(std::string subject, Failure failure) {
  failure.subject = std::move(subject);
  return std::unexpected(std::move(failure));
}

Result<std::unique_ptr<devices::virtio::Net>> make_net(const NetOption& option,
                                                       const std::string& name,
                                                       devices::EventLoop& loop,
                                                       const Notice& notice) {
  using namespace devices::net;  // NOLINT(google-build-using-namespace): here only
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
      return about(name, to_failure(end.error()));
    }
    parts.end = std::move(*end);
    parts.mtu = kUserMtu;
    // Nobody else is on its wire.
    parts.mac = option.mac ? *option.mac : MacAddress::random();
  } else {
    auto end = TapEnd::open(option.tap);
    if (!end) {
      return about(name, to_failure(end.error()));
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
         (options.virtio_console ? 1u : 0u) + options.disks.size() + options.nets.size();
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
    auto balloon = std::make_unique<devices::virtio::Balloon>();
    if (!options.balloon->control.empty()) {
      auto control = devices::virtio::BalloonControl::create(*made->loop_, *balloon, options.memory,
                                                             options.balloon->control);
      if (!control) {
        return std::unexpected(
            Failure{FailureKind::kHostIo, base::to_text(control.error()), "--balloon"});
      }
      made->balloon_control_ = std::move(*control);
    }
    made->add("balloon", std::move(balloon));
  }
  for (const NetOption& net : options.nets) {
    const std::string name = net.tap.empty() ? "--net user" : "--net tap=" + net.tap;
    made->add(name, TRY(make_net(net, name, *made->loop_, options.notice)));
  }
  if (options.virtio_console) {
    TRY(made->add_console(*options.virtio_console));
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
    return about(request.file.path, to_failure(disk.error()));
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

Result<void> VirtioDevices::add_console(const ConsoleSpec& spec) {
  auto place = Console::open(spec, notice_, "virtio console");
  if (!place) {
    return about("--virtio-console", std::move(place.error()));
  }
  console_place_.emplace(std::move(*place));
  auto ends = console_place_->give_ends();
  if (!ends) {
    return about("--virtio-console", std::move(ends.error()));
  }
  devices::virtio::Console::Parts parts{
      .loop = *loop_,
      .input = std::move(ends->input),
      .output = std::move(ends->output),
      .pseudo_terminal = ends->pseudo_terminal,
      .filter = {},
      .size = {},
      .output_lost = [this](int sys_errno) {
        host_->end(
            {EndingCause::kHostIo, 0,
             fmt::format("cannot write the virtio console: {}", base::errno_text(sys_errno))});
      }};
  if (console_place_->has_escape_keys()) {
    parts.filter = [this](base::Bytes typed) { return take_keys(typed); };
  }
  if (console_place_->terminal_size()) {
    parts.size = devices::virtio::Console::Size{};  // measured below
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGWINCH);
    resized_ = base::Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    resized_watch_ = loop_->watch(resized_.get(), EPOLLIN, [this](std::uint32_t) {
      signalfd_siginfo info{};
      [[maybe_unused]] const ssize_t got = ::read(resized_.get(), &info, sizeof(info));
      measure_terminal();
    });
    if (!resized_watch_) {
      return std::unexpected(host_failure("signalfd"));
    }
  }
  auto console = devices::virtio::Console::create(std::move(parts));
  if (!console) {
    return std::unexpected(host_failure("--virtio-console"));
  }
  console_ = console.get();
  measure_terminal();
  add("virtio console", std::move(console));
  return {};
}

std::vector<std::byte> VirtioDevices::take_keys(base::Bytes typed) {
  EscapeFilter::Result result = escape_.feed(typed);
  if (result.help) {
    [[maybe_unused]] const ssize_t shown =
        ::write(STDERR_FILENO, kEscapeHelp.data(), kEscapeHelp.size());
  }
  if (result.quit) {
    host_->end({EndingCause::kQuit, 0, ""});
  }
  return std::move(result.for_guest);
}

void VirtioDevices::measure_terminal() {
  if (const auto size = console_place_->terminal_size()) {
    console_->set_size({.columns = size->ws_col, .rows = size->ws_row});
  }
}

// A driver that does wrong again and again shall not fill the host's logs.
void VirtioDevices::complain(Slot& slot, const std::string& words) {
  constexpr unsigned kMost = 4;
  if (slot.complaints < kMost) {
    ++slot.complaints;
    tell(notice_, slot.name,
         slot.complaints < kMost ? words : words + "; further faults of its driver are not told");
  }
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
         .complain = [this, &slot](const std::string& words) { complain(slot, words); }});
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
    host_->end({EndingCause::kHost, 0, to_failure(done.error()).text});
    return false;
  }
  slot.connected = true;
  return true;
}

Result<void> VirtioDevices::start() {
  if (console_ != nullptr) {
    measure_terminal();  // it may have changed while nobody heard of it
  }
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
