// SPDX-License-Identifier: BSD-2-Clause
#include "internal/local_apic.hpp"

namespace pvh::guest {
namespace {

constexpr std::uint32_t kHasApic = 1u << 9;  // CPUID.1:EDX

constexpr std::uint32_t kApicBase = 0x1b;  // MSR
constexpr std::uint64_t kX2ApicMode = 1u << 10;
constexpr std::uint64_t kEnabled = 1u << 11;
constexpr std::uint64_t kFlags = 0xfff;

// Offsets of registers; in x2APIC mode a sixteenth of them above this MSR.
constexpr std::uint32_t kFirstX2ApicMsr = 0x800;
constexpr std::uint32_t kId = 0x20;
constexpr std::uint32_t kCommandLow = 0x300;  // in x2APIC mode both halves
constexpr std::uint32_t kCommandHigh = 0x310;

constexpr unsigned kXApicIdShift = 24;
constexpr std::uint32_t kLargestXApicId = 0xfe;
constexpr std::uint32_t kDeliveryPending = 1u << 12;
// It is a few bus cycles, or an exit or two.
constexpr unsigned kMostPolls = 1000;

constexpr std::uint32_t x2apic_msr(std::uint32_t offset) {
  return kFirstX2ApicMsr + offset / 16;
}

}  // namespace

std::optional<LocalApic> LocalApic::find(Machine& machine) {
  if ((machine.cpuid(1).edx & kHasApic) == 0) {
    return std::nullopt;
  }
  const std::uint64_t base = machine.read_msr(kApicBase);
  if ((base & kEnabled) == 0) {
    return std::nullopt;
  }
  return (base & kX2ApicMode) != 0 ? LocalApic(machine, std::nullopt)
                                   : LocalApic(machine, base::PhysAddr(base & ~kFlags));
}

std::optional<std::uint32_t> LocalApic::id() {
  if (!registers_) {
    return static_cast<std::uint32_t>(machine_->read_msr(x2apic_msr(kId)));
  }
  const auto id = machine_->read_mmio32(at(kId));
  return id ? std::optional(*id >> kXApicIdShift) : std::nullopt;
}

bool LocalApic::send(std::uint32_t apic_id, std::uint32_t command) {
  if (!registers_) {
    machine_->write_msr(x2apic_msr(kCommandLow), std::uint64_t{apic_id} << 32 | command);
    return true;
  }
  if (apic_id > kLargestXApicId ||
      !machine_->write_mmio32(at(kCommandHigh), apic_id << kXApicIdShift) ||
      !machine_->write_mmio32(at(kCommandLow), command)) {
    return false;
  }
  for (unsigned i = 0; i < kMostPolls; ++i) {
    const auto low = machine_->read_mmio32(at(kCommandLow));
    if (!low || (*low & kDeliveryPending) == 0) {
      break;
    }
    machine_->pause();
  }
  return true;
}

}  // namespace pvh::guest
