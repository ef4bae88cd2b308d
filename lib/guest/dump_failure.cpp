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
    std::string_view signature(each.signature.data(), each.signature.size());
    while (!signature.empty() && signature.back() == '\0') {
      signature.remove_suffix(1);
    }
    Line line;
    line.text("hypervisor "sv).text(signature).text(" at "sv).hex(each.base).text("\n"sv);
    sink(context, line.view());
  }
}

}  // namespace internal

void dump_failure(Machine& machine, base::PhysAddr start_info, const BootError& error,
                  LineSink sink, void* context) {
  Line line;
  line.text("boot failed: "sv).text(name(error.code)).text(", "sv).hex(error.value);
  sink(context, line.text("\n"sv).view());
  line = {};
  line.text("start_info "sv).hex(start_info.value());
  sink(context, line.text("\n"sv).view());
  const RawStartInfo raw = read_raw_start_info(machine, start_info);
  for (std::size_t i = 0; i < raw.count; ++i) {
    line = {};
    line.text("  +"sv).decimal(i * sizeof(raw.words[i]), 2).text(" "sv).hex(raw.words[i]);
    sink(context, line.text("\n"sv).view());
  }
  internal::dump_hypervisors(detect_hypervisors(machine), sink, context);
}

}  // namespace pvh::guest
