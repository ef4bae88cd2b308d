// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_shared_info.hpp>

#include "internal/xen_call.hpp"
#include "internal/xen_vcpu_context.hpp"

namespace pvh::guest::xen {

std::optional<std::uint32_t> vcpu_id(Machine& machine, const Token& token) {
  const std::uint32_t base = token.cpuid_base();
  if (machine.cpuid(base).eax - base < abi::kXenCpuidHvm) {
    return std::nullopt;
  }
  const CpuidResult leaf = machine.cpuid(base + abi::kXenCpuidHvm, 0);
  if ((leaf.eax & abi::XEN_HVM_CPUID_VCPU_ID_PRESENT) == 0) {
    return std::nullopt;
  }
  return leaf.ebx;
}

Result<void> register_vcpu_info(Machine& machine, const Token& token, std::uint32_t vcpu,
                                base::PhysAddr place) {
  const auto page = place.align_down(base::kPageSize).value_or(place);
  const std::uint64_t offset = place.value() - page.value();
  if (offset > base::kPageSize.value() - abi::kVcpuInfoSize) {
    return std::unexpected(Error::kInvalid);
  }
  const abi::vcpu_register_vcpu_info argument{
      .mfn = base::Le64(page.value() / base::kPageSize.value()),
      .offset = base::Le32(static_cast<std::uint32_t>(offset)),
      .rsvd = {}};
  return done(machine.hypercall(token, abi::__HYPERVISOR_vcpu_op, abi::VCPUOP_register_vcpu_info,
                                vcpu, linear(&argument)));
}

Result<bool> vcpu_is_up(Machine& machine, const Token& token, std::uint32_t vcpu) {
  const auto up =
      value_of(machine.hypercall(token, abi::__HYPERVISOR_vcpu_op, abi::VCPUOP_is_up, vcpu), 1);
  if (!up) {
    return std::unexpected(up.error());
  }
  return *up == 1;
}

Result<void> start_vcpu(Machine& machine, const Token& token, std::uint32_t vcpu,
                        const VcpuStart& start) {
  const auto context = [&] {
    if constexpr (sizeof(Word) == 8) {
      return context_64(start);
    } else {
      return context_32(start);
    }
  }();
  const auto initialised = done(machine.hypercall(token, abi::__HYPERVISOR_vcpu_op,
                                                  abi::VCPUOP_initialise, vcpu, linear(&context)));
  if (!initialised) {
    return initialised;
  }
  return done(machine.hypercall(token, abi::__HYPERVISOR_vcpu_op, abi::VCPUOP_up, vcpu));
}

}  // namespace pvh::guest::xen
