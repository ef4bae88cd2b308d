// SPDX-License-Identifier: BSD-2-Clause
#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/event_fd.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/acpi_pm.hpp>
#include <pvh/devices/bus.hpp>
#include <pvh/devices/cmos.hpp>
#include <pvh/devices/debug_console.hpp>
#include <pvh/devices/debug_exit.hpp>
#include <pvh/devices/i8042.hpp>
#include <pvh/devices/serial.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/kvm/kvm.hpp>
#include <pvh/vmm/cpuid.hpp>
#include <pvh/vmm/layout.hpp>
#include <pvh/vmm/machine.hpp>

#include "debug/debugger.hpp"
#include "internal/crash.hpp"
#include "internal/vcpu_state.hpp"
#include "internal/virtio_devices.hpp"

namespace pvh::vmm {
namespace {

using Clock = std::chrono::steady_clock;

Failure host_failure(const char* what) {
  return {FailureKind::kHost, fmt::format("{}: {}", what, base::errno_text(errno))};
}

Result<base::EventFd> make_event() {
  auto event = base::EventFd::create();
  if (!event) {
    return std::unexpected(host_failure("eventfd"));
  }
  return std::move(*event);
}

// An interrupt input of KVM's IOAPIC and PICs.
class KvmInterruptLine final : public devices::InterruptLine {
 public:
  KvmInterruptLine(const kvm::Vm& vm, std::uint32_t gsi) : vm_(vm), gsi_(gsi) {}
  void set(bool level) override {
    // With the irqchip in place and a valid number this ioctl has no way to fail.
    [[maybe_unused]] const auto done = vm_.irq_line(gsi_, level);
  }

 private:
  const kvm::Vm& vm_;
  std::uint32_t gsi_;
};

// Where the guest's console output leaves the monitor.
class ConsoleSink final : public devices::Sink {
 public:
  ConsoleSink(const Console& console, const std::atomic<bool>& stop)
      : console_(console), stop_(stop) {}
  [[nodiscard]] int write(base::Bytes data) override {
    if (bytes_ == 0) {
      first_byte_ = Clock::now();
    }
    bytes_ += data.size();
    return console_.write(data, stop_);
  }
  // Once the vCPUs have ended.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] Statistics::Moment first_byte() const { return first_byte_; }

 private:
  const Console& console_;
  const std::atomic<bool>& stop_;
  std::uint64_t bytes_ = 0;  // written under the serial device's lock
  Statistics::Moment first_byte_;
};

class StderrSink final : public devices::Sink {
 public:
  explicit StderrSink(const std::atomic<bool>& stop) : stop_(stop) {}
  [[nodiscard]] int write(base::Bytes data) override {
    return write_all(STDERR_FILENO, data, stop_);
  }

 private:
  const std::atomic<bool>& stop_;
};

class WakeInput final : public devices::InputWanted {
 public:
  explicit WakeInput(const base::EventFd& event) : event_(event) {}
  void input_wanted() override { event_.signal(); }

 private:
  const base::EventFd& event_;
};

int kick_signal() {
  return SIGRTMIN;
}

// What one vCPU did; merged when its thread has ended.
struct ExitCounts {
  std::map<std::string, std::uint64_t> by_reason;
  std::map<std::uint16_t, std::uint64_t> port_reads;
  std::map<std::uint16_t, std::uint64_t> port_writes;
  std::map<std::uint64_t, std::uint64_t> unclaimed_mmio;
};

template <typename Key>
void merge(std::map<Key, std::uint64_t>& into, const std::map<Key, std::uint64_t>& from) {
  for (const auto& [key, count] : from) {
    into[key] += count;
  }
}

// While a machine runs, the kick ends KVM_RUN and write() with EINTR: its handler does nothing. All
// machines of the process share it.
class KickHandler {
 public:
  KickHandler() {
    const std::scoped_lock lock(mutex_);
    if (users_++ == 0) {
      struct sigaction kick{};
      kick.sa_handler = [](int) {};
      ::sigaction(kick_signal(), &kick, &before_);
    }
  }
  ~KickHandler() {
    const std::scoped_lock lock(mutex_);
    if (--users_ == 0) {
      ::sigaction(kick_signal(), &before_, nullptr);
    }
  }
  KickHandler(const KickHandler&) = delete;
  KickHandler& operator=(const KickHandler&) = delete;

