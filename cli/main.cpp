// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "commands.hpp"
#include "exit_status.hpp"
#include "output.hpp"
#include "process_start.hpp"

namespace pvh::cli {
namespace {

int main(int argc, const char* const* argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  // What follows "--" belongs to the guest or the lab; CLI11 must not look at it.
  const auto dashes = std::ranges::find(words, "--");
  const bool has_dashes = dashes != words.end();
  const Rest rest(has_dashes ? dashes + 1 : dashes, words.end());
  words.erase(dashes, words.end());

  CLI::App app("PVH direct boot: run kernels in microVMs, and see why one does not boot", "pvh");
  app.set_version_flag("--version", "pvh " PVH_VERSION);
  app.require_subcommand(1);
  Action action;
  add_run(app, rest, action);
  add_inspect(app, action);
  add_check(app, action);
  add_layout(app, rest, action);
  add_extract(app, action);
  add_lab(app, rest, action);
  if (words.empty()) {
    complain("", "which command? see `pvh --help`");
    return kUsage;
  }
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  const bool known =
      std::ranges::find(commands, words.front(), &CLI::App::get_name) != commands.end();
  if (!known && !words.front().starts_with('-')) {
    complain(words.front(), "there is no such command; see `pvh --help`");
    return kUsage;
  }
  try {
    std::ranges::reverse(words);  // CLI11 takes them from the back
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    return print(chosen.empty() ? app.help() : chosen.front()->help("pvh"));
  } catch (const CLI::CallForVersion&) {
    return print("pvh " PVH_VERSION "\n");
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    const std::string name = chosen.empty() ? "" : " " + chosen.front()->get_name();
    complain("", fmt::format("{}; see `pvh{} --help`", error.what(), name));
    return kUsage;
  }
  const bool takes_rest =
      app.got_subcommand("run") || app.got_subcommand("layout") || app.got_subcommand("lab");
  if (has_dashes && !takes_rest) {
    complain("--", "this command takes nothing after --");
    return kUsage;
  }
  return action();
}

// A descriptor 0, 1 or 2 that the caller closed would be the number of the next file we open, and
// the guest's console would go there. O_PATH takes the number, and every read or write of it still
// fails with EBADF.
void keep_standard_descriptors() {
  for (int fd = ::open("/dev/null", O_PATH); fd >= 0; fd = ::open("/dev/null", O_PATH)) {
    if (fd > STDERR_FILENO) {
      ::close(fd);
      return;
    }
  }
}

}  // namespace
}  // namespace pvh::cli

int main(int argc, char** argv) {
  pvh::cli::note_main_start();
  pvh::cli::keep_standard_descriptors();
  try {
    return pvh::cli::main(argc, argv);
  } catch (const std::exception& error) {
    // Only the host's memory can be behind this: nothing of ours throws.
    pvh::cli::complain("", error.what());
    return pvh::cli::kHostRefuses;
  }
}
