// SPDX-License-Identifier: BSD-2-Clause
// One pair of functions a command: add_x() describes its options to CLI11, and what it registers
// runs it. Each gives the exit status.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace pvh::cli {

// What was asked for, to be run once the whole command line has been understood.
using Action = std::function<int()>;

// What stands after "--": the guest's command line, or the lab's command.
using Rest = std::vector<std::string>;

void add_run(CLI::App& app, const Rest& rest, Action& action);
void add_layout(CLI::App& app, const Rest& rest, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_check(CLI::App& app, Action& action);
void add_extract(CLI::App& app, Action& action);
void add_lab(CLI::App& app, const Rest& rest, Action& action);

}  // namespace pvh::cli
