// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/stop.hpp>
#include <pvh/guest/xen.hpp>

namespace pvh::guest {
namespace {

// ACPI 6.5, 4.8.3.2.1: PM1 control.
constexpr unsigned kSleepTypeShift = 10;
constexpr std::uint16_t kSleepEnable = 1u << 13;
constexpr std::uint16_t kSleepBits = 7u << kSleepTypeShift | kSleepEnable;
// 4.8.3.7: sleep control, of a hardware-reduced machine.
constexpr unsigned kSleepControlTypeShift = 2;
constexpr std::uint8_t kSleepControlEnable = 1u << 5;

constexpr std::uint16_t kKeyboardCommand = 0x64;
constexpr std::uint8_t kPulseResetLine = 0xfe;
constexpr std::uint16_t kResetControl = 0xcf9;
constexpr std::uint8_t kFullReset = 0x02;
constexpr std::uint8_t kResetNow = 0x04;

void write_register(Machine& machine, const AcpiRegister& where, std::uint8_t value) {
  if (where.is_port) {
    machine.out8(static_cast<std::uint16_t>(where.address.value()), value);
    return;
  }
  // Nothing more can be done where nothing is mapped.
  static_cast<void>(machine.write(where.address, base::to_bytes(value)));
}

// The other bits are the system's: SCI_EN among them.
void write_pm1(Machine& machine, std::uint16_t port, std::uint8_t sleep_type) {
  const unsigned kept = machine.in16(port) & ~unsigned{kSleepBits};
  machine.out16(port, static_cast<std::uint16_t>(kept | unsigned{sleep_type} << kSleepTypeShift |
                                                 kSleepEnable));
}

}  // namespace

void try_power_off(Machine& machine, const StopWays& ways) {
  if (ways.xen) {
    xen::shutdown(machine, *ways.xen, xen::ShutdownReason::kPowerOff);
  }
  if (!ways.acpi || !ways.acpi->has_s5) {
    return;
  }
  if (ways.acpi->sleep_control) {
    const unsigned type = unsigned{ways.acpi->sleep_type_a} << kSleepControlTypeShift;
    write_register(machine, *ways.acpi->sleep_control,
                   static_cast<std::uint8_t>(type | kSleepControlEnable));
  }
  if (ways.acpi->pm1a_control) {
    write_pm1(machine, *ways.acpi->pm1a_control, ways.acpi->sleep_type_a);
  }
  if (ways.acpi->pm1b_control) {
    write_pm1(machine, *ways.acpi->pm1b_control, ways.acpi->sleep_type_b);
  }
}

void try_reset(Machine& machine, const StopWays& ways) {
  if (ways.xen) {
    xen::shutdown(machine, *ways.xen, xen::ShutdownReason::kReboot);
  }
  if (ways.acpi && ways.acpi->reset) {
    write_register(machine, *ways.acpi->reset, ways.acpi->reset_value);
  }
  machine.out8(kKeyboardCommand, kPulseResetLine);
  // Only a rising edge of the second bit counts.
  machine.out8(kResetControl, kFullReset);
  machine.out8(kResetControl, kFullReset | kResetNow);
}

void try_crash(Machine& machine, const StopWays& ways) {
  if (ways.xen) {
    xen::shutdown(machine, *ways.xen, xen::ShutdownReason::kCrash);
  }
  try_reset(machine, ways);
}

void debug_exit(Machine& machine, std::uint8_t value) {
  machine.out8(kDebugExitPort, value);
}

}  // namespace pvh::guest
