// SPDX-License-Identifier: BSD-2-Clause
// The local APIC of the processor that runs, as far as starting others needs it. Intel SDM 3A,
// chapter "Advanced Programmable Interrupt Controller".
#pragma once

#include <cstdint>
#include <optional>

#include <pvh/base/address.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest {

// The low half of the interrupt command register.
inline constexpr std::uint32_t kApicInit = 0x4500;     // asserted
inline constexpr std::uint32_t kApicStartUp = 0x4600;  // and the number of a page below 1 MiB

class LocalApic {
 public:
  // In the mode that it is in; nothing when it is missing or switched off.
  [[nodiscard]] static std::optional<LocalApic> find(Machine& machine);

  [[nodiscard]] std::optional<std::uint32_t> id();
  // False: its registers are out of reach, or it cannot name that processor.
  [[nodiscard]] bool send(std::uint32_t apic_id, std::uint32_t command);

 private:
  LocalApic(Machine& machine, std::optional<base::PhysAddr> registers)
      : machine_(&machine), registers_(registers) {}
  [[nodiscard]] base::PhysAddr at(std::uint64_t offset) const {
    return base::PhysAddr(registers_->value() + offset);
  }

  Machine* machine_;
  std::optional<base::PhysAddr> registers_;  // nothing in x2APIC mode: there they are MSRs
};

}  // namespace pvh::guest