 private:
  static inline std::mutex mutex_;
  static inline unsigned users_ = 0;
  static inline struct sigaction before_{};
};

// Blocks `signals` in this thread, and so in those that it starts, until the end of the scope.
class BlockedSignals {
 public:
  explicit BlockedSignals(const sigset_t& signals) {
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

// The signals that end the machine: those of the list that nobody told this process to ignore.
sigset_t ending_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    struct sigaction action{};
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
      ::sigaddset(&signals, number);
    }
  }
  return signals;
}

// What our threads leave to the caller's: all but those by which a thread learns of its own faults.
sigset_t foreign_signals() {
  sigset_t signals;
  ::sigfillset(&signals);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
    ::sigdelset(&signals, number);
  }
  return signals;
}

devices::Cmos::Options cmos_options(std::span<const base::Range> ram) {
  constexpr base::PhysAddr k4GiB{std::uint64_t{1} << 32};
  std::uint64_t below = 0;
  std::uint64_t above = 0;
  for (const base::Range& range : ram) {
    (range.first() < k4GiB ? below : above) += range.size().value();
  }
  const auto now = [] {
    const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
    return std::int64_t{std::chrono::duration_cast<std::chrono::seconds>(since_1970).count()};
  };
  return {.below_4g = base::ByteSize(below), .above_4g = base::ByteSize(above), .now = now};
}

using VirtioPtr = std::unique_ptr<internal::VirtioDevices>;

class KvmMachine final : public Machine {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Machine>> create(const BootPlan& boot,
                                                               const MachineOptions& options,
                                                               const Console& console,
                                                               VirtioPtr virtio);
  [[nodiscard]] VirtioPtr give_devices() {
    virtio_->detach();
    return std::move(virtio_);
  }

  [[nodiscard]] Result<Ending> run() override;
  [[nodiscard]] const Statistics& statistics() const override { return statistics_; }

 private:
  KvmMachine(const MachineOptions& options, std::span<const base::Range> ram,
             const Console& console, kvm::Vm vm, guest_memory::GuestMemory memory,
             base::EventFd ended, base::EventFd input_wanted)
      : acpi_on_(options.acpi),
        debug_exit_on_(options.debug_exit),
        debug_console_on_(options.debug_console),
        take_signals_(options.take_signals),
        timeout_(options.timeout),
        power_off_patience_(options.power_off_patience),
        stop_token_(options.stop),
        port_devices_(options.port_devices),
        mmio_devices_(options.mmio_devices),
        console_(console),
        memory_(std::move(memory)),
        vm_(std::move(vm)),
        ended_(std::move(ended)),
        input_wanted_(std::move(input_wanted)),
        sink_(console, stop_),
        serial_(serial_line_, sink_, wake_input_),
        cmos_(cmos_options(ram)) {}

  [[nodiscard]] Result<void> add_devices(const BootPlan& boot, VirtioPtr virtio);
  [[nodiscard]] Result<void> add_vcpus(const kvm::System& system, unsigned count,
                                       const loader::EntryState& entry);

  // The vCPU threads' side.
  void vcpu_thread(kvm::Vcpu& vcpu, ExitCounts& counts);
  [[nodiscard]] std::optional<Ending> handle(kvm::Vcpu& vcpu, const kvm::Exit& exit,
                                             ExitCounts& counts);
  [[nodiscard]] std::optional<Ending> handle_port(const kvm::PortExit& exit, ExitCounts& counts);
  [[nodiscard]] std::optional<Ending> handle_mmio(const kvm::MmioExit& exit, ExitCounts& counts);
  [[nodiscard]] static std::optional<Ending> ending_of(devices::Action action);
  void end(Ending ending);

