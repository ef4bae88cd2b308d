// SPDX-License-Identifier: BSD-2-Clause
// The options that describe a machine; `run` and `layout` share them, so that one shows what the
// other does.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <pvh/vmm/machine.hpp>

#include "commands.hpp"
#include "load.hpp"

namespace pvh::cli {

struct MachineArguments {
  std::string kernel;
  std::string memory = "256M";
  std::string cpus = "1";
  std::string append;
  std::string initrd;
  std::vector<std::string> modules;
  std::string start_info = "1";
  std::string memmap = "strict";
  bool poison = false;
  bool no_acpi = false;
  bool rng = true;
  std::string balloon;
  std::string vsock;
  std::vector<std::string> disks;
  std::vector<std::string> nets;
  std::string virtio_console;

  void add_to(CLI::App& app);
};

// Everything that the arguments name. Moves as a whole: `options.modules` refers to `modules`.
struct LoadedMachine {
  LoadedImage kernel;
  std::vector<loader::File> modules;
  vmm::MachineOptions options;
};

[[nodiscard]] std::expected<LoadedMachine, Complaint> load_machine(
    const MachineArguments& arguments, const Rest& rest);

}  // namespace pvh::cli
