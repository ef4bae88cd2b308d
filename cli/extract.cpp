// SPDX-License-Identifier: BSD-2-Clause
// `pvh extract`: the ELF inside a bzImage or a compressed kernel.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/vmm/console.hpp>
#include <pvh/vmm/load.hpp>

#include "commands.hpp"
#include "exit_status.hpp"
#include "output.hpp"

namespace pvh::cli {
namespace {

struct ExtractArguments {
  std::string kernel;
  std::string output;
};

int write_all(int fd, base::Bytes bytes) {
  const std::atomic<bool> never{false};
  return vmm::write_all(fd, bytes, never);
}

// Beside the target first, then renamed: a full disk leaves no half kernel under the name that was
// asked for.
int write_file(const std::string& path, base::Bytes bytes) {
  const std::string partial = fmt::format("{}.partial.{}", path, ::getpid());
  const base::Fd file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!file) {
    return errno;
  }
  int error = write_all(file.get(), bytes);
  if (error == 0 && ::rename(partial.c_str(), path.c_str()) != 0) {
    error = errno;
  }
  if (error != 0) {
    ::unlink(partial.c_str());
  }
  return error;
}

int extract(const ExtractArguments& arguments) {
  const auto loaded = vmm::load_image(arguments.kernel);
  if (!loaded) {
    return fail(loaded.error());
  }
  const bool to_stdout = arguments.output == "-";
  const int error = to_stdout ? write_all(STDOUT_FILENO, loaded->image.elf)
                              : write_file(arguments.output, loaded->image.elf);
  if (error != 0) {
    complain(to_stdout ? "stdout" : arguments.output, base::errno_text(error));
    return kHostIo;
  }
  return kOk;
}

}  // namespace

void add_extract(CLI::App& app, Action& action) {
  auto* const command =
      app.add_subcommand("extract", "take the ELF out of a bzImage or a compressed kernel");
  const auto arguments = std::make_shared<ExtractArguments>();
  command->add_option("KERNEL", arguments->kernel, "bzImage or compressed kernel")->required();
  command->add_option("-o,--output", arguments->output, "where to write the ELF; - is stdout")
      ->type_name("FILE")
      ->required();
  command->callback([arguments, &action] { action = [arguments] { return extract(*arguments); }; });
}

}  // namespace pvh::cli