  // The calling thread's side.
  [[nodiscard]] Result<void> wait_for_end(const sigset_t& signals);
  void read_input();
  void pass_input();
  void take_signal(const base::Fd& signal_fd, const base::Fd& patience);
  [[nodiscard]] bool press_power_button();
  [[nodiscard]] Result<void> start_vcpus(std::vector<std::thread>& threads,
                                         std::vector<ExitCounts>& counts);
  void stop_vcpus(std::vector<std::thread>& threads);

  bool acpi_on_;
  bool debug_exit_on_;
  bool debug_console_on_;
  bool take_signals_;
  std::optional<std::chrono::nanoseconds> timeout_;
  std::chrono::nanoseconds power_off_patience_;
  std::stop_token stop_token_;
  std::vector<PortDevice> port_devices_;
  std::vector<MmioDevice> mmio_devices_;
  const Console& console_;
  guest_memory::GuestMemory memory_;  // before vm_: KVM maps it until the VM is closed
  kvm::Vm vm_;
  std::vector<kvm::Vcpu> vcpus_;
  std::unique_ptr<debug::Debugger> debugger_;  // with --gdb only

  base::EventFd ended_;
  base::EventFd input_wanted_;
  std::atomic<bool> stop_ = false;
  std::mutex end_mutex_;
  std::condition_variable vcpu_gone_;
  std::optional<Ending> ending_;
  std::size_t running_ = 0;

  KvmInterruptLine serial_line_{vm_, devices::kCom1Irq};
  ConsoleSink sink_;
  StderrSink debug_sink_{stop_};
  WakeInput wake_input_{input_wanted_};
  devices::Serial serial_;
  devices::I8042 i8042_;
  devices::AcpiPm acpi_pm_;
  devices::Cmos cmos_;
  devices::DebugExit debug_exit_;
  devices::DebugConsole debug_console_{debug_sink_};
  devices::PortBus ports_;
  devices::MmioBus mmio_;
  VirtioPtr virtio_;  // not after give_devices()

  bool button_pressed_ = false;
  bool input_open_ = true;
  EscapeFilter escape_;
  std::vector<std::byte> typed_;  // read, not yet taken by the serial device
  Statistics statistics_;
};

void set_timer(const base::Fd& timer, std::chrono::nanoseconds after) {
  constexpr std::int64_t kNano = 1000000000;
  itimerspec when{};
  when.it_value.tv_sec = after.count() / kNano;
  when.it_value.tv_nsec = after.count() % kNano;
  ::timerfd_settime(timer.get(), 0, &when, nullptr);
}

constexpr std::size_t kMostTyped = std::size_t{64} * 1024;

