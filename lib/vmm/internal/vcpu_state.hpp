// SPDX-License-Identifier: BSD-2-Clause
// A vCPU before its first instruction: what firmware would have set, and the plan's entry state.
#pragma once

#include <pvh/kvm/kvm.hpp>
#include <pvh/loader/plan.hpp>

namespace pvh::vmm::internal {

// Every vCPU: memory type write-back by default, fast strings on, LINT0 ExtINT and LINT1 NMI as the
// tables say.
[[nodiscard]] kvm::Result<void> prepare_vcpu(kvm::Vcpu& vcpu);

// The boot vCPU only.
[[nodiscard]] kvm::Result<void> set_entry_state(kvm::Vcpu& vcpu, const loader::EntryState& entry);

// `sregs` (as KVM resets them) with the plan's segments, tables and control registers.
[[nodiscard]] kvm_sregs apply(kvm_sregs sregs, const loader::EntryState& entry);

}  // namespace pvh::vmm::internal
