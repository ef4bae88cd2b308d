// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/guest/dump.hpp>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/print.hpp>

#include "internal/dump_lines.hpp"

namespace pvh::guest {
namespace {

using memory_map::Line;
using std::string_view_literals::operator""sv;

class Dump {
 public:
  Dump(LineSink sink, void* context) : sink_(sink), context_(context) {}

  void start_info(const StartInfo& info) const;
  void text(std::string_view what, std::string_view text) const;
  void modules(std::span<const Module> modules) const;
  void map(const Boot& boot) const;
  void reservations(std::span<const Reservation> reservations) const;
  void free(const Boot& boot) const;
  void rsdp(const std::optional<Rsdp>& rsdp) const;
  void diagnostics(const Diagnostics& diagnostics) const;

 private:
  void say(Line& line) const { sink_(context_, line.text("\n"sv).view()); }
  void address(std::string_view what, std::optional<base::PhysAddr> address) const;
  // What is printed as whole lines.
  template <typename What>
  void print(const What& what) const {
    memory_map::print(what, [&](std::string_view line) { sink_(context_, line); });
  }

  LineSink sink_;
  void* context_;
};

void Dump::address(std::string_view what, std::optional<base::PhysAddr> address) const {
  Line line;
  line.text("  "sv).text(what);
  if (address) {
    line.hex(address->value());
  } else {
    line.text("absent"sv);
  }
  say(line);
}

void Dump::start_info(const StartInfo& info) const {
  Line line;
  line.text("start_info "sv).hex(info.address.value()).text(": version "sv).decimal(info.version);
  line.text(", flags "sv).hex(info.flags);
  say(line);
  address("command line "sv, info.command_line);
  line = {};
  line.text("  modules "sv).decimal(info.nr_modules);
  say(line);
  address("module list "sv, info.modlist);
  address("RSDP "sv, info.rsdp);
  if (info.has_map_fields()) {
    address("memory map "sv, info.memmap);
    line = {};
    line.text("  memory map's entries "sv).decimal(info.memmap_entries);
    say(line);
  }
}

// In pieces: it may be 64 KiB long.
void Dump::text(std::string_view what, std::string_view text) const {
  constexpr std::size_t kPiece = 100;
  Line line;
  line.text(what).text(": "sv).decimal(text.size()).text(text.size() == 1 ? " byte"sv : " bytes"sv);
  say(line);
  for (; !text.empty(); text.remove_prefix(std::min(kPiece, text.size()))) {
    line = {};
    line.text("  |"sv).text(text.substr(0, kPiece)).text("|"sv);
    say(line);
  }
}

void Dump::modules(std::span<const Module> modules) const {
  for (const Module& module : modules) {
    Line line;
    line.text("module "sv).decimal(module.index).text(": "sv);
    if (module.range) {
      line.hex(module.range->first().value()).text("-"sv).hex(module.range->last().value());
      line.text(" "sv).size(module.range->size());
      line.text(module.in_ram ? ""sv : ", not in RAM"sv);
    } else {
      line.text("absent"sv);
    }
    say(line);
    if (!module.command_line.empty()) {
      text("  its command line"sv, module.command_line);
    }
  }
}

void Dump::map(const Boot& boot) const {
  Line line;
  line.text("memory map from "sv);
  line.text(boot.map_source() == MapSource::kXen ? "Xen"sv : "start_info"sv);
  line.text(boot.map_possibly_truncated() ? ", cut off:"sv : ":"sv);
  say(line);
  print(boot.raw_memory_map());
  print(boot.map_report());
  line = {};
  line.text("normalised:"sv);
  say(line);
  print(boot.memory_map());
  print(memory_map::statistics(boot.memory_map()));
}

void Dump::reservations(std::span<const Reservation> reservations) const {
  Line line;
  line.text("in use:"sv);
  say(line);
  for (const Reservation& each : reservations) {
    line = {};
    line.hex(each.range.first().value()).text("-"sv).hex(each.range.last().value());
    line.text("  "sv).text(to_string(each.kind));
    if (each.kind == ReservationKind::kModule || each.kind == ReservationKind::kModuleCommandLine) {
      line.text(" "sv).decimal(each.index);
    }
    say(line);
  }
}

void Dump::free(const Boot& boot) const {
  Line line;
  line.text("free:"sv);
  say(line);
  print(boot.free());
  print(memory_map::statistics(boot.free()));
}

void Dump::rsdp(const std::optional<Rsdp>& rsdp) const {
  Line line;
  line.text("ACPI: "sv);
  if (!rsdp) {
    line.text("no RSDP"sv);
  } else {
    line.text("RSDP "sv).hex(rsdp->address.value()).text(rsdp->passed ? " passed"sv : " found"sv);
    line.text(", revision "sv).decimal(rsdp->revision);
    line.text(rsdp->root_is_xsdt ? ", XSDT "sv : ", RSDT "sv).hex(rsdp->root.value());
  }
  say(line);
}

void Dump::diagnostics(const Diagnostics& diagnostics) const {
  for (const Diagnostic& each : diagnostics.all()) {
    Line line;
    line.text("odd: "sv).text(name(each.kind)).text(", index "sv).decimal(each.index);
    line.text(", value "sv).hex(each.value);
    say(line);
    line = {};
    line.text("  "sv).text(describe(each.kind));
    say(line);
  }
  if (diagnostics.lost() > 0) {
    Line line;
    line.text("odd: "sv).decimal(diagnostics.lost()).text(" more"sv);
    say(line);
  }
}

}  // namespace

void dump(const Boot& boot, LineSink sink, void* context) {
  const Dump dump(sink, context);
  internal::dump_hypervisors(boot.hypervisors(), sink, context);
  dump.start_info(boot.start_info());
  dump.text("command line"sv, boot.command_line());
  dump.modules(boot.modules());
  dump.rsdp(boot.rsdp());
  dump.map(boot);
  dump.reservations(boot.reservations());
  dump.free(boot);
  dump.diagnostics(boot.diagnostics());
}

}  // namespace pvh::guest
