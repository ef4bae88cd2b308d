// SPDX-License-Identifier: BSD-2-Clause
// The machine: a plan for it (pure), then KVM, devices and threads, run until the guest or somebody
// else ends it.
//
//   Image + MachineOptions --plan_boot--> BootPlan --Machine::create--> Machine --run--> Ending
//
// `pvh layout` stops after the first step, so it cannot disagree with `pvh run`.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/devices/rate_limiter.hpp>
#include <pvh/devices/virtio/disk.hpp>
#include <pvh/guest_memory/guest_memory.hpp>
#include <pvh/loader/image.hpp>
#include <pvh/loader/plan.hpp>
#include <pvh/vmm/console.hpp>
#include <pvh/vmm/custom_device.hpp>
#include <pvh/vmm/failure.hpp>
#include <pvh/vmm/gdb_address.hpp>
#include <pvh/vmm/machine_description.hpp>
#include <pvh/vmm/net_option.hpp>
#include <pvh/vmm/notice.hpp>

namespace pvh::vmm {

// Found by the guest in the order in which they are given.
struct DiskRequest {
  devices::virtio::DiskOptions file;
  std::string id;  // what the guest may ask for; at most 20 bytes
  devices::RateLimits limits{};
};

// Sockets between host and guest: devices/virtio/vsock.hpp has the convention.
struct VsockRequest {
  std::uint64_t cid = 3;  // the guest's address, 3 to 2^32 - 2
  std::string path;       // where the host's programs connect
};

// Memory that the guest reports as free goes back; more when it is told so:
// devices/virtio/balloon_control.hpp has the words.
struct BalloonRequest {
  std::string control;  // where the host's programs tell it; empty for nowhere
};

struct MachineOptions {
  base::ByteSize memory{std::uint64_t{256} << 20};
  guest_memory::Backing backing{};  // what that is on the host
  unsigned cpus = 1;
  std::string command_line;
  std::vector<loader::ModuleRequest> modules;
  std::uint32_t start_info_version = 1;
  loader::Shape shape = loader::Shape::kStrict;
  bool poison = false;
  bool acpi = true;  // tables and RSDP; without them a guest has the MP table and the command line
  bool rng = true;
  std::vector<DiskRequest> disks{};
  std::optional<VsockRequest> vsock{};
  std::optional<BalloonRequest> balloon{};
  std::vector<NetOption> nets{};
  std::optional<ConsoleSpec> virtio_console{};  // beside the serial one
  bool debug_exit = false;
  bool debug_console = false;
  std::optional<std::chrono::nanoseconds> timeout;
  // What a guest has to end after SIGTERM pressed its power button.
  std::chrono::nanoseconds power_off_patience = std::chrono::seconds(10);
  std::optional<GdbAddress> gdb;  // the first instruction waits for a debugger
  std::vector<PortDevice> port_devices{};
  std::vector<MmioDevice> mmio_devices{};
  // Whether run() ends by signals; else it takes none, and those of the process stay with threads
  // that are not the machine's.
  bool take_signals = true;
  std::stop_token stop{};  // a request, from any thread and at any time, ends the machine
  Notice notice{};
};

// The most vCPUs that the tables can describe; KVM may allow fewer.
inline constexpr unsigned kMaxCpus = 255;

// A part of the kernel that is linked to run elsewhere than where it is loaded.
struct LinkedRange {
  std::uint64_t linear;
  base::Range physical;
};

struct BootPlan {
  loader::PlanRequest request;
  std::vector<VirtioSlot> virtio;     // in the order in which the machine makes its devices
  std::vector<LinkedRange> link_map;  // of the segments in the upper half of the address space
  loader::Plan plan;                  // refers to the image and to `request`
};

// Everything about the machine that is decided before KVM is asked for anything, and whether the
// caller's own devices lie where there is nothing else. `image` and what options.modules refer to
// must outlive the result.
[[nodiscard]] Result<std::unique_ptr<const BootPlan>> plan_boot(const loader::Image& image,
                                                                const MachineOptions& options);

enum class EndingCause {
  kPowerOff,
  kReset,
  kDebugExit,    // value: what the guest wrote
  kQuit,         // Ctrl-A x
  kStopped,      // MachineOptions::stop, or a device by Request::kStop; value: what that gave
  kTripleFault,  // text: registers
  kCannotRun,    // KVM gave an instruction or the vCPU's state up; text: which, where, why
  kHost,         // KVM failed; text
  kHostIo,       // a console cannot be written; text
  kSignal,       // value: its number; text: what was tried before, or empty
  kTimeout       // text: where each vCPU was
};

[[nodiscard]] std::string_view to_string(EndingCause cause);  // "power-off"

struct Ending {
  EndingCause cause;
  std::uint32_t value = 0;
  std::string text;
};

// Moments are CLOCK_MONOTONIC; those that never came are empty.
struct Statistics {
  using Moment = std::optional<std::chrono::steady_clock::time_point>;
  Moment image_read;  // this and the next: of a PlannedMachine
  Moment planned;
  Moment kvm_ready;
  Moment memory_ready;
  Moment written;
  Moment first_instruction;
  Moment first_console_byte;
  Moment end;
  std::uint64_t console_bytes = 0;
  std::map<std::string, std::uint64_t> exits;         // by reason
  std::map<std::uint16_t, std::uint64_t> port_reads;  // by port, one for each exit
  std::map<std::uint16_t, std::uint64_t> port_writes;
  std::map<std::uint64_t, std::uint64_t> unclaimed_mmio;  // by address of the page
};

class Machine {
 public:
  // `boot` and `console` must outlive the Machine.
  [[nodiscard]] static Result<std::unique_ptr<Machine>> create(const BootPlan& boot,
                                                               const MachineOptions& options,
                                                               const Console& console);
  // A machine as new in place of one that ended: the same memory size, the same devices with what
  // the guest left in them. Takes what create() took then, but for a `timeout` of its own.
  [[nodiscard]] static Result<std::unique_ptr<Machine>> restart(std::unique_ptr<Machine> ended,
                                                                const BootPlan& boot,
                                                                const MachineOptions& options,
                                                                const Console& console);
  virtual ~Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // To the end, once. While it runs SIGRTMIN is taken and, with take_signals, SIGINT, SIGTERM,
  // SIGHUP and SIGQUIT end the machine (unless they were ignored before); the calling thread's
  // signal mask is put back afterwards. SIGTERM presses the power button first, if the guest
  // listens to it, and ends the machine when it comes a second time or the guest is still there
  // after power_off_patience. Machines of one process may run at once, but one of them only may
  // take signals.
  [[nodiscard]] virtual Result<Ending> run() = 0;

  // Of the finished run.
  [[nodiscard]] virtual const Statistics& statistics() const = 0;

 protected:
  Machine() = default;
};

}  // namespace pvh::vmm
