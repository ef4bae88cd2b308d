// SPDX-License-Identifier: BSD-2-Clause
// Prints everything that a kernel is handed and what the runtime makes of it: as text, and with the
// word "json" on the command line as one JSON document between two marker lines. Its members are in
// kernels/README.md.
#include <array>

#include <pvh/guest/entry_state.hpp>
#include <pvh/guest/pvh.hpp>
#include <pvh/guest/xen.hpp>
#include <pvh/memory_map/print.hpp>

#include "common/checksum.hpp"
#include "common/finish.hpp"
#include "report/json.hpp"

namespace pvh::kernels {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kBegin = "-----BEGIN PVH REPORT-----\n"sv;
constexpr std::string_view kEnd = "\n-----END PVH REPORT-----\n"sv;
constexpr std::size_t kMostProcessors = 256;

void put_range(Json& json, base::Range range) {
  json.member("address"sv, range.first().value());
  json.member("size"sv, range.size().value());
}

void put_entry_state(Json& json) {
  const guest::EntryState& entry = guest::entry_state();
  json.key("entry"sv);
  json.open_object();
  json.member("eax"sv, entry.eax);
  json.member("ebx"sv, entry.ebx);
  json.member("ecx"sv, entry.ecx);
  json.member("edx"sv, entry.edx);
  json.member("esi"sv, entry.esi);
  json.member("edi"sv, entry.edi);
  json.member("ebp"sv, entry.ebp);
  json.member("esp"sv, entry.esp);
  json.member("eflags"sv, entry.eflags);
  json.member("cr0"sv, entry.cr0);
  json.member("cr3"sv, entry.cr3);
  json.member("cr4"sv, entry.cr4);
  json.member("cs"sv, entry.cs.value);
  json.member("ds"sv, entry.ds.value);
  json.member("es"sv, entry.es.value);
  json.member("fs"sv, entry.fs.value);
  json.member("gs"sv, entry.gs.value);
  json.member("ss"sv, entry.ss.value);
  json.member("tr"sv, entry.tr.value);
  json.member("ldtr"sv, entry.ldtr.value);
  json.member("gdt_base"sv, entry.gdtr.base());
  json.member("gdt_limit"sv, entry.gdtr.limit);
  json.member("idt_base"sv, entry.idtr.base());
  json.member("idt_limit"sv, entry.idtr.limit);
  json.close_object();
}

void put_start_info(Json& json, guest::Boot& boot) {
  const guest::StartInfo& info = boot.start_info();
  json.key("start_info"sv);
  json.open_object();
  json.member("address"sv, info.address.value());
  json.member("version"sv, info.version);
  json.member("flags"sv, info.flags);
  json.member("nr_modules"sv, info.nr_modules);
  json.optional_member("modlist"sv, info.modlist);
  json.optional_member("cmdline"sv, info.command_line);
  json.optional_member("rsdp"sv, info.rsdp);
  json.optional_member("memmap"sv, info.memmap);
  json.member("memmap_entries"sv, info.memmap_entries);
  json.key("words"sv);
  json.open_array();
  // Of version 0 no more than belongs to it.
  const guest::RawStartInfo raw = guest::read_raw_start_info(boot.machine(), info.address);
  const std::size_t own = info.size().value() / sizeof(std::uint32_t);
  for (std::size_t i = 0; i < raw.count && i < own; ++i) {
    json.number(raw.words[i]);
  }
  json.close_array();
  json.close_object();
}

void put_hypervisors(Json& json, guest::Boot& boot) {
  json.key("hypervisors"sv);
  json.open_array();
  for (const guest::Hypervisor& each : boot.hypervisors().all()) {
    json.open_object();
    json.member("kind"sv, guest::to_string(each.kind));
    json.member("signature"sv, std::string_view(each.signature.data(), each.signature.size()));
    json.member("base"sv, each.base);
    json.member("max_leaf"sv, each.max_leaf);
    json.close_object();
  }
  json.close_array();
}

std::string_view transport_name(guest::xen::Transport transport) {
  switch (transport) {
    case guest::xen::Transport::kVmcall:
      return "vmcall"sv;
    case guest::xen::Transport::kVmmcall:
      return "vmmcall"sv;
    case guest::xen::Transport::kHypercallPage:
      return "hypercall-page"sv;
  }
  return "unknown"sv;
}

void put_xen(Json& json, guest::Boot& boot) {
  json.key("xen"sv);
  if (!boot.xen()) {
    json.null();
    return;
  }
  const guest::xen::Token& token = *boot.xen();
  const auto version = guest::xen::version(boot.machine(), token);
  const guest::xen::SharedPages pages = guest::xen::shared_pages(boot.machine(), token);
  json.open_object();
  json.member("cpuid_base"sv, token.cpuid_base());
  json.member("transport"sv, transport_name(token.transport()));
  json.optional_member("version"sv, version ? std::optional(*version) : std::nullopt);
  json.optional_member("vcpu_id"sv, guest::xen::vcpu_id(boot.machine(), token));
  json.optional_member("console"sv, pages.console);
  json.optional_member("xenstore"sv, pages.xenstore);
  json.close_object();
}

void put_command_line(Json& json, guest::Boot& boot) {
  json.member("command_line"sv, boot.command_line());
  json.key("arguments"sv);
  json.open_array();
  guest::CommandLine words(boot.command_line());
  while (const std::optional<guest::Argument> argument = words.next()) {
    json.open_array();
    json.text(argument->name);
    if (argument->value) {
      json.text(*argument->value);
    }
    json.close_array();
  }
  json.close_array();
}

void put_modules(Json& json, guest::Boot& boot) {
  json.key("modules"sv);
  json.open_array();
  for (const guest::Module& module : boot.modules()) {
    json.open_object();
    json.member("index"sv, module.index);
    json.flag("present"sv, module.range.has_value());
    if (module.range) {
      put_range(json, *module.range);
      json.optional_member("checksum"sv, checksum(boot.machine(), *module.range));
    }
    json.flag("in_ram"sv, module.in_ram);
    json.member("command_line"sv, module.command_line);
    json.close_object();
  }
  json.close_array();
}

void put_map(Json& json, std::string_view name, std::span<const memory_map::Entry> map) {
  json.key(name);
  json.open_array();
  for (const memory_map::Entry& entry : map) {
    json.open_object();
    put_range(json, entry.range);
    json.member("type"sv, memory_map::to_raw(entry.type));
    json.close_object();
  }
  json.close_array();
}

void put_maps(Json& json, guest::Boot& boot) {
  const memory_map::Report& report = boot.map_report();
  json.member("map_source"sv, boot.map_source() == guest::MapSource::kXen ? "xen"sv : "table"sv);
  json.flag("map_possibly_truncated"sv, boot.map_possibly_truncated());
  json.key("map_anomalies"sv);
  json.open_object();
  json.member("zero_length"sv, report.zero_length);
  json.member("wrapped_ram"sv, report.wrapped_ram);
  json.member("wrapped_other"sv, report.wrapped_other);
  json.member("clipped"sv, report.clipped);
  json.member("overlaps"sv, report.overlaps);
  json.member("unknown_types"sv, report.unknown_types);
  json.member("sub_page_ram"sv, report.sub_page_ram);
  json.member("dropped_ranges"sv, report.dropped_ranges);
  json.close_object();
  json.key("raw_map"sv);
  json.open_array();
  for (const memory_map::RawEntry& entry : boot.raw_memory_map()) {
    json.open_object();
    json.member("address"sv, entry.addr);
    json.member("size"sv, entry.size);
    json.member("type"sv, entry.type);
    json.close_object();
  }
  json.close_array();
  put_map(json, "map"sv, boot.memory_map());
  json.key("reservations"sv);
  json.open_array();
  for (const guest::Reservation& each : boot.reservations()) {
    json.open_object();
    json.member("kind"sv, guest::to_string(each.kind));
    json.member("index"sv, each.index);
    put_range(json, each.range);
    json.close_object();
  }
  json.close_array();
  put_map(json, "free"sv, boot.free());
  json.member("free_bytes"sv, memory_map::statistics(boot.free()).ram.value());
  json.member("ram_bytes"sv, memory_map::statistics(boot.memory_map()).ram.value());
}

// Hundreds of them: too many for the stack.
std::array<guest::Processor, kMostProcessors> processors;

void put_acpi(Json& json, guest::Boot& boot) {
  guest::Diagnostics found_later;  // capture() has told of it
  json.key("rsdp"sv);
  if (!boot.rsdp()) {
    json.null();
  } else {
    json.open_object();
    json.member("address"sv, boot.rsdp()->address.value());
    json.member("revision"sv, boot.rsdp()->revision);
    json.member("root"sv, boot.rsdp()->root.value());
    json.flag("root_is_xsdt"sv, boot.rsdp()->root_is_xsdt);
    json.flag("passed"sv, boot.rsdp()->passed);
    json.close_object();
  }
  json.key("acpi_tables"sv);
  json.open_array();
  if (boot.rsdp()) {
    guest::AcpiTables tables(boot.machine(), *boot.rsdp(), found_later);
    while (const std::optional<guest::AcpiTable> table = tables.next()) {
      json.open_object();
      json.member("signature"sv,
                  std::string_view(table->signature.data(), table->signature.size()));
      put_range(json, table->range);
      json.close_object();
    }
  }
  json.close_array();
  json.key("processors"sv);
  json.open_array();
  if (boot.rsdp()) {
    const guest::Processors all =
        guest::acpi_processors(boot.machine(), *boot.rsdp(), processors, found_later);
    for (const guest::Processor& each : all.processors) {
      json.open_object();
      json.member("apic_id"sv, each.apic_id);
      json.member("uid"sv, each.uid);
      json.flag("enabled"sv, each.enabled);
      json.close_object();
    }
  }
  json.close_array();
}

void put_frequencies(Json& json, guest::Boot& boot) {
  const guest::Frequencies found = guest::frequencies(boot.machine(), boot.hypervisors());
  json.key("frequencies"sv);
  json.open_object();
  json.optional_member("tsc_khz"sv, found.tsc_khz);
  json.optional_member("apic_timer_khz"sv, found.apic_timer_khz);
  json.close_object();
}

void put_console(Json& json) {
  const guest::Console::Ways& ways = guest::console().ways();
  json.key("console"sv);
  json.open_object();
  json.flag("debug_port"sv, ways.debug_port);
  json.flag("com1"sv, ways.com1);
  json.flag("xen_console_io"sv, ways.xen_console_io);
  json.optional_member("xen_ring"sv, ways.xen_ring);
  json.close_object();
}

void put_diagnostics(Json& json, guest::Boot& boot) {
  json.key("diagnostics"sv);
  json.open_array();
  for (const guest::Diagnostic& each : boot.diagnostics().all()) {
    json.open_object();
    json.member("name"sv, guest::name(each.kind));
    json.member("index"sv, each.index);
    json.member("value"sv, each.value);
    json.close_object();
  }
  json.close_array();
  json.member("diagnostics_lost"sv, boot.diagnostics().lost());
}

void print_json(guest::Boot& boot) {
  guest::print(kBegin);
  Json json(guest::console());
  json.open_object();
  put_entry_state(json);
  put_start_info(json, boot);
  put_hypervisors(json, boot);
  put_xen(json, boot);
  put_command_line(json, boot);
  put_modules(json, boot);
  put_maps(json, boot);
  put_acpi(json, boot);
  put_frequencies(json, boot);
  put_console(json);
  put_diagnostics(json, boot);
  json.close_object();
  guest::print(kEnd);
}

void print_line(void* /*context*/, std::string_view line) {
  guest::print(line);
}

}  // namespace
}  // namespace pvh::kernels

void pvh_main(pvh::guest::Boot& boot) {
  using std::string_view_literals::operator""sv;
  pvh::guest::dump(boot, pvh::kernels::print_line, nullptr);
  if (pvh::guest::find_argument(boot.command_line(), "json"sv)) {
    pvh::kernels::print_json(boot);
  }
  pvh::kernels::finish(boot, pvh::kernels::Verdict::kGood);
}
