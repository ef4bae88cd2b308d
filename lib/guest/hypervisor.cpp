// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>

#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/guest/hypervisor.hpp>

namespace pvh::guest {
namespace {

// Without it a literal may become a strlen at run time.
using std::string_view_literals::operator""sv;

using Twelve = std::array<char, 12>;

// The twelve characters that CPUID spreads over three registers.
constexpr Twelve twelve(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return std::bit_cast<Twelve>(std::array{a, b, c});
}

constexpr std::string_view text(const Twelve& characters) {
  return {characters.data(), characters.size()};
}

HypervisorKind kind_of(std::string_view signature) {
  if (signature == "XenVMMXenVMM"sv) {
    return HypervisorKind::kXen;
  }
  if (signature == "KVMKVMKVM\0\0\0"sv) {
    return HypervisorKind::kKvm;
  }
  if (signature == "Microsoft Hv"sv) {
    return HypervisorKind::kHyperV;
  }
  if (signature == "TCGTCGTCGTCG"sv) {
    return HypervisorKind::kTcg;
  }
  if (signature == "bhyve bhyve "sv) {
    return HypervisorKind::kBhyve;
  }
  if (signature == "VMwareVMware"sv) {
    return HypervisorKind::kVmware;
  }
  if (signature == "ACRNACRNACRN"sv) {
    return HypervisorKind::kAcrn;
  }
  return HypervisorKind::kUnknown;
}

// Text, perhaps padded with NULs. What a processor answers for a leaf that it does not have is
// zeroes or another leaf's numbers.
bool is_signature(std::string_view characters) {
  while (!characters.empty() && characters.back() == '\0') {
    characters.remove_suffix(1);
  }
  return !characters.empty() &&
         std::ranges::all_of(characters, [](char each) { return each >= ' ' && each <= '~'; });
}

std::optional<Hypervisor> block_at(Machine& machine, std::uint32_t base) {
  const CpuidResult leaf = machine.cpuid(base);
  Hypervisor found{
      .signature = twelve(leaf.ebx, leaf.ecx, leaf.edx), .base = base, .max_leaf = leaf.eax};
  found.kind = kind_of(text(found.signature));
  if (found.kind == HypervisorKind::kKvm && leaf.eax == 0) {
    found.max_leaf = base + 1;
  }
  if (found.max_leaf < base || found.max_leaf - base >= abi::kCpuidBlockSize ||
      !is_signature(text(found.signature))) {
    return std::nullopt;
  }
  if (found.kind == HypervisorKind::kXen && found.max_leaf - base < abi::kXenCpuidLeastLeaves) {
    found.kind = HypervisorKind::kUnknown;
  }
  return found;
}

std::optional<xen::Transport> transport_of_vendor(Machine& machine) {
  const CpuidResult leaf = machine.cpuid(0);
  const Twelve vendor = twelve(leaf.ebx, leaf.edx, leaf.ecx);
  if (text(vendor) == "GenuineIntel"sv || text(vendor) == "CentaurHauls"sv ||
      text(vendor) == "  Shanghai  "sv) {
    return xen::Transport::kVmcall;
  }
  if (text(vendor) == "AuthenticAMD"sv || text(vendor) == "HygonGenuine"sv) {
    return xen::Transport::kVmmcall;
  }
  return std::nullopt;
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
