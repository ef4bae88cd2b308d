// SPDX-License-Identifier: BSD-2-Clause
// What hypervisors tell beyond their presence: apart from detection, which every kernel links.
#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/guest/hypervisor.hpp>

namespace pvh::guest {
namespace {

// VMware's, taken over by the others: EAX the TSC's, EBX the local APIC timer's frequency in kHz.
// It is in the first block only.
constexpr std::uint32_t kFrequencyLeaf = 0x40000010;

std::optional<std::uint32_t> unless_zero(std::uint32_t khz) {
  return khz == 0 ? std::nullopt : std::optional(khz);
}

bool has_frequency_leaf(const Hypervisor& hypervisor) {
  const bool knows = hypervisor.kind == HypervisorKind::kKvm ||
                     hypervisor.kind == HypervisorKind::kVmware ||
                     hypervisor.kind == HypervisorKind::kAcrn;
  return knows && hypervisor.base == abi::XEN_CPUID_FIRST_LEAF &&
         hypervisor.max_leaf >= kFrequencyLeaf;
}

}  // namespace

std::string_view to_string(HypervisorKind kind) {
  using std::string_view_literals::operator""sv;
  switch (kind) {
    case HypervisorKind::kUnknown:
      return "unknown"sv;
    case HypervisorKind::kXen:
      return "Xen"sv;
    case HypervisorKind::kKvm:
      return "KVM"sv;
    case HypervisorKind::kHyperV:
      return "Hyper-V"sv;
    case HypervisorKind::kTcg:
      return "QEMU TCG"sv;
    case HypervisorKind::kBhyve:
      return "bhyve"sv;
    case HypervisorKind::kVmware:
      return "VMware"sv;
    case HypervisorKind::kAcrn:
      return "ACRN"sv;
  }
  return "unknown"sv;
}

Frequencies frequencies(Machine& machine, const Hypervisors& hypervisors) {
  Frequencies told;
  for (const Hypervisor& each : hypervisors.all()) {
    if (each.kind == HypervisorKind::kXen && each.max_leaf - each.base >= abi::kXenCpuidTime) {
      told.tsc_khz = unless_zero(machine.cpuid(each.base + abi::kXenCpuidTime, 0).ecx);
      return told;
    }
    if (has_frequency_leaf(each)) {
      const CpuidResult leaf = machine.cpuid(kFrequencyLeaf);
      told = {.tsc_khz = unless_zero(leaf.eax), .apic_timer_khz = unless_zero(leaf.ebx)};
    }
  }
  return told;
}

}  // namespace pvh::guest
