// SPDX-License-Identifier: BSD-2-Clause
// What belongs to the processors: MSRs, control registers, interrupts, hypercalls. Most of it is
// KVM's to bear; what KVM hands on to the monitor is not known beforehand.
#include <iterator>

#include "hostile/attacks.hpp"
#include "hostile/attempt.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint64_t kLocalApic = 0xfee00000;
constexpr std::uint32_t kApicBase = 0x1b;

struct MsrRange {
  std::uint32_t begin;
  std::uint32_t end;
};

// Of these the guest itself could not live on: time stamps, where FS and GS and system calls go,
// the APIC's base.
bool is_spared(std::uint32_t msr) {
  return msr == 0x10 || msr == kApicBase || msr == 0x3b || msr == 0xc0000080;
}

// KVM's own, that name memory to be written to: Documentation/virt/kvm/x86/msr.rst.
bool names_memory(std::uint32_t msr) {
  return msr == 0x11 || msr == 0x12 || (msr >= 0x4b564d00 && msr < 0x4b564d10) ||
         (msr >= 0x40000000 && msr < 0x40000200);
}

void model_specific_registers(Attacker& guest) {
  constexpr MsrRange kRanges[] = {{0, 0x300},
                                  {0x400, 0x500},
                                  {0x800, 0x840},
                                  {0x1000, 0x1008},
                                  {0x40000000, 0x40000120},
                                  {0x4b564d00, 0x4b564d10},
                                  {0xc0000080, 0xc0000110},
                                  {0xc0010000, 0xc0010200}};
  for (const MsrRange& range : kRanges) {
    for (std::uint32_t msr = range.begin; msr < range.end; ++msr) {
      std::uint64_t before = 0;
      const bool readable = attempt([&] { before = guest.machine.read_msr(msr); });
      if (is_spared(msr)) {
        continue;
      }
      const std::uint64_t value =
          names_memory(msr) ? guest.bad_address() | guest.random.below(8) : guest.random.next();
      const bool written = attempt([&] { guest.machine.write_msr(msr, value); });
      if (readable && written) {
        static_cast<void>(attempt([&] { guest.machine.write_msr(msr, before); }));
      }
    }
  }
}

void control_registers(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(3000); ++i) {
    const std::uint64_t flip = std::uint64_t{1}
                               << guest.random.below(guest.random.one_in(4) ? 64 : 24);
    const std::uint32_t which = guest.random.below(5);
    static_cast<void>(attempt([&] {
      std::uint64_t value = 0;
      switch (which) {
        case 0:
          asm volatile("movq %%cr0, %0; xorq %0, %1; movq %1, %%cr0; movq %0, %%cr0"
                       : "=&r"(value)
                       : "r"(flip)
                       : "memory", "cc");
          break;
        case 1:
          asm volatile("movq %%cr4, %0; xorq %0, %1; movq %1, %%cr4; movq %0, %%cr4"
                       : "=&r"(value)
                       : "r"(flip)
                       : "memory", "cc");
          break;
        case 2:
          asm volatile("movq %0, %%cr8; movq %1, %%cr8" : : "r"(flip), "r"(value));
          break;
        case 3:
          asm volatile("movq %0, %%db7; movq %1, %%db7" : : "r"(flip & ~0xffull), "r"(value));
          break;
        default:
          asm volatile("xsetbv"
                       :
                       : "a"(static_cast<std::uint32_t>(flip)),
                         "d"(static_cast<std::uint32_t>(flip >> 32)), "c"(0));
          break;
      }
    }));
  }
}

void cpuid_leaves(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(3000); ++i) {
    constexpr std::uint32_t kBases[] = {0, 0x40000000, 0x40000100, 0x80000000, 0xc0000000};
    const std::uint32_t leaf = guest.random.one_in(4)
                                   ? static_cast<std::uint32_t>(guest.random.next())
                                   : guest.random.of(kBases) + guest.random.below(0x30);
    static_cast<void>(guest.machine.cpuid(leaf, guest.random.below(0x40)));
  }
}