Result<std::unique_ptr<Machine>> KvmMachine::create(const BootPlan& boot,
                                                    const MachineOptions& options,
                                                    const Console& console, VirtioPtr virtio) {
  std::optional<debug::Listener> listener;
  if (options.gdb) {
    listener.emplace(TRY(debug::Listener::open(*options.gdb)));
  }
  kvm::System system = TRY(lift(kvm::System::open()));
  const int most = TRY(lift(system.check_extension(KVM_CAP_MAX_VCPUS)));
  if (options.cpus > static_cast<unsigned>(std::max(most, 1))) {
    return std::unexpected(
        Failure{FailureKind::kRequest,
                fmt::format("--cpus {}: this KVM has at most {}", options.cpus, most)});
  }
  kvm::Vm vm = TRY(lift(system.create_vm()));
  const auto kvm_ready = Clock::now();

  std::vector<base::Range> ranges = boot.request.ram;
  if (boot.request.table_memory) {
    ranges.push_back(*boot.request.table_memory);
  }
  guest_memory::GuestMemory memory =
      TRY(lift(guest_memory::GuestMemory::create(ranges, options.backing)));
  // Slots before the irqchip: on Linux 6.18 a slot that follows a new in-kernel device waits for an
  // SRCU grace period.
  std::uint32_t slot = 0;
  for (auto& region : memory.regions()) {
    TRY(lift(vm.set_user_memory_region(slot, region.range.first(), region.mapping.bytes())));
    ++slot;
  }
  TRY(lift(vm.set_identity_map_addr(kIdentityMapBase)));
  TRY(lift(vm.set_tss_addr(kTssBase)));
  TRY(lift(vm.create_irqchip()));
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;  // port 0x61 too: kernels calibrate by its gate
  TRY(lift(vm.create_pit2(pit)));

  base::EventFd ended = TRY(make_event());
  base::EventFd input_wanted = TRY(make_event());
  std::unique_ptr<KvmMachine> machine(new KvmMachine(options, boot.request.ram, console,
                                                     std::move(vm), std::move(memory),
                                                     std::move(ended), std::move(input_wanted)));
  machine->statistics_.kvm_ready = kvm_ready;
  machine->statistics_.memory_ready = Clock::now();
  TRY(lift(loader::write(boot.plan, machine->memory_)));
  machine->statistics_.written = Clock::now();
  TRY(machine->add_devices(boot, std::move(virtio)));
  TRY(machine->add_vcpus(system, options.cpus, boot.plan.entry));
  if (listener) {
    machine->debugger_ = TRY(debug::Debugger::create(
        std::move(*listener), {.vm = machine->vm_,
                               .vcpus = machine->vcpus_,
                               .memory = machine->memory_,
                               .link_map = boot.link_map,
                               .kick = kick_signal(),
                               .end = [&it = *machine] { it.end({EndingCause::kQuit, 0, ""}); },
                               .notice = options.notice}));
  }
  return machine;
}

Result<void> KvmMachine::add_devices(const BootPlan& boot, VirtioPtr virtio) {
  using namespace devices;  // NOLINT(google-build-using-namespace): the ports of every device, in
                            // this function only
  struct Place {
    Port port;
    std::uint64_t count;
    Device& device;
  };
  std::vector<Place> places{{kCom1Port, kSerialPorts, serial_},
                            {kI8042DataPort, 1, i8042_.data_port()},
                            {kI8042CommandPort, 1, i8042_.command_port()},
                            {kAcpiPmPort, kAcpiPmPorts, acpi_pm_},
                            {kCmosPort, kCmosPorts, cmos_}};
  if (debug_exit_on_) {
    places.push_back({kDebugExitPort, kDebugExitPorts, debug_exit_});
  }
  if (debug_console_on_) {
    places.push_back({kDebugConsolePort, kDebugConsolePorts, debug_console_});
  }
  // plan_boot() has seen to it that these lie beside ours.
  for (const PortDevice& own : port_devices_) {
    places.push_back({own.first, own.count, *own.device});
  }
  for (const Place& place : places) {
    if (const auto added = ports_.add(place.port, place.count, place.device); !added) {
      return std::unexpected(Failure{FailureKind::kRequest, base::to_text(added.error())});
    }
  }
  for (const MmioDevice& own : mmio_devices_) {
    if (const auto added = mmio_.add(own.first, own.size.value(), *own.device); !added) {
      return std::unexpected(Failure{FailureKind::kRequest, base::to_text(added.error())});
    }
  }
  virtio_ = std::move(virtio);
  return virtio_->attach(
      boot.virtio,
      {.vm = vm_, .memory = memory_, .bus = mmio_, .end = [this](Ending ending) { end(ending); }});
}

