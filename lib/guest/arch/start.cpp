// SPDX-License-Identifier: BSD-2-Clause
// From the first C++ instruction to the kernel's pvh_main.
#include <optional>

#include <pvh/guest/internal/arch.hpp>
#include <pvh/guest/pvh.hpp>

#include "link_symbols.hpp"
#include "running.hpp"

extern "C" [[noreturn]] void pvh_start(std::uint32_t start_info);

namespace pvh::guest {
namespace {

constinit Console early_console;
// Present once Xen is found.
constinit std::optional<xen::Token> token;

// For Xen to write its stubs to, on a processor of an unknown vendor.
alignas(4096) [[gnu::section(".bss.pvh_noinit")]] std::byte hypercall_page[4096];

DetectOptions detect_options() {
  return {.hypercall_page = hypercall_page,
          .hypercall_page_address = arch::physical(hypercall_page)};
}

void print_line(void* /*context*/, std::string_view line) {
  print(line);
}

[[noreturn]] void fail(Machine& machine, base::PhysAddr start_info, const BootError& error) {
  token = detect_hypervisors(machine, detect_options()).xen();
  if (token) {
    // Not known to be the hardware domain; the others' ways are harmless for it.
    early_console.add_xen(*token, false);
  }
  dump_failure(machine, start_info, error, print_line, nullptr);
  early_console.flush();
  try_crash(machine, arch::running_ways());
  halt_forever();
}

void run_initializers() {
  for (const PvhInitializer* each = pvh_init_array_start; each != pvh_init_array_end; ++each) {
    (*each)();
  }
}

}  // namespace

StopWays arch::running_ways() {
  return {.xen = token, .acpi = std::nullopt};
}

Console& console() {
  return early_console;
}

void print(std::string_view text) {
  early_console.write(text);
}

void halt_forever() {
  for (;;) {
    asm volatile("cli; hlt");
  }
}

void reset(Boot& boot) {
  early_console.flush();
  try_reset(boot.machine(), stop_ways(boot));
  halt_forever();
}

void crash(Boot& boot, std::string_view why) {
  using std::string_view_literals::operator""sv;
  print("\nkernel: "sv);
  print(why);
  print("\n"sv);
  early_console.flush();
  try_crash(boot.machine(), stop_ways(boot));
  halt_forever();
}

void power_off(Boot& boot) {
  early_console.flush();
  try_power_off(boot.machine(), stop_ways(boot));
  halt_forever();
}

}  // namespace pvh::guest

void pvh_start(std::uint32_t start_info) {
  using namespace pvh::guest;
  const pvh::base::PhysAddr address(start_info);
  arch::load_descriptors_on_boot_processor();
  arch::leave_identity_map();
  Machine machine(arch::boot_translator());
  console().start(machine);
  auto boot = capture(machine, address, arch::image(), pvh_storage(), {.detect = detect_options()});
  if (!boot) {
    fail(machine, address, boot.error());
  }
  token = boot->xen();
  if (token) {
    const bool is_hardware_domain = (boot->start_info().flags & pvh::abi::SIF_INITDOMAIN) != 0;
    console().add_xen(*token, is_hardware_domain);
  }
  run_initializers();
  pvh_main(*boot);
  reset(*boot);
}
