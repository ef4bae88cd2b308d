// SPDX-License-Identifier: BSD-2-Clause
// `pvh run`: a kernel in a microVM, from its files to the exit status.
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>
#include <pvh/vmm/builder.hpp>

#include "commands.hpp"
#include "exit_status.hpp"
#include "machine_arguments.hpp"
#include "options.hpp"
#include "output.hpp"
#include "process_start.hpp"

namespace pvh::cli {
namespace {

struct RunArguments {
  MachineArguments machine;
  std::string console = "stdio";
  bool debug_exit = false;
  bool debug_console = false;
  std::optional<std::string> gdb;
  std::string timeout;
  std::string grace;
  std::string stats;
  std::string on_reboot = "exit";
};

// Says on stderr what the exit status alone does not, and gives that status.
int report(const vmm::Ending& ending, const std::string& kernel, const std::string& timeout) {
  using vmm::EndingCause;
  switch (ending.cause) {
    case EndingCause::kPowerOff:
    case EndingCause::kReset:
    case EndingCause::kQuit:
    case EndingCause::kStopped:
      return kOk;
    case EndingCause::kDebugExit: {
      const int status = static_cast<int>((ending.value * 2 + 1) & 0xff);
      if (status == kMalformed || status == kHostRefuses || status == kCannotRun) {
        complain(kernel,
                 fmt::format("status {} is the guest's own: it wrote {:#x} to the debug exit port",
                             status, ending.value));
      }
      return status;
    }
    case EndingCause::kTripleFault:
      complain(kernel, ending.text);
      return kGuestCrashed;
    case EndingCause::kCannotRun:
      complain(kernel, ending.text);
      return kCannotRun;
    case EndingCause::kHost:
      complain(kernel, ending.text);
      return kHostRefuses;
    case EndingCause::kHostIo:
      complain("", ending.text);
      return kHostIo;
    case EndingCause::kSignal:
      complain(kernel,
               fmt::format("ended by SIG{}{}{}", ::sigabbrev_np(static_cast<int>(ending.value)),
                           ending.text.empty() ? "" : ": ", ending.text));
      return kSignalBase + static_cast<int>(ending.value);
    case EndingCause::kTimeout:
      complain(kernel, fmt::format("the guest was still running after {} seconds: {}", timeout,
                                   ending.text));
      return kTimeout;
  }
  return kHostIo;
}

nlohmann::json microseconds(vmm::Statistics::Moment moment) {
  if (!moment) {
    return nullptr;
  }
  return std::chrono::duration_cast<std::chrono::microseconds>(*moment - process_start()).count();
}

nlohmann::json port_counts(const std::map<std::uint16_t, std::uint64_t>& counts) {
  auto json = nlohmann::json::object();
  for (const auto& [port, count] : counts) {
    json[fmt::format("{:#x}", port)] = count;
  }
  return json;
}

std::string statistics_json(const vmm::MachineOptions& options, const vmm::Statistics& statistics,
                            const vmm::Ending& ending, int status) {
  auto mmio = nlohmann::json::object();
  for (const auto& [page, count] : statistics.unclaimed_mmio) {
    mmio[fmt::format("{:#x}", page)] = count;
  }
  const nlohmann::json json = {
      {"version", 1},
      {"ending", to_string(ending.cause)},
      {"exit_status", status},
      {"cpus", options.cpus},
      {"memory_bytes", options.memory.value()},
      {"moments_us",
       {{"image_read", microseconds(statistics.image_read)},
        {"planned", microseconds(statistics.planned)},
        {"kvm_ready", microseconds(statistics.kvm_ready)},
        {"memory_ready", microseconds(statistics.memory_ready)},
        {"written", microseconds(statistics.written)},
        {"first_instruction", microseconds(statistics.first_instruction)},
        {"first_console_byte", microseconds(statistics.first_console_byte)},
        {"end", microseconds(statistics.end)}}},
      {"console_bytes", statistics.console_bytes},
      {"exits", statistics.exits},
      {"port_reads", port_counts(statistics.port_reads)},
      {"port_writes", port_counts(statistics.port_writes)},
      {"unclaimed_mmio", mmio},
      {"peak_rss_kib", peak_rss_kib()}};
  return json.dump(2) + "\n";
}

// Whether both can be had: two consoles in one place would eat each other's input or output.
bool can_share(const vmm::ConsoleSpec& serial, const vmm::ConsoleSpec& virtio) {
  using vmm::ConsoleKind;
  return serial.kind != virtio.kind || serial.path != virtio.path ||
         serial.kind == ConsoleKind::kNone || serial.kind == ConsoleKind::kPty;
}

// Without effect on an option that was not given; false after a complaint.
bool take_seconds(const char* option, const std::string& text,
                  std::optional<std::chrono::nanoseconds>& seconds) {
  if (text.empty()) {
    return true;
  }
  const auto parsed = parse_seconds(text);
  if (!parsed) {
    complain(option, parsed.error());
    return false;
  }
  seconds = *parsed;
  return true;
}

int run(const RunArguments& arguments, const Rest& rest) {
  const auto console_spec = parse_console(arguments.console);
  if (!console_spec) {
    complain("--console", console_spec.error());
    return kUsage;
  }
  const bool restart = arguments.on_reboot == "restart";
  if (!restart && arguments.on_reboot != "exit") {
    complain("--on-reboot",
             fmt::format("\"{}\" is nothing to do: write exit or restart", arguments.on_reboot));
    return kUsage;
  }
  std::optional<std::chrono::nanoseconds> timeout;
  std::optional<std::chrono::nanoseconds> grace;
  if (!take_seconds("--timeout", arguments.timeout, timeout) ||
      !take_seconds("--grace", arguments.grace, grace)) {
    return kUsage;
  }
  std::optional<vmm::GdbAddress> gdb;
  if (arguments.gdb) {
    const auto parsed = parse_gdb_address(*arguments.gdb);
    if (!parsed) {
      complain("--gdb", parsed.error());
      return kUsage;
    }
    gdb = *parsed;
  }
  auto builder = arguments.machine.to_builder(rest);
  if (!builder) {
    return fail(builder.error());
  }
  builder->console(*console_spec).restart_on_reset(restart);
  vmm::MachineOptions& options = builder->options();
  if (options.virtio_console && !can_share(*console_spec, *options.virtio_console)) {
    complain("--virtio-console",
             fmt::format("the serial console is on {} already: write --console none, or another "
                         "place for one of them",
                         console_spec->path.empty() ? "stdin and stdout" : console_spec->path));
    return kUsage;
  }
  options.debug_exit = arguments.debug_exit;
  options.debug_console = arguments.debug_console;
  options.timeout = timeout;
  options.power_off_patience = grace.value_or(options.power_off_patience);
  options.gdb = gdb;
  auto planned = builder->plan();
  if (!planned) {
    return fail(planned.error());
  }

  // Opened before the guest runs: a path that cannot be written must not cost the user his run.
  std::ofstream stats;
  if (!arguments.stats.empty()) {
    stats.open(arguments.stats, std::ios::trunc);
    if (!stats) {
      complain(arguments.stats, fmt::format("cannot be written: {}", base::errno_text(errno)));
      return kHostIo;
    }
  }

  std::optional<vmm::Ending> ending;
  vmm::Statistics statistics;
  {
    auto machine = std::move(*planned).make();
    if (!machine) {
      return fail(machine.error());
    }
    auto ended = machine->run();
    if (!ended) {
      return fail(ended.error());
    }
    ending = std::move(*ended);
    statistics = machine->statistics();
  }  // the terminal is the user's again before anything is said
  const int status = report(*ending, arguments.machine.kernel, arguments.timeout);
  if (stats.is_open()) {
    stats << statistics_json(options, statistics, *ending, status);
    stats.close();
    if (!stats) {
      complain(arguments.stats, "the statistics could not be written");
      return kHostIo;
    }
  }
  return status;
}

}  // namespace

void add_run(CLI::App& app, const Rest& rest, Action& action) {
  auto* const command = app.add_subcommand("run", "boot a kernel in a microVM");
  const auto arguments = std::make_shared<RunArguments>();
  arguments->machine.add_to(*command);
  command->add_option("--console", arguments->console, "stdio, none, pty, file=PATH, uds=PATH")
      ->type_name("WHERE")
      ->capture_default_str();
  command->add_flag("--debug-exit", arguments->debug_exit,
                    "port 0xf4 ends the machine; the exit status is value*2+1");
  command->add_flag("--debug-console", arguments->debug_console, "port 0xe9 prints to stderr");
  command
      ->add_option("--gdb", arguments->gdb,
                   "wait there for gdb before the first instruction: [HOST:]PORT, unix:PATH")
      ->type_name("ADDR");
  command
      ->add_option("--timeout", arguments->timeout, "end the guest after so long, with status 124")
      ->type_name("SECONDS");
  command
      ->add_option("--grace", arguments->grace,
                   "how long a guest may take to power off after SIGTERM, 10 unless said; a second "
                   "SIGTERM ends it at once")
      ->type_name("SECONDS");
  command
      ->add_option(
          "--on-reboot", arguments->on_reboot,
          "exit, or restart: the guest's reset starts it again, with its devices as they are")
      ->type_name("WHAT")
      ->capture_default_str();
  command->add_option("--stats", arguments->stats, "moments, exits and memory as JSON")
      ->type_name("FILE");
  command->footer(
      "What follows -- is the kernel's command line: pvh run vmlinuz -- console=ttyS0 quiet\n"
      "The guest's console is stdin and stdout; on a terminal Ctrl-A x quits and Ctrl-A h helps.\n"
      "Exit status: 0 the guest powered off or asked for a reset; 64 usage; 65 malformed kernel; "
      "66 missing file;\n"
      "69 KVM is missing or refuses; 70 triple fault; 71 KVM could not run an instruction; 74 host "
      "I/O error;\n"
      "124 --timeout; 128+N ended by signal N.");
  command->callback([arguments, &rest, &action] {
    action = [arguments, &rest] { return run(*arguments, rest); };
  });
}

}  // namespace pvh::cli
