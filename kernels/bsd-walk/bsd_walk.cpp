// SPDX-License-Identifier: BSD-2-Clause
// Boots as FreeBSD does, from 14 on, as far as the machine under it goes: each step by the file and
// the function of FreeBSD that it follows, each thing that FreeBSD counts on a claim (claims.inc).
// It differs in going on where FreeBSD would panic, as long as there is something to look at.
//
// The command line says what is to be found: bsd.cpus=, bsd.memory= (bytes), bsd.virtio= (devices).
#include "bsd-walk/acpi.hpp"
#include "bsd-walk/boot.hpp"
#include "bsd-walk/claims.hpp"
#include "bsd-walk/clocks.hpp"
#include "bsd-walk/machine.hpp"
#include "bsd-walk/mptable.hpp"
#include "bsd-walk/physmap.hpp"
#include "bsd-walk/power.hpp"
#include "bsd-walk/uart.hpp"
#include "bsd-walk/virtio.hpp"

namespace pvh::kernels::bsd {
namespace {

Environment environment;

void judge_mode() {
  constexpr std::uint32_t kEfer = 0xc0000080;
  constexpr std::uint64_t kLongModeActive = 1u << 10;
  const auto here = reinterpret_cast<std::uint64_t>(&judge_mode);
  judge(Claim::kLongMode, here >= kKernBase && (read_msr(kEfer) & kLongModeActive) != 0,
        Line().text("this runs at "sv).hex(here));
}

// hammer_time_xen() and hammer_time(), then the drivers in the order in which they attach.
[[noreturn]] void walk(std::uint32_t start_info) {
  Boot boot{};
  Acpi acpi;
  uart::start();
  judge_mode();
  if (read_start_info(start_info, boot, environment)) {
    const std::uint32_t base_memory = build_physmap(boot, environment);
    bootstrap_pmap();
    walk_clocks();
    acpi = walk_acpi(boot, environment);
    const std::uint32_t inputs = walk_mp_table(base_memory, environment, !acpi.madt);
    walk_virtio(acpi, environment, acpi.madt ? acpi.inputs : inputs);
    uart::judge_probes();
  }
  finish(acpi, environment, finish_claims());
}

}  // namespace
}  // namespace pvh::kernels::bsd

extern "C" [[noreturn]] void hammer_time_xen(std::uint32_t start_info) {
  pvh::kernels::bsd::walk(start_info);
}