// As KVM numbers them; not KVM_HC_SEND_IPI, which is interrupts().
void hypercalls(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(2000); ++i) {
    constexpr std::uint32_t kSendIpi = 10;
    std::uint64_t number = guest.random.one_in(8) ? guest.random.next() : guest.random.below(24);
    if (number == kSendIpi) {
      continue;
    }
    const std::uint64_t first = guest.bad_address();
    const std::uint64_t second = guest.random.below(16);
    const std::uint64_t third = guest.random.next();
    static_cast<void>(attempt([&] {
      asm volatile("vmmcall"
                   : "+a"(number)
                   : "b"(first), "c"(second), "d"(third), "S"(0)
                   : "memory");
    }));
    static_cast<void>(attempt([&] {
      asm volatile("vmcall"
                   : "+a"(number)
                   : "b"(first), "c"(second), "d"(third), "S"(0)
                   : "memory");
    }));
  }
}

// The local APIC moved over RAM, over devices and beyond everything, touched there, and moved back.
void apic_base(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(200); ++i) {
    const std::uint64_t before = guest.machine.read_msr(kApicBase);
    const std::uint64_t place = guest.bad_address() & 0xffff'f000;
    static_cast<void>(attempt([&] {
      guest.machine.write_msr(kApicBase, (before & 0xfff) | place);
      static_cast<void>(*reinterpret_cast<volatile std::uint32_t*>(place + 0x20));
      static_cast<void>(*reinterpret_cast<volatile std::uint32_t*>(kLocalApic + 0x20));
    }));
    guest.machine.write_msr(kApicBase, before);
  }
}

// INIT, SIPI and fixed interrupts at the others in any order, who wait in real mode. Never at
// itself.
void interrupts(Attacker& guest) {
  constexpr std::uint8_t kHaltForever[] = {0xfa, 0xf4, 0xeb, 0xfc};  // cli; hlt; jmp
  const auto page = guest.boot.allocate_low_page();
  if (!page) {
    return;
  }
  auto* const code = reinterpret_cast<std::uint8_t*>(page->first().value());
  for (std::size_t i = 0; i < sizeof(kHaltForever); ++i) {
    code[i] = kHaltForever[i];
  }
  const auto vector = static_cast<std::uint32_t>(page->first().value() >> 12);
  auto* const apic = reinterpret_cast<volatile std::uint32_t*>(kLocalApic);
  apic[0xf0 / 4] = 0x1ff;
  for (std::uint32_t i = 0; i < guest.times(8000); ++i) {
    constexpr std::uint32_t kAllButSelf = 3u << 18;
    constexpr std::uint32_t kInit = 0x4500, kInitRelease = 0x8500;
    const std::uint32_t startup = 0x4600 | vector;
    const std::uint32_t fixed = 0x4000 | (16 + guest.random.below(240));
    const std::uint32_t commands[] = {kInit, kInitRelease, startup, startup, fixed};
    const std::uint32_t command = guest.random.of(commands);
    apic[0x310 / 4] = (1 + guest.random.below(254)) << 24;
    apic[0x300 / 4] = guest.random.one_in(2) ? command | kAllButSelf : command;
  }
}

// All of the local APIC's and the I/O APIC's registers, with whatever value: nobody can say where
// that ends.
void wild_apics(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(20000); ++i) {
    const std::uint64_t base = guest.random.one_in(2) ? kLocalApic : 0xfec00000;
    auto* const at =
        reinterpret_cast<volatile std::uint32_t*>(base + guest.random.below(0x40) * 16);
    if (guest.random.one_in(2)) {
      *at = static_cast<std::uint32_t>(guest.random.next());
    } else {
      static_cast<void>(*at);
    }
  }
}

constexpr Attack kAttacks[] = {{"msrs"sv, model_specific_registers},
                               {"control-registers"sv, control_registers},
                               {"cpuid"sv, cpuid_leaves},
                               {"hypercalls"sv, hypercalls},
                               {"apic-base"sv, apic_base},
                               {"interrupts"sv, interrupts},
                               {"wild-apics"sv, wild_apics}};

}  // namespace

std::span<const Attack> processor_attacks() {
  return kAttacks;
}

}  // namespace pvh::kernels::hostile
