// SPDX-License-Identifier: BSD-2-Clause
// `pvh check`: will this kernel boot here and elsewhere; if not, why not, and what to do.
#include <algorithm>
#include <functional>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pvh/loader/check.hpp>
#include <pvh/vmm/load.hpp>

#include "commands.hpp"
#include "exit_status.hpp"
#include "output.hpp"

namespace pvh::cli {
namespace {

using loader::Monitor;

struct CheckArguments {
  std::string kernel;
  std::vector<std::string> monitors;
  bool json = false;
  bool quiet = false;
  bool strict = false;
};

std::vector<Monitor> members(loader::MonitorSet set) {
  std::vector<Monitor> result;
  for (const Monitor monitor : loader::kMonitors) {
    if (set.contains(monitor)) {
      result.push_back(monitor);
    }
  }
  return result;
}

template <typename Name>
std::vector<std::string_view> names(loader::MonitorSet set, Name name) {
  std::vector<std::string_view> result;
  for (const Monitor monitor : members(set)) {
    result.push_back(name(monitor));
  }
  return result;
}

std::string_view name_of(Monitor monitor) {
  return loader::to_string(monitor);
}

// One line, as compilers have them, so that editors find the file.
std::string as_line(const std::string& path, const loader::Finding& finding) {
  const std::string place =
      finding.offset ? fmt::format(", at offset {:#x}", *finding.offset) : std::string();
  return fmt::format("{}: {}: {} ({}){}: {}; {}\n", path, to_string(finding.severity),
                     to_string(finding.rule),
                     fmt::join(names(finding.monitors, loader::title_of), ", "), place,
                     finding.what, finding.remedy);
}

std::string_view answer(std::optional<loader::Protocol> protocol) {
  if (!protocol) {
    return "no";
  }
  switch (*protocol) {
    case loader::Protocol::kPvh:
      return "yes";
    case loader::Protocol::kLinux:
      return "yes (Linux protocol)";
    case loader::Protocol::kMultiboot:
      return "yes (Multiboot)";
  }
  return "no";
}

std::string summary(const std::string& path, const loader::CheckReport& report) {
  std::vector<std::string> answers;
  for (const Monitor monitor : members(report.asked)) {
    answers.push_back(
        fmt::format("{} {}", loader::title_of(monitor), answer(report.protocol(monitor))));
  }
  return fmt::format("{}: boots on: {}\n", path, fmt::join(answers, ", "));
}

nlohmann::json as_json(const std::string& path, const loader::CheckReport& report, bool good) {
  auto monitors = nlohmann::json::array();
  for (const Monitor monitor : members(report.asked)) {
    const auto protocol = report.protocol(monitor);
    monitors.push_back({{"name", name_of(monitor)}, {"boots", protocol.has_value()}});
    monitors.back()["protocol"] =
        protocol ? nlohmann::json(loader::to_string(*protocol)) : nlohmann::json();
  }
  auto findings = nlohmann::json::array();
  for (const loader::Finding& finding : report.findings) {
    findings.push_back({{"severity", to_string(finding.severity)},
                        {"rule", to_string(finding.rule)},
                        {"monitors", names(finding.monitors, name_of)},
                        {"offset", nullptr},
                        {"what", ascii(finding.what)},
                        {"remedy", finding.remedy}});
    if (finding.offset) {
      findings.back()["offset"] = *finding.offset;
    }
  }
  return {{"version", 1},
          {"file", ascii(path)},
          {"ok", good},
          {"monitors", monitors},
          {"findings", findings}};
}

// Whether it makes the status kMalformed; with --quiet nothing else is said.
bool counts(const loader::Finding& finding, bool strict) {
  return finding.severity == loader::Severity::kError ||
         (strict && finding.severity == loader::Severity::kWarning);
}

int check(const CheckArguments& arguments) {
  loader::MonitorSet asked;
  for (const std::string& name : arguments.monitors) {
    asked.add(*loader::monitor_from_string(name));
  }
  const auto loaded = vmm::load_image(arguments.kernel);
  if (!loaded) {
    return fail(loaded.error());
  }
  loader::CheckReport report =
      loader::check_image(loaded->image, asked.empty() ? loader::MonitorSet::all() : asked);
  const auto matters = [&](const loader::Finding& finding) {
    return counts(finding, arguments.strict);
  };
  const bool good = std::ranges::none_of(report.findings, matters);
  if (arguments.quiet) {
    std::erase_if(report.findings, std::not_fn(matters));
  }
  std::string text;
  if (arguments.json) {
    text = as_json(arguments.kernel, report, good).dump(2) + "\n";
  } else {
    for (const loader::Finding& finding : report.findings) {
      text += printable(as_line(arguments.kernel, finding));
    }
    if (!arguments.quiet) {
      text += printable(summary(arguments.kernel, report));
    }
  }
  const int printed = print(text);
  return printed != kOk || good ? printed : kMalformed;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  auto* const command = app.add_subcommand(
      "check",
      "whether a kernel file boots by PVH, here and elsewhere; if not, why, and what to do");
  const auto arguments = std::make_shared<CheckArguments>();
  command->add_option("KERNEL", arguments->kernel, "ELF, bzImage, or either compressed")
      ->required();
  const auto known = names(loader::MonitorSet::all(), name_of);
  command
      ->add_option("--vmm", arguments->monitors,
                   fmt::format("ask about this one only; repeatable ({})", fmt::join(known, ", ")))
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->check([](const std::string& name) {
        return loader::monitor_from_string(name) ? std::string()
                                                 : fmt::format("there is no monitor \"{}\"", name);
      });
  command->add_flag("--strict", arguments->strict, "warnings count as errors");
  command->add_flag("--quiet", arguments->quiet, "print only what makes the status 65");
  command->add_flag("--json", arguments->json, "print JSON");
  command->footer("Status: 0 it boots wherever asked, 65 it does not, 66 it cannot be read");
  command->callback([arguments, &action] { action = [arguments] { return check(*arguments); }; });
}

}  // namespace pvh::cli
