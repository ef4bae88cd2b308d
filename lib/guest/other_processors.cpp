// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/smp.hpp>
#include <pvh/guest/xen.hpp>

#include "internal/local_apic.hpp"
#include "internal/madt.hpp"

namespace pvh::guest {
namespace {

// More than any Xen has; so that an answer which is always "down" ends.
constexpr std::uint32_t kMostVcpus = 4096;

OtherProcessors vcpus(Boot& boot, std::span<Processor> out, Diagnostics& diagnostics) {
  Machine& machine = boot.machine();
  const xen::Token& token = *boot.xen();
  const std::uint32_t own = xen::vcpu_id(machine, token).value_or(0);
  std::size_t used = 0;
  std::size_t needed = 0;
  for (std::uint32_t number = 0; number < kMostVcpus; ++number) {
    if (!xen::vcpu_is_up(machine, token, number)) {
      break;
    }
    if (number == own) {
      continue;
    }
    if (used < out.size()) {
      out[used++] = {.apic_id = kUnknownApicId, .uid = number, .enabled = true};
    }
    ++needed;
  }
  if (boot.rsdp()) {
    acpi::MadtWalk walk(machine, *boot.rsdp(), diagnostics);
    while (const auto told = walk.next()) {
      for (Processor& each : out.first(used)) {
        if (each.uid == told->uid) {
          each.apic_id = told->apic_id;
        }
      }
    }
  }
  return {out.first(used), needed};
}

std::uint32_t own_apic_id(Machine& machine) {
  auto apic = LocalApic::find(machine);
  const auto id = apic ? apic->id() : std::nullopt;
  return id ? *id : machine.cpuid(1).ebx >> 24;
}

}  // namespace

OtherProcessors other_processors(Boot& boot, std::span<Processor> out) {
  // What is wrong with the tables is in the boot's own since capture().
  Diagnostics diagnostics;
  if (boot.xen()) {
    return vcpus(boot, out, diagnostics);
  }
  acpi::ProcessorList list(out);
  if (boot.rsdp()) {
    const std::uint32_t own = own_apic_id(boot.machine());
    acpi::MadtWalk walk(boot.machine(), *boot.rsdp(), diagnostics);
    while (const auto processor = walk.next()) {
      if (processor->enabled && processor->apic_id != own) {
        list.add(*processor);
      }
    }
  }
  return {list.result().processors, list.result().needed};
}

}  // namespace pvh::guest
