// SPDX-License-Identifier: BSD-2-Clause
// The two things that a hardware-reduced ACPI machine has left of power management: a sleep
// register pair and a reset register, as the FADT names them. The numbers here are the ones that
// the tables are built from. No state: nothing here can wake the machine.
#pragma once

#include <cstdint>

#include <pvh/devices/bus.hpp>

namespace pvh::devices {

inline constexpr Port kAcpiPmPort{0x600};
inline constexpr std::uint64_t kAcpiPmPorts = 4;

inline constexpr std::uint16_t kSleepControlPort = 0x600;
inline constexpr std::uint16_t kSleepStatusPort = 0x601;
inline constexpr std::uint16_t kResetPort = 0x602;

// What \_S5 gives for SLP_TYP, and what the FADT gives as RESET_VALUE.
inline constexpr std::uint8_t kSleepTypeS5 = 5;
inline constexpr std::uint8_t kResetValue = 1;

class AcpiPm final : public Device {
 public:
  void read(std::uint64_t offset, base::MutableBytes data) override;
  // kPowerOff for SLP_EN with the type of S5, kReset for the reset value; the rest has no effect.
  [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;
};

}  // namespace pvh::devices