Result<void> KvmMachine::add_vcpus(const kvm::System& system, unsigned count,
                                   const loader::EntryState& entry) {
  const auto offer = TRY(lift(system.get_supported_cpuid()));
  CpuidInput input{.cpus = count,
                   .apic_id = 0,
                   .tsc_khz = 0,
                   .host_leaf_15 = host_leaf(0x15),
                   .host_leaf_16 = host_leaf(0x16)};
  vcpus_.reserve(count);
  for (unsigned id = 0; id < count; ++id) {
    vcpus_.push_back(TRY(lift(vm_.create_vcpu(id))));
    kvm::Vcpu& vcpu = vcpus_.back();
    // A KVM that does not know its clock gives an error here; the guest then measures for itself.
    input.tsc_khz = vcpu.get_tsc_khz().value_or(0);
    input.apic_id = id;
    TRY(lift(vcpu.set_cpuid2(guest_cpuid(offer, input))));
    TRY(lift(internal::prepare_vcpu(vcpu)));
  }
  // The other vCPUs wait for the INIT and SIPI that the guest sends them through KVM's local APICs.
  return lift(internal::set_entry_state(vcpus_.front(), entry));
}

void KvmMachine::end(Ending ending) {
  {
    const std::scoped_lock lock(end_mutex_);
    if (!ending_) {
      ending_ = std::move(ending);
      statistics_.end = Clock::now();
    }
  }
  stop_.store(true);
  ended_.signal();
}

std::optional<Ending> KvmMachine::ending_of(devices::Action action) {
  switch (action.kind) {
    case devices::Request::kNone:
      return std::nullopt;
    case devices::Request::kPowerOff:
      return Ending{EndingCause::kPowerOff, 0, ""};
    case devices::Request::kReset:
      return Ending{EndingCause::kReset, 0, ""};
    case devices::Request::kDebugExit:
      return Ending{EndingCause::kDebugExit, action.value, ""};
    case devices::Request::kStop:
      return Ending{EndingCause::kStopped, action.value, ""};
    case devices::Request::kOutputLost:
      return Ending{EndingCause::kHostIo, 0,
                    fmt::format("cannot write the console: {}",
                                base::errno_text(static_cast<int>(action.value)))};
  }
  return std::nullopt;
}

std::optional<Ending> KvmMachine::handle_port(const kvm::PortExit& exit, ExitCounts& counts) {
  const devices::Port port{exit.port};
  if (exit.is_write) {
    ++counts.port_writes[exit.port];
    return ending_of(ports_.write_string(port, exit.data, exit.size));
  }
  ++counts.port_reads[exit.port];
  ports_.read_string(port, exit.data, exit.size);
  return std::nullopt;
}

std::optional<Ending> KvmMachine::handle_mmio(const kvm::MmioExit& exit, ExitCounts& counts) {
  if (!mmio_.claims(exit.address)) {
    ++counts.unclaimed_mmio[exit.address.value() & ~std::uint64_t{0xfff}];
  }
  if (exit.is_write) {
    return ending_of(mmio_.write(exit.address, exit.data));
  }
  mmio_.read(exit.address, exit.data);
  return std::nullopt;
}

std::optional<Ending> KvmMachine::handle(kvm::Vcpu& vcpu, const kvm::Exit& exit,
                                         ExitCounts& counts) {
  const auto count = [&](const char* reason) { ++counts.by_reason[reason]; };
  return std::visit(
      [&](const auto& reason) -> std::optional<Ending> {
        using Reason = std::decay_t<decltype(reason)>;
        if constexpr (std::is_same_v<Reason, kvm::PortExit>) {
          count(reason.is_write ? "port_write" : "port_read");
          return handle_port(reason, counts);
        } else if constexpr (std::is_same_v<Reason, kvm::MmioExit>) {
          count(reason.is_write ? "mmio_write" : "mmio_read");
          return handle_mmio(reason, counts);
        } else if constexpr (std::is_same_v<Reason, kvm::HaltExit>) {
          count("halt");
          return std::nullopt;
        } else if constexpr (std::is_same_v<Reason, kvm::InterruptedExit>) {
          count("interrupted");
          return std::nullopt;
        } else if constexpr (std::is_same_v<Reason, kvm::DebugExit>) {
          count("debug");  // the debugger has seen to it
          return std::nullopt;
        } else if constexpr (std::is_same_v<Reason, kvm::ShutdownExit>) {
          count("shutdown");
          return Ending{EndingCause::kTripleFault, 0,
                        internal::describe_triple_fault(vcpu, memory_)};
        } else if constexpr (std::is_same_v<Reason, kvm::SystemEventExit>) {
          count("system_event");
          const bool reset = reason.type == KVM_SYSTEM_EVENT_RESET;
          const bool crash = reason.type == KVM_SYSTEM_EVENT_CRASH;
          return Ending{crash   ? EndingCause::kTripleFault
                        : reset ? EndingCause::kReset
                                : EndingCause::kPowerOff,
                        0, crash ? "the guest reported its own crash\n" : ""};
        } else if constexpr (std::is_same_v<Reason, kvm::InternalErrorExit>) {
          count("internal_error");
          return Ending{EndingCause::kCannotRun, 0,
                        internal::describe_internal_error(vcpu, memory_, reason)};
        } else if constexpr (std::is_same_v<Reason, kvm::EntryFailedExit>) {
          count("failed_entry");
          return Ending{EndingCause::kCannotRun, 0, internal::describe_failed_entry(vcpu, reason)};
        } else {
          static_assert(std::is_same_v<Reason, kvm::UnknownExit>);
          count("unknown");
          return Ending{EndingCause::kCannotRun, 0,
                        fmt::format("KVM stopped vCPU {} for a reason that we do not know: {}\n",
                                    vcpu.id(), reason.reason)};
        }
      },
      exit);
}

