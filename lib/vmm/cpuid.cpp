// SPDX-License-Identifier: BSD-2-Clause
#include <cpuid.h>

#include <algorithm>
#include <bit>

#include <pvh/vmm/cpuid.hpp>

namespace pvh::vmm {
namespace {

// KVM's local APIC timer counts nanoseconds.
constexpr std::uint32_t kApicBusKhz = 1000000;

constexpr std::uint32_t bit(unsigned index) {
  return 1u << index;
}

void set_field(std::uint32_t& reg, unsigned high, unsigned low, std::uint32_t value) {
  const std::uint32_t mask = ((std::uint64_t{1} << (high - low + 1)) - 1) & 0xffffffff;
  reg = (reg & ~(mask << low)) | ((value & mask) << low);
}

kvm_cpuid_entry2 make_entry(std::uint32_t function, std::uint32_t index, std::uint32_t flags) {
  kvm_cpuid_entry2 entry{};
  entry.function = function;
  entry.index = index;
  entry.flags = flags;
  return entry;
}

bool exists(std::span<const kvm_cpuid_entry2> entries, std::uint32_t function) {
  return std::ranges::any_of(entries,
                             [&](const auto& entry) { return entry.function == function; });
}

void remove(std::vector<kvm_cpuid_entry2>& entries, std::uint32_t function) {
  std::erase_if(entries, [&](const auto& entry) { return entry.function == function; });
}

// Bits of an APIC id that number the cores of the package.
unsigned core_bits(unsigned cpus) {
  return static_cast<unsigned>(std::bit_width(cpus - 1));
}

void raise_limit(std::vector<kvm_cpuid_entry2>& entries, std::uint32_t base, std::uint32_t limit) {
  for (auto& entry : entries) {
    if (entry.function == base && entry.eax < limit) {
      entry.eax = limit;
    }
  }
}

// Leaves 0Bh and 1Fh: one thread per core, all cores in one package.
void add_extended_topology(std::vector<kvm_cpuid_entry2>& entries, std::uint32_t function,
                           const CpuidInput& input) {
  constexpr std::uint32_t kTypeSmt = 1;
  constexpr std::uint32_t kTypeCore = 2;
  remove(entries, function);
  auto smt = make_entry(function, 0, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
  smt.eax = 0;
  smt.ebx = 1;
  smt.ecx = kTypeSmt << 8;
  smt.edx = input.apic_id;
  auto core = make_entry(function, 1, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
  core.eax = core_bits(input.cpus);
  core.ebx = input.cpus;
  core.ecx = kTypeCore << 8 | 1;
  core.edx = input.apic_id;
  auto end = make_entry(function, 2, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
  end.ecx = 2;
  end.edx = input.apic_id;
  entries.insert(entries.end(), {smt, core, end});
}

bool is_amd(std::span<const kvm_cpuid_entry2> entries) {
  // EBX of leaf 0: "Auth"enticAMD, "Hygo"nGenuine.
  constexpr std::uint32_t kAuth = 0x68747541;
  constexpr std::uint32_t kHygo = 0x6f677948;
  return std::ranges::any_of(entries, [](const auto& entry) {
    return entry.function == 0 && (entry.ebx == kAuth || entry.ebx == kHygo);
  });
}

// The caches of leaves 4 (Intel) and 8000001Dh (AMD): levels 1 and 2 belong to a core, level 3 to
// the package.
void set_cache_sharing(kvm_cpuid_entry2& entry, unsigned cpus) {
  const bool is_cache = (entry.eax & 31) != 0;
  if (!is_cache) {
    return;
  }
  const std::uint32_t level = entry.eax >> 5 & 7;
  set_field(entry.eax, 25, 14, level >= 3 ? (1u << core_bits(cpus)) - 1 : 0);
}

void adjust(kvm_cpuid_entry2& entry, const CpuidInput& input) {
  const std::uint32_t cores = input.cpus;
  switch (entry.function) {
    case 1:
      entry.ecx |= bit(31) | bit(24) |
                   bit(21);  // hypervisor present, TSC deadline, x2APIC: KVM emulates both
      set_field(entry.ebx, 31, 24, input.apic_id);
      set_field(entry.ebx, 23, 16, std::min(cores, 255u));
      entry.edx = cores > 1 ? entry.edx | bit(28)
                            : entry.edx & ~bit(28);  // HTT: more than one id in the package
      break;
    case 4:
      set_cache_sharing(entry, cores);
      if ((entry.eax & 31) != 0) {
        set_field(entry.eax, 31, 26, std::min((1u << core_bits(cores)) - 1, 63u));
      }
      break;
    case 7:
      if (entry.index == 0) {
        // A PVH kernel builds its own 4-level tables before it looks; Linux then trips over five
        // levels.
        entry.ecx &= ~bit(16);
      }
      break;
    default:
      break;
  }
}

void adjust_amd(kvm_cpuid_entry2& entry, const CpuidInput& input) {
  const std::uint32_t cores = input.cpus;
  switch (entry.function) {
    case 0x80000001:
      entry.ecx =
          cores > 1 ? entry.ecx | bit(1) : entry.ecx & ~bit(1);  // CmpLegacy: cores, not threads
      break;
    case 0x80000008:
      set_field(entry.ecx, 15, 12, core_bits(cores));
      set_field(entry.ecx, 7, 0, std::min(cores - 1, 255u));
      break;
    case 0x8000001d:
      set_cache_sharing(entry, cores);
      break;
    case 0x8000001e:
      entry.eax = input.apic_id;
      entry.ebx = input.apic_id & 0xff;  // one thread per core
      entry.ecx = 0;                     // one node
      break;
    default:
      break;
  }
}

}  // namespace

std::optional<kvm_cpuid_entry2> host_leaf(std::uint32_t function) {
  kvm_cpuid_entry2 leaf = make_entry(function, 0, 0);
  if (__get_cpuid(function, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx) == 0 || leaf.eax == 0) {
    return std::nullopt;
  }
  return leaf;
}

std::vector<kvm_cpuid_entry2> guest_cpuid(std::span<const kvm_cpuid_entry2> offer,
                                          const CpuidInput& input) {
  std::vector<kvm_cpuid_entry2> entries(offer.begin(), offer.end());
  const bool amd = is_amd(offer);
  for (auto& entry : entries) {
    adjust(entry, input);
    if (amd) {
      adjust_amd(entry, input);
    }
  }
  add_extended_topology(entries, 0xb, input);
  raise_limit(entries, 0, 0xb);
  if (exists(offer, 0x1f)) {
    add_extended_topology(entries, 0x1f, input);
  }
  for (const auto& leaf : {input.host_leaf_15, input.host_leaf_16}) {
    if (leaf) {
      remove(entries, leaf->function);
      entries.push_back(*leaf);
      raise_limit(entries, 0, leaf->function);
    }
  }
  if (input.tsc_khz != 0 && exists(offer, kKvmSignature)) {
    // The frequencies that VMware introduced and every BSD and Linux reads: TSC and local APIC
    // timer in kHz.
    remove(entries, 0x40000010);
    auto frequencies = make_entry(0x40000010, 0, 0);
    frequencies.eax = input.tsc_khz;
    frequencies.ebx = kApicBusKhz;
    entries.push_back(frequencies);
    raise_limit(entries, kKvmSignature, 0x40000010);
  }
  return entries;
}

}  // namespace pvh::vmm
