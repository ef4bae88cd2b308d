// SPDX-License-Identifier: BSD-2-Clause
#include <string>
#include <type_traits>

#include <gmock/gmock.h>
#include <pvh/guest/hypervisor.hpp>

#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest {
namespace {

using ::testing::ElementsAre;
using testing::FakeMachine;
using testing::FakeXen;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr DetectOptions kAllBlocks{
    .all_blocks = true, .hypercall_page = {}, .hypercall_page_address = {}};

std::size_t asked_blocks(const FakeMachine& fake) {
  return static_cast<std::size_t>(std::ranges::count_if(
      fake.asked_leaves, [](auto leaf) { return (leaf.first & 0xffff00ff) == 0x40000000; }));
}

// FreeBSD's reviewers asked that the hypercall path assert that Xen is there. Here it cannot be
// compiled without the proof, and nobody but detection can make one.
template <typename M>
concept CallsWithoutToken = requires(M& machine) { machine.hypercall(12u, Word{}, Word{}); } ||
                            requires(M& machine) { machine.hypercall(12u); };
static_assert(!CallsWithoutToken<Machine>, "hypercall only on Xen");
static_assert(!std::is_default_constructible_v<xen::Token>, "hypercall only on Xen");
static_assert(!std::is_constructible_v<xen::Token, std::uint32_t, xen::Transport, std::uintptr_t>,
              "hypercall only on Xen");
template <typename T>
concept MadeOfNothing = requires { T{}; } || requires { T{0u, xen::Transport::kVmcall, 0u}; };
static_assert(!MadeOfNothing<xen::Token>, "hypercall only on Xen");

TEST(Detection, DoesNotScanWithoutTheHypervisorBit) {
  FakeMachine fake;
  fake.add_hypervisor(0x40000000, 0x40000005, "XenVMMXenVMM");
  fake.leaves[{1, 0}].ecx = 0x7fffffff;
  const auto found = detect_hypervisors(fake.machine(), kAllBlocks);
  EXPECT_TRUE(found.all().empty());
  EXPECT_FALSE(found.xen());
  EXPECT_THAT(fake.asked_leaves, ElementsAre(Pair(1u, 0u)));
}

TEST(Detection, KnowsEachByItsSignature) {
  const std::pair<std::string_view, HypervisorKind> kSignatures[]{
      {"XenVMMXenVMM", HypervisorKind::kXen},
      {std::string_view("KVMKVMKVM\0\0\0", 12), HypervisorKind::kKvm},
      {"Microsoft Hv", HypervisorKind::kHyperV},
      {"TCGTCGTCGTCG", HypervisorKind::kTcg},
      {"bhyve bhyve ", HypervisorKind::kBhyve},
      {"VMwareVMware", HypervisorKind::kVmware},
      {"ACRNACRNACRN", HypervisorKind::kAcrn},
      {"KVMKVMKVMKVM", HypervisorKind::kUnknown},
      {"XenVMMXenVMN", HypervisorKind::kUnknown},
      {std::string_view("XenV\0\0\0\0\0\0\0\0", 12), HypervisorKind::kUnknown},
      {" QNXQVMBSQG ", HypervisorKind::kUnknown},
  };
  for (const auto& [signature, kind] : kSignatures) {
    FakeMachine fake;
    fake.set_vendor("GenuineIntel");
    fake.add_hypervisor(0x40000000, 0x40000005, signature);
    const auto found = detect_hypervisors(fake.machine());
    ASSERT_THAT(found.all(), SizeIs(1)) << signature;
    EXPECT_EQ(found.all()[0].kind, kind) << signature;
    EXPECT_EQ(std::string_view(found.all()[0].signature.data(), 12), signature);
    EXPECT_EQ(found.all()[0].base, 0x40000000u);
    EXPECT_EQ(found.all()[0].max_leaf, 0x40000005u);
    EXPECT_EQ(found.xen().has_value(), kind == HypervisorKind::kXen) << signature;
  }
}

TEST(Detection, EndsAtTheFirstGapAfterTwoBlocks) {
  FakeMachine fake;
  fake.add_hypervisor(0x40000000, 0x40000001, "TCGTCGTCGTCG");
  EXPECT_THAT(detect_hypervisors(fake.machine()).all(), SizeIs(1));
  EXPECT_EQ(asked_blocks(fake), 2u);
}

TEST(Detection, FindsTheSecondBlockBehindAnEmptyFirst) {
  FakeMachine fake;
  const FakeXen xen(fake, FakeXen::Viridian::kInFront);
  fake.leaves.erase({0x40000000, 0});
  const auto found = detect_hypervisors(fake.machine());
  ASSERT_TRUE(found.xen());
  EXPECT_EQ(found.xen()->cpuid_base(), 0x40000100u);
  EXPECT_EQ(asked_blocks(fake), 3u);
}

TEST(Detection, LooksBehindAGapOnlyWhenAskedForAllBlocks) {
  FakeMachine fake;
  fake.set_vendor("AuthenticAMD");
  fake.add_hypervisor(0x40000000, 0x4000000a, "Microsoft Hv");
  fake.add_hypervisor(0x4000ff00, 0x4000ff05, "XenVMMXenVMM");
  EXPECT_FALSE(detect_hypervisors(fake.machine()).xen());
  fake.asked_leaves.clear();
  const auto found = detect_hypervisors(fake.machine(), kAllBlocks);
  EXPECT_EQ(asked_blocks(fake), 256u);
  ASSERT_TRUE(found.xen());
  EXPECT_EQ(found.xen()->cpuid_base(), 0x4000ff00u);
}

TEST(Detection, FindsXenBehindViridian) {
  FakeMachine fake;
  const FakeXen xen(fake, FakeXen::Viridian::kInFront);
  const auto found = detect_hypervisors(fake.machine());
  ASSERT_THAT(found.all(), SizeIs(2));
  EXPECT_EQ(found.all()[0].kind, HypervisorKind::kHyperV);
  EXPECT_EQ(found.all()[1].kind, HypervisorKind::kXen);
  ASSERT_TRUE(found.xen());
  EXPECT_EQ(found.xen()->cpuid_base(), 0x40000100u);
  EXPECT_THAT(fake.written_msrs, SizeIs(0));
}

TEST(Detection, KeepsTheFirstXenWhenThereAreMoreThanFit) {
  FakeMachine fake;
  fake.set_vendor("GenuineIntel");
  for (std::uint32_t i = 0; i < 12; ++i) {
    const std::uint32_t base = 0x40000000 + i * 0x100;
    fake.add_hypervisor(base, base + 5, i < 10 ? "Microsoft Hv" : "XenVMMXenVMM");
  }
  const auto found = detect_hypervisors(fake.machine());
  EXPECT_THAT(found.all(), SizeIs(Hypervisors::kMost));
  ASSERT_TRUE(found.xen());
  EXPECT_EQ(found.xen()->cpuid_base(), 0x40000a00u);
}

TEST(Detection, XenHasAtLeastTwoLeavesMore) {
  const std::pair<std::uint32_t, bool> kLast[]{
      {0, false},         {0x3fffffff, false}, {0x40000000, false}, {0x40000001, false},
      {0x40000002, true}, {0x400000ff, true},  {0x40000100, false}, {0xffffffff, false},
  };
  for (const auto& [last, is_xen] : kLast) {
    FakeMachine fake;
    fake.set_vendor("GenuineIntel");
    fake.add_hypervisor(0x40000000, last, "XenVMMXenVMM");
    const auto found = detect_hypervisors(fake.machine());
    EXPECT_EQ(found.xen().has_value(), is_xen) << std::hex << last;
    EXPECT_EQ(found.find(HypervisorKind::kXen) != nullptr, is_xen) << std::hex << last;
  }
}

TEST(Detection, TakesAnOldKvmWithoutALastLeaf) {
  FakeMachine fake;
  fake.add_hypervisor(0x40000000, 0, std::string_view("KVMKVMKVM\0\0\0", 12));
  const auto found = detect_hypervisors(fake.machine());
  ASSERT_NE(found.find(HypervisorKind::kKvm), nullptr);
  EXPECT_EQ(found.find(HypervisorKind::kKvm)->max_leaf, 0x40000001u);
}

TEST(Detection, TakesNoNumbersForASignature) {
  FakeMachine fake;
  fake.add_hypervisor(0x40000000, 0x40000001, "TCGTCGTCGTCG");
  // As QEMU answers a leaf that it does not have: with the highest basic one.
  fake.leaves[{0x40000100, 0}] = {0x40000101, 0x00000340, 0x00000340, 0};
  fake.leaves[{0x40000200, 0}] = {0x40000201, 0x20202020, 0x20202020, 0x20202020};
  EXPECT_THAT(detect_hypervisors(fake.machine()).all(), SizeIs(1));
}

TEST(Detection, ChoosesTheInstructionByTheVendor) {
  const std::pair<std::string_view, xen::Transport> kVendors[]{
      {"GenuineIntel", xen::Transport::kVmcall},  {"CentaurHauls", xen::Transport::kVmcall},
      {"  Shanghai  ", xen::Transport::kVmcall},  {"AuthenticAMD", xen::Transport::kVmmcall},
      {"HygonGenuine", xen::Transport::kVmmcall},
  };
  for (const auto& [vendor, transport] : kVendors) {
    FakeMachine fake;
    const FakeXen xen(fake);
    fake.set_vendor(vendor);
    const auto found = detect_hypervisors(fake.machine());
    ASSERT_TRUE(found.xen()) << vendor;
    EXPECT_EQ(found.xen()->transport(), transport) << vendor;
    EXPECT_EQ(found.xen()->page(), 0u) << vendor;
    EXPECT_TRUE(fake.written_msrs.empty()) << vendor;
  }
}

class HypercallPage : public ::testing::Test {
 protected:
  HypercallPage() {
    fake_.set_vendor("VIA VIA VIA ");
    xen_.hypercall_page = page_;
    xen_.hypercall_page_address = 0x200000;
  }
  [[nodiscard]] Hypervisors detect() {
    return detect_hypervisors(fake_.machine(),
                              {.all_blocks = false,
                               .hypercall_page = page_,
                               .hypercall_page_address = base::PhysAddr(address_)});
  }