void KvmMachine::vcpu_thread(kvm::Vcpu& vcpu, ExitCounts& counts) {
  sigset_t kick;
  ::sigemptyset(&kick);
  ::sigaddset(&kick, kick_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
  debug::VcpuGate* const gate = debugger_ ? &debugger_->gate() : nullptr;
  if (gate != nullptr) {
    gate->enter(vcpu.id());
  }
  while (!stop_.load(std::memory_order_relaxed)) {
    const auto exit = vcpu.run();
    if (!exit) {
      end({EndingCause::kHost, 0, base::to_text(exit.error())});
      break;
    }
    if (gate != nullptr) {
      gate->pass(vcpu.id(), *exit);
    }
    if (auto ending = handle(vcpu, *exit, counts)) {
      end(std::move(*ending));
      break;
    }
  }
  if (gate != nullptr) {
    gate->leave(vcpu.id());
  }
  const std::scoped_lock lock(end_mutex_);
  --running_;
  vcpu_gone_.notify_one();
}

void KvmMachine::read_input() {
  std::array<std::byte, 4096> buffer;
  const ssize_t size = ::read(console_.input(), buffer.data(), buffer.size());
  if (size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN)) {
    input_open_ = false;  // the guest goes on without
    return;
  }
  const auto typed = std::span(buffer).first(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (!console_.has_escape_keys()) {
    typed_.insert(typed_.end(), typed.begin(), typed.end());
    return;
  }
  const auto result = escape_.feed(typed);
  // A guest that never reads must not make the monitor grow; what no longer fits is lost, as on a
  // real line.
  const std::size_t fits =
      std::min(result.for_guest.size(), kMostTyped - std::min(kMostTyped, typed_.size()));
  typed_.insert(typed_.end(), result.for_guest.begin(),
                result.for_guest.begin() + static_cast<std::ptrdiff_t>(fits));
  if (result.help) {
    [[maybe_unused]] const ssize_t shown =
        ::write(STDERR_FILENO, kEscapeHelp.data(), kEscapeHelp.size());
  }
  if (result.quit) {
    end({EndingCause::kQuit, 0, ""});
  }
}

void KvmMachine::pass_input() {
  const std::size_t taken = typed_.empty() ? 0 : serial_.receive(typed_);
  typed_.erase(typed_.begin(), typed_.begin() + static_cast<std::ptrdiff_t>(taken));
}

// Whether the guest will hear of it: it has enabled the interrupt. One that has not (it has no
// driver for the button, or has not come so far) would let the user wait for nothing.
bool KvmMachine::press_power_button() {
  if (!acpi_on_) {
    return false;
  }
  const auto chip = vm_.get_irqchip(KVM_IRQCHIP_IOAPIC);
  if (!chip || chip->chip.ioapic.redirtbl[kPowerButtonInterrupt].fields.mask != 0) {
    return false;
  }
  return vm_.irq_line(kPowerButtonInterrupt, true).has_value() &&
         vm_.irq_line(kPowerButtonInterrupt, false).has_value();
}

// SIGTERM asks the guest first, once; every other signal, and a second one, ends it.
void KvmMachine::take_signal(const base::Fd& signal_fd, const base::Fd& patience) {
  signalfd_siginfo info{};
  if (::read(signal_fd.get(), &info, sizeof(info)) != sizeof(info)) {
    return;
  }
  if (info.ssi_signo == SIGTERM && !button_pressed_ && press_power_button()) {
    button_pressed_ = true;
    set_timer(patience, power_off_patience_);
    return;
  }
  end({EndingCause::kSignal, info.ssi_signo, ""});
}

Result<void> KvmMachine::wait_for_end(const sigset_t& signals) {
  const base::Fd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  const base::Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  const base::Fd patience(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  if (!signal_fd || !timer || !patience) {
    return std::unexpected(host_failure("signalfd or timerfd"));
  }
  if (timeout_) {
    set_timer(timer, *timeout_);
  }
  while (!stop_.load()) {
    // A terminal is always read, for its escape keys; anything else only as fast as the guest takes
    // it.
    const bool read_more =
        input_open_ && console_.input() >= 0 && (console_.has_escape_keys() || typed_.empty());
    enum : std::size_t { kEnded, kSignal, kTimer, kPatience, kWanted, kInput, kCount };
    std::array<pollfd, kCount> fds{};
    fds[kEnded] = {ended_.get(), POLLIN, 0};
    fds[kSignal] = {signal_fd.get(), POLLIN, 0};
    fds[kTimer] = {timer.get(), POLLIN, 0};
    fds[kPatience] = {patience.get(), POLLIN, 0};
    fds[kWanted] = {input_wanted_.get(), POLLIN, 0};
    fds[kInput] = {read_more ? console_.input() : -1, POLLIN, 0};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
      return std::unexpected(host_failure("poll"));
    }
    if (fds[kSignal].revents != 0) {
      take_signal(signal_fd, patience);
    }
    if (fds[kPatience].revents != 0) {
      end({EndingCause::kSignal, SIGTERM, "the guest did not power off when it was asked to"});
    }
    if (fds[kTimer].revents != 0) {
      end({EndingCause::kTimeout, 0, ""});
    }
    if (fds[kWanted].revents != 0) {
      input_wanted_.clear();
    }
    if (fds[kInput].revents != 0) {
      read_input();
    }
    pass_input();
  }
  return {};
}

Result<void> KvmMachine::start_vcpus(std::vector<std::thread>& threads,
                                     std::vector<ExitCounts>& counts) {
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    {
      const std::scoped_lock lock(end_mutex_);
      ++running_;
    }
    try {
      threads.emplace_back(
          [this, &vcpu = vcpus_[i], &count = counts[i]] { vcpu_thread(vcpu, count); });
    } catch (const std::system_error& error) {  // the one way in which std::thread can say no
      const std::scoped_lock lock(end_mutex_);
      --running_;
      return std::unexpected(
          Failure{FailureKind::kHost,
                  fmt::format("cannot start a thread for vCPU {}: {}", i, error.what())});
    }
  }
  return {};
}

