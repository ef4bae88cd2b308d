// SPDX-License-Identifier: BSD-2-Clause
// The options that describe a machine; `run` and `layout` share them, so that one shows what the
// other does.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <pvh/vmm/builder.hpp>

#include "commands.hpp"

namespace pvh::cli {

struct MachineArguments {
  std::string kernel;
  std::string memory = "256M";
  bool hugepages = false;
  bool memfd = false;
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
  // The machine that they ask for; no file has been looked at yet.
  [[nodiscard]] vmm::Result<vmm::MachineBuilder> to_builder(const Rest& rest) const;
};

}  // namespace pvh::cli
