// SPDX-License-Identifier: BSD-2-Clause
// `pvh lab`: a command where KVM is real, even on a machine without vmx or svm. The lab itself is
// lab/lab.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>

#include "commands.hpp"
#include "exit_status.hpp"
#include "output.hpp"

namespace pvh::cli {
namespace {

std::filesystem::path own_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error);
}

// Where the lab's program is: named by the user, installed beside us, or in the source tree that we
// were built in.
std::string find_lab() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread, and nobody changes the environment
  if (const char* const named = std::getenv("PVH_LAB")) {
    return named;
  }
  const auto directory = own_path().parent_path();
  for (const auto& candidate :
       {directory / "../libexec/pvh/lab/lab", directory / "../../../lab/lab"}) {
    std::error_code error;
    const auto path = std::filesystem::canonical(candidate, error);
    if (!error) {
      return path;
    }
  }
  return "";
}

int lab(const Rest& rest, const std::string& timeout, const std::vector<std::string>& files) {
  if (rest.empty()) {
    complain("lab", "no command: write `pvh lab -- COMMAND...`");
    return kUsage;
  }
  const std::string program = find_lab();
  if (program.empty()) {
    complain("lab",
             "lab/lab is neither installed nor in a source tree around this program; name it in "
             "PVH_LAB");
    return kMissing;
  }
  Rest words{program, "run"};
  if (!timeout.empty()) {
    words.insert(words.end(), {"--timeout", timeout});
  }
  for (const std::string& file : files) {
    words.insert(words.end(), {"--file", file});
  }
  words.emplace_back("--");
  words.insert(words.end(), rest.begin(), rest.end());
  // In the lab, `pvh` is this very program.
  const auto command = words.end() - static_cast<std::ptrdiff_t>(rest.size());
  if (*command == "pvh") {
    *command = own_path();
  }
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  complain(program, base::errno_text(errno));
  return kMissing;
}

}  // namespace

void add_lab(CLI::App& app, const Rest& rest, Action& action) {
  struct LabArguments {
    std::string timeout;
    std::vector<std::string> files;
  };
  const auto arguments = std::make_shared<LabArguments>();
  auto* const command = app.add_subcommand(
      "lab", "run a command where KVM is real, even here: pvh lab -- pvh run vmlinuz");
  command->add_option("--timeout", arguments->timeout, "give up after so long, with status 124")
      ->type_name("SECONDS");
  command
      ->add_option("--file", arguments->files,
                   "bring this file along; those that the command names come by themselves")
      ->type_name("PATH")
      ->expected(1)
      ->take_all();
  command->callback([arguments, &rest, &action] {
    action = [arguments, &rest] { return lab(rest, arguments->timeout, arguments->files); };
  });
}

}  // namespace pvh::cli
