// SPDX-License-Identifier: BSD-2-Clause
// In a source of its own: every kernel links it, few link dump().
#include <pvh/guest/dump.hpp>
#include <pvh/memory_map/print.hpp>

#include "internal/dump_lines.hpp"

namespace pvh::guest {

using memory_map::Line;
using std::string_view_literals::operator""sv;

namespace internal {

void dump_hypervisors(const Hypervisors& hypervisors, LineSink sink, void* context) {
  for (const Hypervisor& each : hypervisors.all()) {
    // Shorter ones have NULs behind them.
    std::string_view signature(each.signature.data(), each.signature.size());
    while (signature.back() == '\0') {
      signature.remove_suffix(1);
    }
    Line line;
    line.text("hypervisor "sv).text(signature).text(" at "sv).hex(each.base).text("\n"sv);
    sink(context, line.view());
  }
}

}  // namespace internal

void dump_failure(Machine& machine, base::PhysAddr start_info, const BootError& error,
                  const Hypervisors& hypervisors, LineSink sink, void* context) {
  Line line;
  line.text("boot failed: "sv).text(name(error.code)).text(", "sv).hex(error.value).text("\n"sv);
  sink(context, line.view());
  line = {};
  line.text("start_info "sv).hex(start_info.value()).text("\n"sv);
  sink(context, line.view());
  // As many dwords as version 1 has, and as can be read.
  for (std::uint64_t offset = 0; offset < abi::kStartInfoSizeV1; offset += 4) {
    const base::PhysAddr place(start_info.value() + offset);
    base::Le32 word;
    if (!machine.read(place, std::as_writable_bytes(std::span(&word, 1)))) {
      break;
    }
    line = {};
    line.text("  "sv).hex(place.value()).text(" "sv).hex(word.get()).text("\n"sv);
    sink(context, line.view());
  }
  internal::dump_hypervisors(hypervisors, sink, context);
}

}  // namespace pvh::guest
