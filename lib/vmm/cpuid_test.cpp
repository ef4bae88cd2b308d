// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/vmm/cpuid.hpp>

namespace pvh::vmm {
namespace {

kvm_cpuid_entry2 leaf(std::uint32_t function, std::uint32_t index = 0) {
  kvm_cpuid_entry2 entry{};
  entry.function = function;
  entry.index = index;
  return entry;
}

std::vector<kvm_cpuid_entry2> amd_offer() {
  auto vendor = leaf(0);
  vendor.eax = 0x1;
  vendor.ebx = 0x68747541;  // "Auth"
  auto features = leaf(1);
  features.edx = 1u << 28;
  auto structured = leaf(7);
  structured.ecx = 1u << 16 | 1u << 2;
  auto kvm = leaf(kKvmSignature);
  kvm.eax = kKvmSignature + 1;
  auto cache = leaf(0x8000001d, 3);
  cache.eax = 3u << 5 | 3u;
  return {vendor,           features,         structured, kvm,
          leaf(0x80000001), leaf(0x80000008), cache,      leaf(0x8000001e)};
}

CpuidInput input_for(unsigned cpus, unsigned apic_id, std::uint32_t tsc_khz) {
  return {
      .cpus = cpus, .apic_id = apic_id, .tsc_khz = tsc_khz, .host_leaf_15 = {}, .host_leaf_16 = {}};
}

kvm_cpuid_entry2 find(const std::vector<kvm_cpuid_entry2>& entries, std::uint32_t function,
                      std::uint32_t index = 0) {
  const auto found = std::ranges::find_if(entries, [&](const auto& entry) {
    return entry.function == function && entry.index == index;
  });
  if (found == entries.end()) {
    ADD_FAILURE() << "no leaf " << std::hex << function;
    return {};
  }
  return *found;
}

TEST(GuestCpuid, SaysThatThereIsAHypervisor) {
  const auto cpuid = guest_cpuid(amd_offer(), input_for(1, 0, 0));
  const auto features = find(cpuid, 1);
  EXPECT_NE(features.ecx & 1u << 31, 0u) << "without it no kernel looks for kvm-clock";
  EXPECT_NE(features.ecx & 1u << 24, 0u) << "TSC deadline";
  EXPECT_NE(features.ecx & 1u << 21, 0u) << "x2APIC";
}

TEST(GuestCpuid, GivesTheClockInKilohertzWhenItIsKnown) {
  const auto cpuid = guest_cpuid(amd_offer(), input_for(1, 0, 2500000));
  EXPECT_EQ(find(cpuid, 0x40000010).eax, 2500000u);
  EXPECT_EQ(find(cpuid, 0x40000010).ebx, 1000000u);
  EXPECT_EQ(find(cpuid, kKvmSignature).eax, 0x40000010u) << "or nobody reads it";
  const auto unknown = guest_cpuid(amd_offer(), input_for(1, 0, 0));
  EXPECT_EQ(find(unknown, kKvmSignature).eax, kKvmSignature + 1);
}

TEST(GuestCpuid, PassesTheHostsFrequencyLeavesOn) {
  auto input = input_for(1, 0, 0);
  input.host_leaf_15 = leaf(0x15);
  input.host_leaf_15->ecx = 38400000;
  const auto cpuid = guest_cpuid(amd_offer(), input);
  EXPECT_EQ(find(cpuid, 0x15).ecx, 38400000u);
  EXPECT_EQ(find(cpuid, 0).eax, 0x15u);
}

TEST(GuestCpuid, HidesFiveLevelPaging) {
  const auto structured = find(guest_cpuid(amd_offer(), input_for(1, 0, 0)), 7);
  EXPECT_EQ(structured.ecx, 1u << 2) << "and leaves the rest alone";
}

TEST(GuestCpuid, DescribesOnePackageOfSingleThreadedCores) {
  const auto cpuid = guest_cpuid(amd_offer(), input_for(6, 5, 0));
  const auto features = find(cpuid, 1);
  EXPECT_EQ(features.ebx >> 24, 5u);
  EXPECT_EQ(features.ebx >> 16 & 0xff, 6u);
  EXPECT_NE(features.edx & 1u << 28, 0u);
  EXPECT_EQ(find(cpuid, 0xb, 0).eax, 0u);
  EXPECT_EQ(find(cpuid, 0xb, 1).eax, 3u) << "six cores need three bits";
  EXPECT_EQ(find(cpuid, 0xb, 1).ebx, 6u);
  EXPECT_EQ(find(cpuid, 0xb, 1).edx, 5u);
  EXPECT_EQ(find(cpuid, 0xb, 2).ecx >> 8 & 0xff, 0u) << "the list ends";
  EXPECT_EQ(find(cpuid, 0x80000008).ecx & 0xff, 5u);
  EXPECT_EQ(find(cpuid, 0x80000008).ecx >> 12 & 0xf, 3u);
  EXPECT_EQ(find(cpuid, 0x8000001e).eax, 5u);
  EXPECT_EQ(find(cpuid, 0x8000001d, 3).eax >> 14 & 0xfff, 7u) << "all share the third level";
  EXPECT_GE(find(cpuid, 0).eax, 0xbu);
}

TEST(GuestCpuid, OneCpuIsNotHyperthreaded) {
  const auto cpuid = guest_cpuid(amd_offer(), input_for(1, 0, 0));
  EXPECT_EQ(find(cpuid, 1).edx & 1u << 28, 0u);
  EXPECT_EQ(find(cpuid, 0xb, 1).eax, 0u);
}

TEST(GuestCpuid, LeavesAmdsLeavesAloneOnIntel) {
  auto offer = amd_offer();
  offer[0].ebx = 0x756e6547;  // "Genu"
  const auto cpuid = guest_cpuid(offer, input_for(6, 5, 0));
  EXPECT_EQ(find(cpuid, 0x80000008).ecx, 0u);
  EXPECT_EQ(find(cpuid, 0x80000001).ecx, 0u);
}

TEST(HostLeaf, IsTheCpusOwnOrNothing) {
  ASSERT_TRUE(host_leaf(1));
  EXPECT_NE(host_leaf(1)->eax, 0u);
  EXPECT_FALSE(host_leaf(0x0fffffff));
}

}  // namespace
}  // namespace pvh::vmm
