// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <bit>

#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/guest/hypervisor.hpp>

namespace pvh::guest {
namespace {

// The twelve characters that CPUID spreads over three registers.
using Twelve = std::array<std::uint32_t, 3>;

constexpr Twelve twelve(const char (&literal)[13]) {
  std::array<char, 12> characters{};
  std::copy_n(literal, characters.size(), characters.begin());
  return std::bit_cast<Twelve>(characters);
}

struct Named {
  Twelve characters;
  std::uint32_t meaning;  // of the table's own kind
};

constexpr Named named(const char (&literal)[13], HypervisorKind kind) {
  return {twelve(literal), static_cast<std::uint32_t>(kind)};
}
constexpr Named named(const char (&literal)[13], xen::Transport transport) {
  return {twelve(literal), static_cast<std::uint32_t>(transport)};
}

constexpr Named kSignatures[]{
    named("XenVMMXenVMM", HypervisorKind::kXen),    named("KVMKVMKVM\0\0\0", HypervisorKind::kKvm),
    named("Microsoft Hv", HypervisorKind::kHyperV), named("TCGTCGTCGTCG", HypervisorKind::kTcg),
    named("bhyve bhyve ", HypervisorKind::kBhyve),  named("VMwareVMware", HypervisorKind::kVmware),
    named("ACRNACRNACRN", HypervisorKind::kAcrn),
};

constexpr Named kVendors[]{
    named("GenuineIntel", xen::Transport::kVmcall),
    named("CentaurHauls", xen::Transport::kVmcall),
    named("  Shanghai  ", xen::Transport::kVmcall),
    named("AuthenticAMD", xen::Transport::kVmmcall),
    named("HygonGenuine", xen::Transport::kVmmcall),
};

// Its meaning, or `otherwise` when it is not in the table.
std::uint32_t look_up(std::span<const Named> table, const Twelve& characters,
                      std::uint32_t otherwise) {
  for (const Named& each : table) {
    if (each.characters == characters) {
      return each.meaning;
    }
  }
  return otherwise;
}

// Text, perhaps padded with NULs. What a processor answers for a leaf that it does not have is
// zeroes or another leaf's numbers.
bool is_signature(std::span<const char> characters) {
  std::size_t at = 0;
  while (at < characters.size() && characters[at] >= ' ' && characters[at] <= '~') {
    ++at;
  }
  const bool has_text = at > 0;
  while (at < characters.size() && characters[at] == '\0') {
    ++at;
  }
  return has_text && at == characters.size();
}

// Fills `found`; false when there is no block.
bool read_block(Machine& machine, std::uint32_t base, Hypervisor& found) {
  const CpuidResult leaf = machine.cpuid(base);
  const Twelve signature{leaf.ebx, leaf.ecx, leaf.edx};
  found.signature = std::bit_cast<std::array<char, 12>>(signature);
  found.base = base;
  found.max_leaf = leaf.eax;
  found.kind = HypervisorKind{static_cast<std::uint8_t>(look_up(kSignatures, signature, 0))};
  if (found.kind == HypervisorKind::kKvm && leaf.eax == 0) {
    found.max_leaf = base + 1;
  }
  if (found.max_leaf - base >= abi::kCpuidBlockSize || !is_signature(found.signature)) {
    return false;
  }
  if (found.kind == HypervisorKind::kXen && found.max_leaf - base < abi::kXenCpuidLeastLeaves) {
    found.kind = HypervisorKind::kUnknown;
  }
  return true;
}

xen::Transport transport_of_vendor(Machine& machine) {
  const CpuidResult leaf = machine.cpuid(0);
  return xen::Transport{static_cast<std::uint8_t>(
      look_up(kVendors, {leaf.ebx, leaf.edx, leaf.ecx},
              static_cast<std::uint32_t>(xen::Transport::kHypercallPage)))};
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
      Hypervisor block;
      if (read_block(machine, base, block)) {
        keep(found, block);
      } else if (!options.all_blocks && base != abi::XEN_CPUID_FIRST_LEAF) {
        break;
      }
    }
    if (const Hypervisor* xen = found.find(HypervisorKind::kXen)) {
      make_token(found.xen_, machine, xen->base, options);
    }
    return found;
  }

 private:
  // More than there is room for are left out, but never the first Xen.
  static void keep(Hypervisors& found, const Hypervisor& block) {
    if (found.count_ < Hypervisors::kMost) {
      ++found.count_;
    } else if (block.kind != HypervisorKind::kXen || found.find(HypervisorKind::kXen)) {
      return;
    }
    found.found_[found.count_ - 1] = block;
  }

  static void make_token(std::optional<Token>& token, Machine& machine, std::uint32_t cpuid_base,
                         const DetectOptions& options) {
    const Transport transport = transport_of_vendor(machine);
    std::uintptr_t page = 0;
    if (transport == Transport::kHypercallPage) {
      if (!write_hypercall_page(machine, cpuid_base, options)) {
        return;
      }
      page = reinterpret_cast<std::uintptr_t>(options.hypercall_page.data());
    }
    token.emplace(Token(cpuid_base, transport, page));
  }
};

}  // namespace xen

Hypervisors detect_hypervisors(Machine& machine, const DetectOptions& options) {
  return xen::Detection::run(machine, options);
}

}  // namespace pvh::guest
