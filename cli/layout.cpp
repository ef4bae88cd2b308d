// SPDX-License-Identifier: BSD-2-Clause
// `pvh layout`: the guest's physical memory before its first instruction, from the plan that `run`
// writes.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pvh/memory_map/map.hpp>
#include <pvh/memory_map/print.hpp>
#include <pvh/vmm/machine.hpp>

#include "commands.hpp"
#include "exit_status.hpp"
#include "machine_arguments.hpp"
#include "output.hpp"

namespace pvh::cli {
namespace {

struct LayoutArguments {
  MachineArguments machine;
  bool json = false;
};

std::string type_name(std::uint32_t type) {
  const auto known = static_cast<memory_map::Type>(type);
  return memory_map::is_known(known) ? std::string(memory_map::type_name(known))
                                     : fmt::format("type {}", type);
}

std::string describe(const loader::Piece& piece) {
  const std::string_view kind = to_string(piece.kind);
  // "segment 2" says already what it is; a module's or a table's name does not.
  return piece.name.starts_with(kind) ? piece.name
                                      : fmt::format("{} {}", kind, printable(piece.name));
}

std::string as_text(const loader::Plan& plan) {
  std::string text = "memory map   first               last                type\n";
  for (const memory_map::RawEntry& entry : plan.memory_map) {
    // An empty entry has no last byte; some peers hand one over.
    const std::string last =
        entry.size == 0 ? "(empty)" : fmt::format("{:#018x}", entry.addr + (entry.size - 1));
    fmt::format_to(std::back_inserter(text), "             {:#018x}  {:<18}  {}\n", entry.addr,
                   last, type_name(entry.type));
  }
  text += "\npieces       first               last                what\n";
  for (const loader::Piece& piece : plan.pieces) {
    fmt::format_to(std::back_inserter(text), "             {:#018x}  {:#018x}  {}\n",
                   piece.range.first().value(), piece.range.last().value(), describe(piece));
  }
  fmt::format_to(std::back_inserter(text), "\nentry        eip {:#x} ebx {:#x}\n", plan.entry.eip,
                 plan.entry.ebx);
  return text;
}

nlohmann::json as_json(const loader::Plan& plan) {
  auto map = nlohmann::json::array();
  for (const memory_map::RawEntry& entry : plan.memory_map) {
    map.push_back({{"addr", entry.addr}, {"size", entry.size}, {"type", entry.type}});
  }
  auto pieces = nlohmann::json::array();
  for (const loader::Piece& piece : plan.pieces) {
    pieces.push_back({{"addr", piece.range.first().value()},
                      {"size", piece.range.size().value()},
                      {"kind", to_string(piece.kind)},
                      {"name", printable(piece.name)}});
  }
  return {{"version", 1},
          {"memory_map", map},
          {"pieces", pieces},
          {"entry", plan.entry.eip},
          {"start_info", plan.start_info.value()},
          {"load_offset", plan.load_offset}};
}

int layout(const LayoutArguments& arguments, const Rest& rest) {
  const auto builder = arguments.machine.to_builder(rest);
  if (!builder) {
    return fail(builder.error());
  }
  const auto planned = builder->plan();
  if (!planned) {
    return fail(planned.error());
  }
  const loader::Plan& plan = planned->boot().plan;
  return print(arguments.json
                   ? as_json(plan).dump(2, ' ', true, nlohmann::json::error_handler_t::replace) +
                         "\n"
                   : as_text(plan));
}

}  // namespace

void add_layout(CLI::App& app, const Rest& rest, Action& action) {
  auto* const command =
      app.add_subcommand("layout", "the guest's physical memory before its first instruction");
  const auto arguments = std::make_shared<LayoutArguments>();
  arguments->machine.add_to(*command);
  command->add_flag("--json", arguments->json, "print JSON");
  command->callback([arguments, &rest, &action] {
    action = [arguments, &rest] { return layout(*arguments, rest); };
  });
}

}  // namespace pvh::cli
