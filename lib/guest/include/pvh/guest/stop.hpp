// SPDX-License-Identifier: BSD-2-Clause
// The ends of a kernel. Each tries what the machine has, best first, and if nothing ends it, halts
// with interrupts off.
#pragma once

#include <cstdint>
#include <optional>

#include <pvh/guest/acpi.hpp>
#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest {

inline constexpr std::uint16_t kDebugExitPort = 0xf4;

// What stopping may use; a member that is absent is not tried.
struct StopWays {
  std::optional<xen::Token> xen;
  std::optional<AcpiPower> acpi;
};

// Each returns only when no way worked, so that a host test can look; a kernel goes on with
// halt_forever() (the functions in pvh.hpp do).

// Xen's SHUTDOWN_poweroff, ACPI S5.
void try_power_off(Machine& machine, const StopWays& ways);
// Xen's SHUTDOWN_reboot, ACPI's reset register, the keyboard controller's reset line, a reset by
// port 0xcf9.
void try_reset(Machine& machine, const StopWays& ways);
// Xen's SHUTDOWN_crash, else as try_reset: a monitor that resets ends, one that does not is left
// halted.
void try_crash(Machine& machine, const StopWays& ways);
// QEMU's isa-debug-exit, and ours: the process ends with 2 * value + 1. Nothing happens where the
// device is missing.
void debug_exit(Machine& machine, std::uint8_t value);

}  // namespace pvh::guest