  FakeMachine fake_;
  FakeXen xen_{fake_, FakeXen::Viridian::kInFront};
  alignas(4096) std::array<std::byte, 4096> page_{};
  std::uint64_t address_ = 0x200000;
};

TEST_F(HypercallPage, ServesAProcessorOfUnknownVendor) {
  const auto found = detect();
  ASSERT_TRUE(found.xen());
  EXPECT_EQ(found.xen()->transport(), xen::Transport::kHypercallPage);
  EXPECT_EQ(found.xen()->page(), reinterpret_cast<std::uintptr_t>(page_.data()));
  EXPECT_THAT(fake_.written_msrs, ElementsAre(Pair(0x40000200u, 0x200000u)));
}

TEST_F(HypercallPage, MissingLeavesXenListedWithoutAToken) {
  const auto found = detect_hypervisors(fake_.machine());
  EXPECT_NE(found.find(HypervisorKind::kXen), nullptr);
  EXPECT_FALSE(found.xen());
  EXPECT_TRUE(fake_.written_msrs.empty());
}

TEST_F(HypercallPage, ThatXenDoesNotWriteIsNotUsed) {
  xen_.hypercall_page_address = 0x300000;
  EXPECT_FALSE(detect().xen());
  // Whoever would call there returns at once.
  EXPECT_THAT(page_, ::testing::Each(std::byte{0xc3}));
}

TEST_F(HypercallPage, IsOneAlignedPage) {
  address_ = 0x200800;
  EXPECT_FALSE(detect().xen());
  EXPECT_FALSE(
      detect_hypervisors(fake_.machine(), {.all_blocks = false,
                                           .hypercall_page = std::span(page_).first(4095),
                                           .hypercall_page_address = base::PhysAddr(0x200000)})
          .xen());
  EXPECT_TRUE(fake_.written_msrs.empty());
}

TEST_F(HypercallPage, IsRefusedWhenXenWantsMoreThanOne) {
  fake_.leaves[{xen_.cpuid_base() + 2, 0}].eax = 2;
  EXPECT_FALSE(detect().xen());
  EXPECT_TRUE(fake_.written_msrs.empty());
}

TEST(Frequency, ComesFromXensThirdLeaf) {
  FakeMachine fake;
  const FakeXen xen(fake);
  const auto told = frequencies(fake.machine(), detect_hypervisors(fake.machine()));
  EXPECT_EQ(told.tsc_khz, 2'400'000u);
  EXPECT_EQ(told.apic_timer_khz, std::nullopt);
}

TEST(Frequency, OfXenIsUnknownWhenTheLeafIsHidden) {
  FakeMachine fake;
  const FakeXen xen(fake);
  fake.leaves[{0x40000000, 0}].eax = 0x40000002;
  EXPECT_EQ(frequencies(fake.machine(), detect_hypervisors(fake.machine())).tsc_khz, std::nullopt);
}

TEST(Frequency, ComesFromTheCommonLeafWhereItExists) {
  for (const std::string_view signature :
       {std::string_view("KVMKVMKVM\0\0\0", 12), std::string_view("VMwareVMware")}) {
    FakeMachine fake;
    fake.add_hypervisor(0x40000000, 0x40000010, signature);
    fake.leaves[{0x40000010, 0}] = {3'000'000, 1'000'000, 0, 0};
    auto told = frequencies(fake.machine(), detect_hypervisors(fake.machine()));
    EXPECT_EQ(told.tsc_khz, 3'000'000u);
    EXPECT_EQ(told.apic_timer_khz, 1'000'000u);

    fake.leaves[{0x40000010, 0}] = {3'000'000, 0, 0, 0};
    told = frequencies(fake.machine(), detect_hypervisors(fake.machine()));
    EXPECT_EQ(told.apic_timer_khz, std::nullopt);

    fake.leaves[{0x40000000, 0}].eax = 0x4000000f;
    told = frequencies(fake.machine(), detect_hypervisors(fake.machine()));
    EXPECT_EQ(told.tsc_khz, std::nullopt);
  }
}

TEST(Frequency, IsNotReadFromWhoGivesTheLeafAnotherMeaning) {
  FakeMachine fake;
  fake.add_hypervisor(0x40000000, 0x40000010, "Microsoft Hv");
  fake.leaves[{0x40000010, 0}] = {1, 2, 3, 4};
  EXPECT_EQ(frequencies(fake.machine(), detect_hypervisors(fake.machine())).tsc_khz, std::nullopt);
}

}  // namespace
}  // namespace pvh::guest
