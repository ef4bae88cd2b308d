// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <bit>

#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/guest/hypervisor.hpp>

namespace pvh::guest {
namespace {

using Twelve = std::array<char, 12>;

// The twelve characters that CPUID spreads over three registers.
constexpr Twelve twelve(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return std::bit_cast<Twelve>(std::array{a, b, c});
}

constexpr Twelve twelve(const char (&literal)[13]) {
  Twelve characters{};
  std::copy_n(literal, characters.size(), characters.begin());
  return characters;
}

template <typename T>
struct Named {
  Twelve characters;
  T meaning;
};

constexpr Named<HypervisorKind> kSignatures[]{
    {twelve("XenVMMXenVMM"), HypervisorKind::kXen},
    {twelve("KVMKVMKVM\0\0\0"), HypervisorKind::kKvm},
    {twelve("Microsoft Hv"), HypervisorKind::kHyperV},
    {twelve("TCGTCGTCGTCG"), HypervisorKind::kTcg},
    {twelve("bhyve bhyve "), HypervisorKind::kBhyve},
    {twelve("VMwareVMware"), HypervisorKind::kVmware},
    {twelve("ACRNACRNACRN"), HypervisorKind::kAcrn},
};

constexpr Named<xen::Transport> kVendors[]{
    {twelve("GenuineIntel"), xen::Transport::kVmcall},
    {twelve("CentaurHauls"), xen::Transport::kVmcall},
    {twelve("  Shanghai  "), xen::Transport::kVmcall},
    {twelve("AuthenticAMD"), xen::Transport::kVmmcall},
    {twelve("HygonGenuine"), xen::Transport::kVmmcall},
};

template <typename T>
std::optional<T> look_up(std::span<const Named<T>> table, const Twelve& characters) {
  for (const Named<T>& each : table) {
    if (each.characters == characters) {
      return each.meaning;
    }
  }
  return std::nullopt;
}

// Text, perhaps padded with NULs. What a processor answers for a leaf that it does not have is
// zeroes or another leaf's numbers.
bool is_signature(const Twelve& characters) {
  std::size_t length = characters.size();
  while (length > 0 && characters[length - 1] == '\0') {
    --length;
  }
  return length > 0 && std::ranges::all_of(std::span(characters).first(length),
                                           [](char each) { return each >= ' ' && each <= '~'; });
}

std::optional<Hypervisor> block_at(Machine& machine, std::uint32_t base) {
  const CpuidResult leaf = machine.cpuid(base);
  Hypervisor found{
      .signature = twelve(leaf.ebx, leaf.ecx, leaf.edx), .base = base, .max_leaf = leaf.eax};
  found.kind =
      look_up<HypervisorKind>(kSignatures, found.signature).value_or(HypervisorKind::kUnknown);
  if (found.kind == HypervisorKind::kKvm && leaf.eax == 0) {
    found.max_leaf = base + 1;
  }
  if (found.max_leaf < base || found.max_leaf - base >= abi::kCpuidBlockSize ||
      !is_signature(found.signature)) {
    return std::nullopt;
  }
  if (found.kind == HypervisorKind::kXen && found.max_leaf - base < abi::kXenCpuidLeastLeaves) {
    found.kind = HypervisorKind::kUnknown;
  }
  return found;
}

std::optional<xen::Transport> transport_of_vendor(Machine& machine) {
  const CpuidResult leaf = machine.cpuid(0);
  return look_up<xen::Transport>(kVendors, twelve(leaf.ebx, leaf.edx, leaf.ecx));
}

// Has Xen write its stubs. False when it has not, or when the page is unfit.
bool write_hypercall_page(Machine& machine, std::uint32_t cpuid_base,
                          const DetectOptions& options) {
  constexpr std::byte kRet{0xc3};
  const auto page = options.hypercall_page;
  if (page.size() < base::kPageSize.value() ||
      !options.hypercall_page_address.is_aligned(base::kPageSize)) {
    return false;
  }
  const CpuidResult leaf = machine.cpuid(cpuid_base + abi::kXenCpuidHypercallPage);
  if (leaf.eax != 1) {
    return false;
  }
  std::ranges::fill(page.first(base::kPageSize.value()), kRet);
  machine.write_msr(leaf.ebx, options.hypercall_page_address.value());
  return page[std::size_t{abi::__HYPERVISOR_memory_op} * abi::kHypercallPageStubSize] != kRet;
}

}  // namespace

namespace xen {

class Detection {
 public:
  static Hypervisors run(Machine& machine, const DetectOptions& options) {
    Hypervisors found;
    if ((machine.cpuid(1).ecx & abi::kCpuidHypervisorBit) == 0) {
      return found;
    }
    for (std::uint32_t base = abi::XEN_CPUID_FIRST_LEAF; base < abi::kCpuidBlocksEnd;
         base += abi::kCpuidBlockSize) {
      const auto block = block_at(machine, base);
      if (block) {
        keep(found, *block);
      } else if (!options.all_blocks && base != abi::XEN_CPUID_FIRST_LEAF) {
        break;
      }
    }
    if (const Hypervisor* xen = found.find(HypervisorKind::kXen)) {
      found.xen_ = token(machine, xen->base, options);
    }
    return found;
  }

 private:
  // More than there is room for are left out, but never the first Xen.
  static void keep(Hypervisors& found, const Hypervisor& block) {
    if (found.count_ < Hypervisors::kMost) {
      found.found_[found.count_++] = block;
    } else if (block.kind == HypervisorKind::kXen && !found.find(HypervisorKind::kXen)) {
      found.found_.back() = block;
    }
  }

  static std::optional<Token> token(Machine& machine, std::uint32_t cpuid_base,
                                    const DetectOptions& options) {
    if (const auto transport = transport_of_vendor(machine)) {
      return Token(cpuid_base, *transport, 0);
    }
    if (!write_hypercall_page(machine, cpuid_base, options)) {
      return std::nullopt;
    }
    return Token(cpuid_base, Transport::kHypercallPage,
                 reinterpret_cast<std::uintptr_t>(options.hypercall_page.data()));
  }
};

}  // namespace xen

Hypervisors detect_hypervisors(Machine& machine, const DetectOptions& options) {
  return xen::Detection::run(machine, options);
}

}  // namespace pvh::guest
