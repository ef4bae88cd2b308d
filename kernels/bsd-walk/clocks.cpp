// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/clocks.hpp"

#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"

namespace pvh::kernels::bsd {

namespace {

struct Hypervisor {
  std::uint32_t base = 0;  // the leaf with its signature; 0: none that is known
  std::uint32_t highest = 0;
};

std::array<char, 12> signature(std::uint32_t leaf) {
  const Cpuid found = cpuid(leaf);
  return std::bit_cast<std::array<char, 12>>(
      std::array<std::uint32_t, 3>{found.ebx, found.ecx, found.edx});
}

// sys/x86/x86/identcpu.c, vm_cpuids[]
bool known(std::string_view name) {
  for (const std::string_view one :
       {"XENXENXEN\0\0\0"sv, "XenVMMXenVMM"sv, "Microsoft Hv"sv, "VMwareVMware"sv,
        "KVMKVMKVM\0\0\0"sv, "bhyve bhyve "sv, "VBoxVBoxVBox"sv, "___ NVMM ___"sv}) {
    if (name == one) {
      return true;
    }
  }
  return false;
}

// identify_hypervisor_cpuid_base()
Hypervisor identify() {
  constexpr std::uint32_t kFirst = 0x40000000, kEnd = 0x40010000, kStep = 0x100;
  Hypervisor found;
  const auto first = signature(kFirst);
  for (std::uint32_t leaf = kFirst; leaf < kEnd && found.base == 0; leaf += kStep) {
    const auto text = signature(leaf);
    if (known({text.data(), text.size()})) {
      const std::uint32_t highest = cpuid(leaf).eax;
      // An old KVM says 0, which stands for the leaf after.
      found = {leaf, highest == 0 ? leaf + 1 : highest};
    }
  }
  Line why;
  for (const char c : first) {
    why.text({&c, c >= ' ' && c <= '~' ? std::size_t{1} : std::size_t{0}});
  }
  judge(Claim::kHypervisorKnown, found.base != 0, why.text(" is none of FreeBSD's"sv));
  return found;
}

// In kHz, 0 when no leaf tells.
std::uint64_t tsc_frequency(const Hypervisor& hypervisor) {
  constexpr std::uint32_t kFrequencies = 0x40000010, kCrystal = 0x15;
  if (hypervisor.highest >= kFrequencies) {
    return cpuid(kFrequencies).eax;
  }
  if (cpuid(0).eax >= kCrystal) {
    const Cpuid leaf = cpuid(kCrystal);
    return leaf.eax == 0 ? 0 : std::uint64_t{leaf.ecx} * leaf.ebx / leaf.eax / 1000;
  }
  return 0;
}

// sys/x86/isa/clock.c
constexpr std::uint16_t kPitCounter = 0x40, kPitMode = 0x43;
constexpr std::uint32_t kPitFrequency = 1193182;

void start_pit() {
  out8(kPitMode, 0x34);  // counter 0, rate generator, both bytes
  out8(kPitCounter, 0);
  out8(kPitCounter, 0);
}

std::uint16_t read_pit() {
  out8(kPitMode, 0);
  const std::uint8_t low = in8(kPitCounter);
  return static_cast<std::uint16_t>(low | in8(kPitCounter) << 8);
}

// tsc_calibrate(): how often the TSC ticks while the i8254 does so `ticks` times, 0 when it stands.
std::uint64_t measure(std::uint16_t ticks) {
  constexpr std::uint32_t kPatience = 1u << 16;
  const std::uint16_t first = read_pit();
  const std::uint64_t start = read_tsc();
  for (std::uint32_t i = 0; i < kPatience; ++i) {
    const auto passed = static_cast<std::uint16_t>(first - read_pit());
    if (passed >= ticks) {
      return (read_tsc() - start) * kPitFrequency / passed / 1000;
    }
  }
  return 0;
}

// sys/x86/isa/atrtc.c, rtcin()
std::uint8_t read_rtc(std::uint8_t which) {
  constexpr std::uint16_t kIndex = 0x70, kRtcData = 0x71;
  out8(kIndex, which);
  return in8(kRtcData);
}

void walk_rtc() {
  constexpr std::uint8_t kSecond = 0, kMinute = 2, kHour = 4, kDay = 7, kMonth = 8, kYear = 9,
                         kStatusA = 0x0a, kStatusD = 0x0d;
  constexpr std::uint8_t kUpdating = 0x80, kPower = 0x80;
  constexpr unsigned kPatience = 1u << 16;
  for (unsigned i = 0; i < kPatience && (read_rtc(kStatusA) & kUpdating) != 0; ++i) {
  }
  // FreeBSD has it count in BCD, which is what it does after a reset.
  bool digits = true;
  for (const std::uint8_t which : {kSecond, kMinute, kHour, kDay, kMonth, kYear}) {
    const std::uint8_t value = read_rtc(which);
    digits = digits && (value & 0x0f) <= 9 && value >> 4 <= 9;
  }
  const std::uint8_t status = read_rtc(kStatusD);
  judge(Claim::kRtc, digits && (status & kPower) != 0, Line().text("status D is "sv).hex(status));
}

// sys/x86/x86/local_apic.c. A FreeBSD with x2APIC would use MSRs; without, these registers.
constexpr std::uint64_t kLapic = 0xfee00000;
constexpr std::uint64_t kLapicId = kLapic + 0x20, kLapicVersion = kLapic + 0x30,
                        kLapicSpurious = kLapic + 0xf0, kLapicTimer = kLapic + 0x320,
                        kLapicInitial = kLapic + 0x380, kLapicCurrent = kLapic + 0x390,
                        kLapicDivisor = kLapic + 0x3e0;
constexpr std::uint32_t kMasked = 1u << 16, kEnable = 0x1ff, kDivideBy1 = 0xb;

void walk_lapic() {
  constexpr std::uint32_t kApicBase = 0x1b;
  constexpr std::uint64_t kEnabled = 1u << 11, kX2Apic = 1u << 10;
  const std::uint64_t base = read_msr(kApicBase);
  const bool mapped =
      (base & kEnabled) != 0 && (base & kX2Apic) == 0 && (base & 0xfffff000) == kLapic;
  const std::uint32_t version = mapped ? read_register(kLapicVersion) & 0xff : 0;
  const bool id = mapped && read_register(kLapicId) >> 24 == cpuid(1).ebx >> 24;
  judge(Claim::kLapicEnabled, version >= 0x10 && id,
        Line().text("APIC_BASE "sv).hex(base).text(" version "sv).decimal(version));
  if (!mapped) {
    return;
  }
  write_register(kLapicSpurious, kEnable);
  write_register(kLapicDivisor, kDivideBy1);
  write_register(kLapicTimer, kMasked | 0xef);
  write_register(kLapicInitial, UINT32_MAX);
  const std::uint64_t tsc = measure(1000);
  const std::uint32_t left = read_register(kLapicCurrent);
  write_register(kLapicInitial, 0);
  judge(Claim::kLapicTimer, tsc != 0 && left != 0 && left != UINT32_MAX,
        Line().text("it has "sv).hex(left));
}

}  // namespace

void walk_clocks() {
  constexpr std::uint32_t kHypervisorBit = 1u << 31;
  judge(Claim::kHypervisorBit, (cpuid(1).ecx & kHypervisorBit) != 0,
        Line().text("CPUID 1 ECX is "sv).hex(cpuid(1).ecx));
  const Hypervisor hypervisor = identify();
  const std::uint64_t told = tsc_frequency(hypervisor);
  judge(Claim::kTscFrequency, told != 0, Line().text("neither leaf has it"sv));
  start_pit();
  const std::uint64_t measured = measure(10'000);
  judge(Claim::kPit, measured != 0, Line().text("counter 0 stands"sv));
  note(Line()
           .text("TSC kHz: "sv)
           .decimal(told)
           .text(" told, "sv)
           .decimal(measured)
           .text(" measured"sv));
  walk_rtc();
  walk_lapic();
}

}  // namespace pvh::kernels::bsd
