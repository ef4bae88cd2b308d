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

void print_line(void* /*context*/, std::string_view line) {
  print(line);
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
  const Hypervisors hypervisors = detect_hypervisors(
      machine,
      {.hypercall_page = hypercall_page, .hypercall_page_address = arch::physical(hypercall_page)});
  token = hypervisors.xen();
  auto boot = capture(machine, hypervisors, address, arch::image(), pvh_storage());
  if (token) {
    // A domain of which nothing is known takes the others' ways, which are harmless for the
    // hardware domain.
    console().add_xen(*token, boot && (boot->start_info().flags & pvh::abi::SIF_INITDOMAIN) != 0);
  }
  if (!boot) {
    dump_failure(machine, address, boot.error(), hypervisors, print_line, nullptr);
    console().flush();
    try_crash(machine, arch::running_ways());
    halt_forever();
  }
  run_initializers();
  pvh_main(*boot);
  reset(*boot);
}
