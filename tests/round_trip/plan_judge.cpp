// SPDX-License-Identifier: BSD-2-Clause
#include "tests/round_trip/plan_judge.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace pvh::round_trip {
namespace {

using loader::Piece;
using loader::PieceKind;

Wide first_of(const Piece& piece) {
  return piece.range.first().value();
}
Wide end_of(const Piece& piece) {
  return Wide{piece.range.last().value()} + 1;
}

// The descriptor tables are the monitor's; whoever runs capture() has its own.
bool is_monitors(const Piece& piece) {
  return piece.kind == PieceKind::kGdt || piece.kind == PieceKind::kIdt;
}

bool is_acpi(const World& world, const Piece& piece) {
  return piece.kind == PieceKind::kTable &&
         std::ranges::any_of(world.request().tables, [&](const loader::TableRequest& table) {
           return table.address == piece.range.first() && table.type == memory_map::Type::kAcpi;
         });
}

}  // namespace

bool is_interleaved(const World& world) {
  return std::ranges::any_of(world.plan().pieces, [&](const Piece& piece) {
    return piece.kind != PieceKind::kSegment && !is_monitors(piece) &&
           world.image().overlaps(piece.range);
  });
}

std::string compare_with_plan(World& world, const guest::Boot& boot) {
  std::string wrong;
  const loader::PlanRequest& request = world.request();
  if (!std::ranges::equal(boot.raw_memory_map(), world.plan().memory_map)) {
    wrong += "another map\n";
  }
  const bool fits = request.command_line.size() < guest::kLongestString;
  if (boot.command_line() != (fits ? request.command_line : "")) {
    wrong += "another command line\n";
  }
  if (boot.start_info().version != request.start_info_version) {
    wrong += "another version\n";
  }
  // Firecracker does not pass it, but it can be found.
  if (!world.on_xen() && (!boot.rsdp() || boot.rsdp()->address != *request.rsdp)) {
    wrong += "another RSDP\n";
  }
  if (boot.modules().size() != request.modules.size()) {
    return wrong + "another number of modules\n";
  }
  std::vector<const Piece*> modules;
  for (const Piece& piece : world.plan().pieces) {
    if (piece.kind == PieceKind::kModule) {
      modules.push_back(&piece);
    }
  }
  for (std::size_t i = 0; i < request.modules.size(); ++i) {
    const loader::ModuleRequest& asked = request.modules[i];
    const guest::Module& module = boot.modules()[i];
    if (module.command_line != asked.command_line) {
      wrong += fmt::format("another text of module {}\n", i);
    }
    if (module.range.has_value() == asked.content.empty()) {
      wrong += fmt::format("module {} is there: {}\n", i, module.range.has_value());
    }
    if (!module.range) {
      continue;
    }
    std::vector<std::byte> bytes(module.range->size().value());
    if (!world.guest().machine().read(module.range->first(), bytes) ||
        !std::ranges::equal(bytes, asked.content)) {
      wrong += fmt::format("module {} has other bytes\n", i);
    }
  }
  const ByteSet free = free_of(boot);
  for (const Piece& piece : world.plan().pieces) {
    const bool empty_module = piece.kind == PieceKind::kModule && piece.content.empty();
    // Of a command line that never ends a capture looks at so much.
    const bool too_long = piece.kind == PieceKind::kCommandLine && !fits;
    const Wide end = too_long ? first_of(piece) + guest::kLongestString : end_of(piece);
    if (!is_monitors(piece) && !empty_module && free.has_any(first_of(piece), end)) {
      wrong += fmt::format("{} {} is free\n", loader::to_string(piece.kind), piece.name);
    }
  }
  ByteSet ram;
  for (const base::Range& range : request.ram) {
    ram.add(range.first().value(), Wide{range.last().value()} + 1);
  }
  if (!ram.has_all(free)) {
    wrong += "free() is not all in the machine's RAM\n";
  }
  return wrong;
}

std::string name_lost(const Expectation& expected, const guest::Boot& boot) {
  const ByteSet lost = expected.may_be_free().minus(free_of(boot));
  return lost.empty() ? "" : "lost without a reason:\n" + lost.text();
}

std::vector<Target> targets_of(const World& world) {
  constexpr std::array kWanted{PieceKind::kStartInfo, PieceKind::kMemoryMap, PieceKind::kModuleList,
                               PieceKind::kCommandLine, PieceKind::kModuleCommandLine};
  std::vector<Target> targets;
  for (const Piece& piece : world.plan().pieces) {
    const bool wanted = std::ranges::find(kWanted, piece.kind) != kWanted.end();
    if (wanted || is_acpi(world, piece)) {
      targets.push_back({std::string(wanted ? loader::to_string(piece.kind) : piece.name),
                         first_of(piece), end_of(piece)});
    }
  }
  return targets;
}

}  // namespace pvh::round_trip
