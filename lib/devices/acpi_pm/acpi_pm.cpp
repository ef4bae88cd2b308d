// SPDX-License-Identifier: BSD-2-Clause
// Source: ACPI 6.5, 4.8.3.7 (sleep control and status registers) and 4.8.3.6 (reset register).
#include <algorithm>

#include <pvh/devices/acpi_pm.hpp>

namespace pvh::devices {
namespace {

constexpr std::uint8_t kSleepEnable = 1u << 5;
constexpr unsigned kSleepTypeShift = 2;
constexpr std::uint8_t kSleepTypeMask = 7;

Action write_register(std::uint64_t port, std::uint8_t value) {
  if (port == kSleepControlPort) {
    const bool enable = (value & kSleepEnable) != 0;
    const bool s5 = ((value >> kSleepTypeShift) & kSleepTypeMask) == kSleepTypeS5;
    return enable && s5 ? Action{Request::kPowerOff} : Action{};
  }
  if (port == kResetPort && value == kResetValue) {
    return {Request::kReset};
  }
  return {};
}

}  // namespace

void AcpiPm::read(std::uint64_t /*offset*/, base::MutableBytes data) {
  std::ranges::fill(data, std::byte{0});
}

Action AcpiPm::write(std::uint64_t offset, base::Bytes data) {
  for (std::size_t i = 0; i < data.size(); ++i) {
    const Action action = write_register(address_value(kAcpiPmPort) + offset + i,
                                         std::to_integer<std::uint8_t>(data[i]));
    if (action.kind != Request::kNone) {
      return action;
    }
  }
  return {};
}

}  // namespace pvh::devices
