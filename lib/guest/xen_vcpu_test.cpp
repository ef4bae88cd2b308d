// SPDX-License-Identifier: BSD-2-Clause
#include <gmock/gmock.h>
#include <pvh/abi/xen_cpuid.hpp>
#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/abi/xen_vcpu.hpp>
#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/xen.hpp>

#include "internal/xen_vcpu_context.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest::xen {
namespace {

using ::testing::SizeIs;

constexpr VcpuStart kStart{.entry = 0x201000,
                           .stack = 0x300000,
                           .argument = 0x1234,
                           .cr0 = 0x80000011,
                           .cr3 = 0x5000,
                           .cr4 = 0x20,
                           .efer = 0x500};
constexpr std::intptr_t kInvalid = -22;

class XenVcpu : public ::testing::Test {
 protected:
  XenVcpu() { xen_.vcpus.resize(3); }
  Machine& machine() { return fake_.machine(); }

  testing::FakeMachine fake_;
  testing::FakeXen xen_{fake_};
  Token token_ = *detect_hypervisors(fake_.machine()).xen();
};

TEST_F(XenVcpu, NumberOfThisOneIsInCpuid) {
  fake_.leaves[{0x40000004, 0}].ebx = 5;
  EXPECT_EQ(vcpu_id(machine(), token_), 5u);
  fake_.leaves[{0x40000004, 0}].eax = ~abi::XEN_HVM_CPUID_VCPU_ID_PRESENT;
  EXPECT_EQ(vcpu_id(machine(), token_), std::nullopt);
}

TEST_F(XenVcpu, NumberIsUnknownWhenTheLeafIsHidden) {
  fake_.leaves[{0x40000000, 0}].eax = 0x40000003;
  EXPECT_EQ(vcpu_id(machine(), token_), std::nullopt);
}

TEST_F(XenVcpu, IsUpCountsThem) {
  EXPECT_EQ(vcpu_is_up(machine(), token_, 0), true);
  EXPECT_EQ(vcpu_is_up(machine(), token_, 1), false);
  EXPECT_EQ(vcpu_is_up(machine(), token_, 2), false);
  EXPECT_EQ(vcpu_is_up(machine(), token_, 3), std::unexpected(Error::kNoEntry));
  xen_.forced[{abi::__HYPERVISOR_vcpu_op, abi::VCPUOP_is_up}] = 2;
  EXPECT_EQ(vcpu_is_up(machine(), token_, 0), std::unexpected(Error::kBadAnswer));
}

TEST_F(XenVcpu, StartsInTheCallersMode) {
  ASSERT_TRUE(start_vcpu(machine(), token_, 1, kStart));
  EXPECT_THAT(fake_.hypercalls, SizeIs(2));
  EXPECT_TRUE(xen_.vcpus[1].up);
  EXPECT_EQ(vcpu_is_up(machine(), token_, 1), true);
  ASSERT_TRUE(xen_.vcpus[1].context_64);
  const auto& regs = xen_.vcpus[1].context_64->regs;
  EXPECT_EQ(regs.rip.get(), 0x201000u);
  EXPECT_EQ(regs.rsp.get(), 0x300000u);
  EXPECT_EQ(regs.rdi.get(), 0x1234u);
  EXPECT_EQ(regs.cr0.get(), 0x80000011u);
  EXPECT_EQ(regs.cr3.get(), 0x5000u);
  EXPECT_EQ(regs.cr4.get(), 0x20u);
  EXPECT_EQ(regs.efer.get(), 0x500u);
  EXPECT_EQ(regs.rax.get(), 0u);
  EXPECT_EQ(regs.rflags.get(), 0u);
}

TEST_F(XenVcpu, IsInitialisedOnce) {
  ASSERT_TRUE(start_vcpu(machine(), token_, 1, kStart));
  EXPECT_EQ(start_vcpu(machine(), token_, 1, kStart), std::unexpected(Error::kExists));
  EXPECT_EQ(start_vcpu(machine(), token_, 0, kStart), std::unexpected(Error::kExists));
}

TEST_F(XenVcpu, ThatIsNotThereCannotBeStarted) {
  EXPECT_EQ(start_vcpu(machine(), token_, 3, kStart), std::unexpected(Error::kNoEntry));
}

TEST_F(XenVcpu, IsNotTakenUpWhenXenRefusesItsState) {
  VcpuStart without_paging = kStart;
  without_paging.cr0 = 0x11;
  EXPECT_EQ(start_vcpu(machine(), token_, 1, without_paging), std::unexpected(Error::kInvalid));
  EXPECT_FALSE(xen_.vcpus[1].up);
  EXPECT_THAT(fake_.hypercalls, SizeIs(1));
}

TEST_F(XenVcpu, CannotBeUpBeforeItIsInitialised) {
  EXPECT_EQ(machine().hypercall(token_, abi::__HYPERVISOR_vcpu_op, abi::VCPUOP_up, 1), kInvalid);
}

TEST_F(XenVcpu, InfoDoesNotCrossAPage) {
  EXPECT_TRUE(register_vcpu_info(machine(), token_, 0, base::PhysAddr(0x123000)));
  EXPECT_EQ(xen_.vcpus[0].info, 0x123000u);
  EXPECT_TRUE(register_vcpu_info(machine(), token_, 1, base::PhysAddr(0x123fc0)));
  EXPECT_EQ(xen_.vcpus[1].info, 0x123fc0u);
  EXPECT_EQ(register_vcpu_info(machine(), token_, 2, base::PhysAddr(0x123fc1)),
            std::unexpected(Error::kInvalid));
  EXPECT_EQ(xen_.vcpus[2].info, std::nullopt);
}

TEST_F(XenVcpu, InfoIsRegisteredOnce) {
  EXPECT_TRUE(register_vcpu_info(machine(), token_, 0, base::PhysAddr(0x123000)));
  EXPECT_EQ(register_vcpu_info(machine(), token_, 0, base::PhysAddr(0x124000)),
            std::unexpected(Error::kInvalid));
}

// What Xen asks of a 32-bit context: the fake checks each rule, so each broken one must be seen.
TEST(VcpuContext32, IsTakenByXenAsItIs) {
  const auto context = context_32(kStart);
  EXPECT_EQ(testing::FakeXen::check(context), 0);
  EXPECT_EQ(context.regs.eip.get(), 0x201000u);
  EXPECT_EQ(context.regs.esp.get(), 0x300000u);
  EXPECT_EQ(context.regs.eax.get(), 0x1234u);
  EXPECT_EQ(context.regs.cr0.get(), 0x11u);
  EXPECT_EQ(context.regs.cr3.get(), 0u);
  EXPECT_EQ(context.regs.efer.get(), 0u);
}

TEST(VcpuContext32, IsRefusedWhenARuleIsBroken) {
  using Break = void (*)(abi::vcpu_hvm_context_32&);
  const std::pair<const char*, Break> kBreaks[]{
      {"pad", [](auto& c) { c.pad = base::Le32(1); }},
      {"pad1", [](auto& c) { c.regs.pad1 = base::Le32(1); }},
      {"pad2", [](auto& c) { c.regs.pad2[2] = base::Le16(1); }},
      {"CS absent", [](auto& c) { c.regs.cs_ar = base::Le16(0xc1b); }},
      {"CS data", [](auto& c) { c.regs.cs_ar = base::Le16(0xc93); }},
      {"SS null", [](auto& c) { c.regs.ss_ar = base::Le16(0); }},
      {"SS read-only", [](auto& c) { c.regs.ss_ar = base::Le16(0xc91); }},
      {"SS of another ring", [](auto& c) { c.regs.ss_ar = base::Le16(0xcf3); }},
      {"DS of an outer ring", [](auto& c) { c.regs.ds_ar = base::Le16(0xcf3); }},
      {"ES execute-only", [](auto& c) { c.regs.es_ar = base::Le16(0xc99); }},
      {"TR null", [](auto& c) { c.regs.tr_ar = base::Le16(0); }},
      {"TR 16-bit", [](auto& c) { c.regs.tr_ar = base::Le16(0x83); }},
      {"attributes above bit 11", [](auto& c) { c.regs.ds_ar = base::Le16(0x1c93); }},
      {"EIP above the limit",
       [](auto& c) {
         c.regs.cs_ar = base::Le16(0x49b);
         c.regs.cs_limit = base::Le32(0xfff);
       }},
  };
  for (const auto& [what, breaks] : kBreaks) {
    auto context = context_32(kStart);
    breaks(context);
    EXPECT_EQ(testing::FakeXen::check(context), kInvalid) << what;
  }
}

TEST(VcpuContext64, IsRefusedOutsideLongMode) {
  EXPECT_EQ(testing::FakeXen::check(context_64(kStart)), 0);
  VcpuStart start = kStart;
  start.entry = Word{1} << 47;
  EXPECT_EQ(testing::FakeXen::check(context_64(start)), kInvalid);
  start.entry = ~Word{0} << 47;
  EXPECT_EQ(testing::FakeXen::check(context_64(start)), 0);
  start = kStart;
  start.cr4 = 0;
  EXPECT_EQ(testing::FakeXen::check(context_64(start)), kInvalid);
  start = kStart;
  start.efer = 0;
  EXPECT_EQ(testing::FakeXen::check(context_64(start)), kInvalid);
}

}  // namespace
}  // namespace pvh::guest::xen
