// SPDX-License-Identifier: BSD-2-Clause
// The options that describe a machine; `run` and `layout` share them, so that one shows what the
// other does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <pvh/loader/file.hpp>
#include <pvh/loader/image.hpp>
#include <pvh/vmm/machine.hpp>

#include "commands.hpp"

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

  void add_to(CLI::App& app);
};

// A failure and what it is about.
struct Complaint {
  std::string subject;
  vmm::Failure failure;
};

// Says it, and gives the exit status.
int fail(const Complaint& complaint);

// The files, read and understood. Moves as a whole: `image` refers to `files`, and so does
// `options.modules`.
struct LoadedMachine {
  std::vector<loader::File> files;  // the kernel, then the modules
  loader::Image image;
  vmm::MachineOptions options;
};

[[nodiscard]] std::expected<LoadedMachine, Complaint> load_machine(
    const MachineArguments& arguments, const Rest& rest);

}  // namespace pvh::cli