void KvmMachine::stop_vcpus(std::vector<std::thread>& threads) {
  stop_.store(true);
  for (kvm::Vcpu& vcpu : vcpus_) {
    vcpu.set_immediate_exit(true);
  }
  std::unique_lock lock(end_mutex_);
  while (running_ != 0) {
    // Again and again: a thread may have been on its way into a blocking write() when the signal
    // came.
    for (std::thread& thread : threads) {
      ::pthread_kill(thread.native_handle(), kick_signal());
    }
    vcpu_gone_.wait_for(lock, std::chrono::milliseconds(10));
  }
  lock.unlock();
  for (std::thread& thread : threads) {
    thread.join();
  }
}

Result<Ending> KvmMachine::run() {
  const KickHandler kick_handler;
  sigset_t signals;
  ::sigemptyset(&signals);
  sigset_t blocked = foreign_signals();
  if (take_signals_) {
    signals = ending_signals();
    blocked = signals;
    ::sigaddset(&blocked, SIGPIPE);   // a console that went away is an error to report
    ::sigaddset(&blocked, SIGXFSZ);   // and a disk's file that may not grow is one to the guest
    ::sigaddset(&blocked, SIGWINCH);  // the virtio console's signalfd has it
  }
  std::optional<BlockedSignals> block(blocked);

  std::vector<ExitCounts> counts(vcpus_.size());
  std::vector<std::thread> threads;
  std::optional<std::stop_callback<std::function<void()>>> stopper;
  stopper.emplace(stop_token_, [this] { end({EndingCause::kStopped, 0, ""}); });
  statistics_.first_instruction = Clock::now();
  Result<void> started = virtio_->start();
  if (started) {
    started = start_vcpus(threads, counts);
  }
  if (started && debugger_) {
    started = debugger_->start();
  }
  if (!take_signals_) {
    block.reset();  // our threads have theirs; this one is the caller's
  }
  const Result<void> waited = started ? wait_for_end(signals) : started;
  if (debugger_) {
    debugger_->let_go();
  }
  stop_vcpus(threads);
  virtio_->stop();
  stopper.reset();
  if (debugger_) {
    debugger_->finish(ending_);
  }

  if (ending_ && ending_->cause == EndingCause::kTimeout) {
    ending_->text = internal::describe_positions(vcpus_);
  }

  // SIGPIPE and SIGXFSZ stay pending in threads that are gone now; the signals that ended us were
  // taken by the signalfd.
  block.reset();
  for (const ExitCounts& count : counts) {
    merge(statistics_.exits, count.by_reason);
    merge(statistics_.port_reads, count.port_reads);
    merge(statistics_.port_writes, count.port_writes);
    merge(statistics_.unclaimed_mmio, count.unclaimed_mmio);
  }
  statistics_.console_bytes = sink_.bytes();
  statistics_.first_console_byte = sink_.first_byte();
  if (!waited) {
    return std::unexpected(waited.error());
  }
  return *ending_;
}

}  // namespace

