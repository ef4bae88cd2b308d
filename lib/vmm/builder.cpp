// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/try.hpp>
#include <pvh/vmm/builder.hpp>
#include <pvh/vmm/load.hpp>

namespace pvh::vmm {

using Clock = std::chrono::steady_clock;

namespace internal {

// On the heap, because its parts refer to one another.
struct Planned {
  std::string name;  // the kernel's
  std::vector<loader::File> modules;
  LoadedImage kernel;
  MachineOptions options;
  ConsoleSpec console;
  bool restart;
  Statistics::Moment image_read;
  Statistics::Moment planned;
  std::unique_ptr<const BootPlan> boot;
};

struct Made {
  using ForwardStop = std::stop_callback<std::function<void()>>;

  std::unique_ptr<Planned> planned;
  std::stop_source stop;              // of VirtualMachine::stop(), and
  std::optional<ForwardStop> caller;  // when the caller's own token says so
  Console console;
  Clock::time_point started;
  std::unique_ptr<Machine> machine;
  bool ran = false;
  Statistics statistics;
};

}  // namespace internal

namespace {

// What is about no other file is about the kernel.
std::unexpected<Failure> about(const std::string& kernel, Failure failure) {
  if (failure.subject.empty()) {
    failure.subject = kernel;
  }
  return std::unexpected(std::move(failure));
}

void warn_of_metadata(const internal::Planned& planned) {
  const loader::Image& image = planned.kernel.image;
  if (loader::first_module_is_metadata(image) && !planned.options.modules.empty()) {
    tell(planned.options.notice, planned.name,
         fmt::format("{} takes its first module for its loader's metadata, and {} is none",
                     image.guest_os, planned.options.modules.front().name));
  }
}

}  // namespace

VirtualMachine::VirtualMachine(std::unique_ptr<internal::Made> made) : made_(std::move(made)) {}
VirtualMachine::VirtualMachine(VirtualMachine&&) noexcept = default;
VirtualMachine& VirtualMachine::operator=(VirtualMachine&&) noexcept = default;
VirtualMachine::~VirtualMachine() = default;

Result<Ending> VirtualMachine::run() {
  internal::Made& made = *made_;
  internal::Planned& planned = *made.planned;
  if (std::exchange(made.ran, true)) {
    return about(planned.name, {FailureKind::kRequest, "the machine has run; build another one"});
  }
  const auto time_limit = planned.options.timeout;
  for (;;) {
    auto ended = made.machine->run();
    made.statistics = made.machine->statistics();
    made.statistics.image_read = planned.image_read;
    made.statistics.planned = planned.planned;
    if (!ended) {
      return about(planned.name, std::move(ended.error()));
    }
    if (ended->cause != EndingCause::kReset || !planned.restart) {
      return ended;
    }
    // The limit is for all of it together.
    if (time_limit) {
      const auto used = Clock::now() - made.started;
      planned.options.timeout = std::max(*time_limit - used, std::chrono::nanoseconds(1));
    }
    auto machine =
        Machine::restart(std::move(made.machine), *planned.boot, planned.options, made.console);
    if (!machine) {
      return about(planned.name, std::move(machine.error()));
    }
    made.machine = std::move(*machine);
  }
}

void VirtualMachine::stop() {
  made_->stop.request_stop();
}

const Statistics& VirtualMachine::statistics() const {
  return made_->statistics;
}

PlannedMachine::PlannedMachine(std::unique_ptr<internal::Planned> planned)
    : planned_(std::move(planned)) {}
PlannedMachine::PlannedMachine(PlannedMachine&&) noexcept = default;
PlannedMachine& PlannedMachine::operator=(PlannedMachine&&) noexcept = default;
PlannedMachine::~PlannedMachine() = default;

const loader::Image& PlannedMachine::image() const {
  return planned_->kernel.image;
}

const MachineOptions& PlannedMachine::options() const {
  return planned_->options;
}

const BootPlan& PlannedMachine::boot() const {
  return *planned_->boot;
}

Result<VirtualMachine> PlannedMachine::make() && {
  internal::Planned& planned = *planned_;
  warn_of_metadata(planned);
  auto console = Console::open(planned.console, planned.options.notice);
  if (!console) {
    if (console.error().subject.empty()) {
      console.error().subject = "--console";
    }
    return std::unexpected(std::move(console.error()));
  }
  std::unique_ptr<internal::Made> made(new internal::Made{.planned = std::move(planned_),
                                                          .stop = {},
                                                          .caller = {},
                                                          .console = std::move(*console),
                                                          .started = Clock::now(),
                                                          .machine = nullptr,
                                                          .ran = false,
                                                          .statistics = {}});
  made->caller.emplace(planned.options.stop,
                       [stop = made->stop]() mutable { stop.request_stop(); });
  planned.options.stop = made->stop.get_token();
  auto machine = Machine::create(*planned.boot, planned.options, made->console);
  if (!machine) {
    return about(planned.name, std::move(machine.error()));
  }
  made->machine = std::move(*machine);
  return VirtualMachine(std::move(made));
}

MachineBuilder::MachineBuilder(std::string kernel) : kernel_(std::move(kernel)) {
  options_.take_signals = false;
}

MachineBuilder& MachineBuilder::memory(base::ByteSize size) {
  options_.memory = size;
  return *this;
}

MachineBuilder& MachineBuilder::cpus(unsigned count) {
  options_.cpus = count;
  return *this;
}

MachineBuilder& MachineBuilder::command_line(std::string line) {
  options_.command_line = std::move(line);
  return *this;
}

MachineBuilder& MachineBuilder::module(std::string path, std::string command_line) {
  modules_.push_back({std::move(path), std::move(command_line)});
  return *this;
}

MachineBuilder& MachineBuilder::disk(std::string path) {
  DiskRequest request;
  request.file.path = std::move(path);
  return disk(std::move(request));
}

MachineBuilder& MachineBuilder::disk(DiskRequest request) {
  options_.disks.push_back(std::move(request));
  return *this;
}

MachineBuilder& MachineBuilder::net(NetOption option) {
  options_.nets.push_back(std::move(option));
  return *this;
}

MachineBuilder& MachineBuilder::vsock(VsockRequest request) {
  options_.vsock = std::move(request);
  return *this;
}

MachineBuilder& MachineBuilder::console(ConsoleSpec spec) {
  console_ = std::move(spec);
  return *this;
}

MachineBuilder& MachineBuilder::port(std::uint16_t first, std::uint64_t count, Handlers handlers) {
  options_.port_devices.push_back({devices::Port{first}, count, make_device(std::move(handlers))});
  return *this;
}

MachineBuilder& MachineBuilder::mmio(base::PhysAddr first, base::ByteSize size, Handlers handlers) {
  options_.mmio_devices.push_back({first, size, make_device(std::move(handlers))});
  return *this;
}

MachineBuilder& MachineBuilder::restart_on_reset(bool on) {
  restart_ = on;
  return *this;
}

Result<PlannedMachine> MachineBuilder::plan() const {
  std::vector<loader::File> modules;
  MachineOptions options = options_;
  if (options.backing.name.empty()) {
    options.backing.name = "pvh:" + kernel_.substr(kernel_.rfind('/') + 1);
  }
  for (const Module& module : modules_) {
    modules.push_back(TRY(open_file(module.path)));
    options.modules.push_back({module.path, modules.back().bytes(), module.command_line});
  }
  LoadedImage kernel = TRY(load_image(kernel_));
  const auto image_read = Clock::now();
  std::unique_ptr<internal::Planned> planned(new internal::Planned{.name = kernel_,
                                                                   .modules = std::move(modules),
                                                                   .kernel = std::move(kernel),
                                                                   .options = std::move(options),
                                                                   .console = console_,
                                                                   .restart = restart_,
                                                                   .image_read = image_read,
                                                                   .planned = {},
                                                                   .boot = nullptr});
  auto boot = plan_boot(planned->kernel.image, planned->options);
  if (!boot) {
    return about(kernel_, std::move(boot.error()));
  }
  planned->boot = std::move(*boot);
  planned->planned = Clock::now();
  return PlannedMachine(std::move(planned));
}

Result<VirtualMachine> MachineBuilder::build() const {
  return TRY(plan()).make();
}

}  // namespace pvh::vmm
