// SPDX-License-Identifier: BSD-2-Clause
// A microVM in a few lines, for programs that embed one:
//
//   auto machine = MachineBuilder("vmlinuz").memory(base::ByteSize(512 << 20)).disk("root.img")
//                      .command_line("console=ttyS0 root=/dev/vda")
//                      .console({.kind = ConsoleKind::kStdio}).build();
//   if (!machine) { ... to_text(machine.error()) ... }
//   auto ended = machine->run();
//
// What it gives owns what it needs: files, images, devices; there is nothing that must outlive it.
// An error is a value with the name of the file or the place that it is about. Nothing is printed,
// no signal is taken, nothing throws but for want of memory. docs/embedding.md tells the rest.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <pvh/vmm/console.hpp>
#include <pvh/vmm/custom_device.hpp>
#include <pvh/vmm/failure.hpp>
#include <pvh/vmm/machine.hpp>

namespace pvh::vmm {

namespace internal {
struct Planned;
struct Made;
}  // namespace internal

class VirtualMachine {
 public:
  VirtualMachine(VirtualMachine&&) noexcept;
  VirtualMachine& operator=(VirtualMachine&&) noexcept;
  ~VirtualMachine();

  // To the end, once, as Machine::run(); started again for each reset, where that was asked for.
  [[nodiscard]] Result<Ending> run();

  // Ends it, from any thread (not from a signal handler): run() then gives kStopped. Before run(),
  // that ends at once; after its end nothing happens. Handlers of its devices, which are there
  // before it, have MachineOptions::stop.
  void stop();

  // Of what has run, the last time that it did.
  [[nodiscard]] const Statistics& statistics() const;

 private:
  friend class PlannedMachine;
  explicit VirtualMachine(std::unique_ptr<internal::Made> made);

  std::unique_ptr<internal::Made> made_;
};

// All that is decided before KVM is asked for anything, with the files that it came from.
class PlannedMachine {
 public:
  PlannedMachine(PlannedMachine&&) noexcept;
  PlannedMachine& operator=(PlannedMachine&&) noexcept;
  ~PlannedMachine();

  [[nodiscard]] const loader::Image& image() const;
  [[nodiscard]] const MachineOptions& options() const;
  [[nodiscard]] const BootPlan& boot() const;

  // Opens disks, networks, sockets and the console, and makes the machine.
  [[nodiscard]] Result<VirtualMachine> make() &&;

 private:
  friend class MachineBuilder;
  explicit PlannedMachine(std::unique_ptr<internal::Planned> planned);

  std::unique_ptr<internal::Planned> planned_;
};

// What a machine shall be. Unless told otherwise: 256 MiB, one processor, a source of randomness,
// no console. Checks nothing before plan(), and may make several machines.
class MachineBuilder {
 public:
  // A file that pvh::loader knows: ELF, bzImage, either one compressed.
  explicit MachineBuilder(std::string kernel);

  MachineBuilder& memory(base::ByteSize size);
  MachineBuilder& cpus(unsigned count);
  MachineBuilder& command_line(std::string line);
  // Files, in this order; Linux's initrd is the first.
  MachineBuilder& module(std::string path, std::string command_line = {});
  MachineBuilder& disk(std::string path);
  MachineBuilder& disk(DiskRequest request);
  MachineBuilder& net(NetOption option);
  MachineBuilder& vsock(VsockRequest request);
  MachineBuilder& console(ConsoleSpec spec);
  // Devices of the caller's: custom_device.hpp says who calls them.
  MachineBuilder& port(std::uint16_t first, std::uint64_t count, Handlers handlers);
  MachineBuilder& mmio(base::PhysAddr first, base::ByteSize size, Handlers handlers);
  // Whether a reset starts the guest again, with its devices as they are, instead of ending it.
  MachineBuilder& restart_on_reset(bool on = true);

  // Everything else. The modules that it names stand before those of module(), and their bytes must
  // outlive the machine.
  [[nodiscard]] MachineOptions& options() { return options_; }

  [[nodiscard]] Result<PlannedMachine> plan() const;
  // plan(), then make().
  [[nodiscard]] Result<VirtualMachine> build() const;

 private:
  struct Module {
    std::string path;
    std::string command_line;
  };

  std::string kernel_;
  std::vector<Module> modules_;
  MachineOptions options_;
  ConsoleSpec console_{.kind = ConsoleKind::kNone};
  bool restart_ = false;
};

}  // namespace pvh::vmm