std::string_view to_string(EndingCause cause) {
  switch (cause) {
    case EndingCause::kPowerOff:
      return "power-off";
    case EndingCause::kReset:
      return "reset";
    case EndingCause::kDebugExit:
      return "debug-exit";
    case EndingCause::kQuit:
      return "quit";
    case EndingCause::kStopped:
      return "stopped";
    case EndingCause::kTripleFault:
      return "triple-fault";
    case EndingCause::kCannotRun:
      return "cannot-run";
    case EndingCause::kHost:
      return "host";
    case EndingCause::kHostIo:
      return "host-io";
    case EndingCause::kSignal:
      return "signal";
    case EndingCause::kTimeout:
      return "timeout";
  }
  return "unknown";
}

Result<std::unique_ptr<Machine>> Machine::create(const BootPlan& boot,
                                                 const MachineOptions& options,
                                                 const Console& console) {
  // First, because a file that is not there is the user's to mend wherever KVM is.
  return KvmMachine::create(boot, options, console, TRY(internal::VirtioDevices::create(options)));
}

Result<std::unique_ptr<Machine>> Machine::restart(std::unique_ptr<Machine> ended,
                                                  const BootPlan& boot,
                                                  const MachineOptions& options,
                                                  const Console& console) {
  VirtioPtr devices = static_cast<KvmMachine&>(*ended).give_devices();
  ended.reset();  // its memory, before there is as much again
  return KvmMachine::create(boot, options, console, std::move(devices));
}

}  // namespace pvh::vmm
