// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/e820.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/abi/xen_memory.hpp>
#include <pvh/abi/xen_sched.hpp>
#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/xen.hpp>

#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest::xen {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class Xen : public ::testing::Test {
 protected:
  Machine& machine() { return fake_.machine(); }
  void force(std::uint32_t call, std::uint32_t command, std::intptr_t answer) {
    xen_.forced[{call, command}] = answer;
  }

  testing::FakeMachine fake_;
  testing::FakeXen xen_{fake_};
  Token token_ = *detect_hypervisors(fake_.machine()).xen();
};

TEST_F(Xen, ErrorsAreNumbersDownToMinus4095) {
  const std::pair<std::intptr_t, Error> kAnswers[]{
      {-1, Error::kPermission},      {-2, Error::kNoEntry},
      {-14, Error::kFault},          {-16, Error::kBusy},
      {-17, Error::kExists},         {-22, Error::kInvalid},
      {-38, Error::kNotImplemented}, {-75, Error{75}},
      {-4095, Error{4095}},          {-4096, Error::kBadAnswer},
      {-65535, Error::kBadAnswer},   {INTPTR_MIN, Error::kBadAnswer},
      {1, Error::kBadAnswer},        {INTPTR_MAX, Error::kBadAnswer},
  };
  for (const auto& [answer, error] : kAnswers) {
    force(abi::__HYPERVISOR_hvm_op, abi::HVMOP_get_param, answer);
    EXPECT_EQ(get_param(machine(), token_, 0), std::unexpected(error)) << answer;
  }
}

TEST_F(Xen, MapIsStoredPackedAndCounted) {
  xen_.map = {{0, 0x9fc00, 1}, {0x100000, 0x7ff00000, 1}, {0xfeff8000, 0x8000, 2}};
  std::array<std::byte, 200> buffer{};
  ASSERT_EQ(memory_map(machine(), token_, buffer), 3u);
  const auto last = base::read_at<abi::e820entry>(buffer, 40);
  EXPECT_EQ(last->addr.get(), 0xfeff8000u);
  EXPECT_EQ(last->size.get(), 0x8000u);
  EXPECT_EQ(last->type.get(), 2u);
  EXPECT_THAT(fake_.hypercalls, SizeIs(1));
}

TEST_F(Xen, MapThatIsTooLongIsCutOffInSilence) {
  xen_.map = std::vector<memory_map::RawEntry>(130, {0x1000, 0x1000, 1});
  // One byte less than a third entry of 20: ASan would see Xen write it.
  std::vector<std::byte> buffer(59);
  EXPECT_EQ(memory_map(machine(), token_, buffer), 2u);
  EXPECT_EQ(memory_map(machine(), token_, {}), 0u);
}

TEST_F(Xen, MapWithACountTooHighIsABadAnswer) {
  xen_.map = {{0, 0x9fc00, 1}};
  std::vector<std::byte> buffer(80);
  xen_.claimed_entries = 5;
  EXPECT_EQ(memory_map(machine(), token_, buffer), std::unexpected(Error::kBadAnswer));
  xen_.claimed_entries = UINT32_MAX;
  EXPECT_EQ(memory_map(machine(), token_, buffer), std::unexpected(Error::kBadAnswer));
  xen_.claimed_entries = 4;
  EXPECT_EQ(memory_map(machine(), token_, buffer), 4u);
}

TEST_F(Xen, MapMayBeUnknownToXen) {
  std::vector<std::byte> buffer(20);
  EXPECT_EQ(memory_map(machine(), token_, buffer), std::unexpected(Error::kNotImplemented));
}

TEST_F(Xen, ShutdownGivesTheReason) {
  shutdown(machine(), token_, ShutdownReason::kPowerOff);
  shutdown(machine(), token_, ShutdownReason::kReboot);
  shutdown(machine(), token_, ShutdownReason::kCrash);
  EXPECT_THAT(xen_.shutdowns,
              ElementsAre(abi::SHUTDOWN_poweroff, abi::SHUTDOWN_reboot, abi::SHUTDOWN_crash));
}

TEST_F(Xen, ConsoleIsTheHardwareDomains) {
  EXPECT_TRUE(console_write(machine(), token_, "one\n"));
  EXPECT_TRUE(console_write(machine(), token_, std::string_view("two\nthree").substr(0, 4)));
  EXPECT_EQ(xen_.console, "one\ntwo\n");
  xen_.is_hardware_domain = false;
  EXPECT_EQ(console_write(machine(), token_, "x"), std::unexpected(Error::kPermission));
}

TEST_F(Xen, ParamsAreOfThisDomain) {
  xen_.params[abi::HVM_PARAM_STORE_EVTCHN] = 0x1122334455667788;
  EXPECT_EQ(get_param(machine(), token_, abi::HVM_PARAM_STORE_EVTCHN), 0x1122334455667788u);
  EXPECT_TRUE(set_param(machine(), token_, abi::HVM_PARAM_STORE_EVTCHN, 7));
  EXPECT_EQ(xen_.params[abi::HVM_PARAM_STORE_EVTCHN], 7u);
  EXPECT_EQ(get_param(machine(), token_, abi::HVM_NR_PARAMS), std::unexpected(Error::kInvalid));
  EXPECT_EQ(set_param(machine(), token_, abi::HVM_NR_PARAMS, 1), std::unexpected(Error::kInvalid));
}

TEST_F(Xen, SharedPagesAreAFramesAddress) {
  xen_.params[abi::HVM_PARAM_CONSOLE_PFN] = 0xfefff;
  xen_.params[abi::HVM_PARAM_CONSOLE_EVTCHN] = 2;
  xen_.params[abi::HVM_PARAM_STORE_PFN] = 0xfeffc;
  const auto pages = shared_pages(machine(), token_);
  EXPECT_EQ(pages.console, base::PhysAddr(0xfefff000));
  EXPECT_EQ(pages.console_port, 2u);
  EXPECT_EQ(pages.xenstore, base::PhysAddr(0xfeffc000));
  EXPECT_THAT(fake_.hypercalls, SizeIs(3));
}

TEST_F(Xen, SharedPagesOfADom0AreAbsent) {
  auto pages = shared_pages(machine(), token_);
  EXPECT_EQ(pages.console, std::nullopt);
  EXPECT_EQ(pages.console_port, 0u);
  EXPECT_EQ(pages.xenstore, std::nullopt);
  EXPECT_THAT(fake_.hypercalls, SizeIs(2));

  xen_.params[abi::HVM_PARAM_CONSOLE_PFN] = UINT64_MAX;
  xen_.params[abi::HVM_PARAM_STORE_PFN] = std::uint64_t{1} << 52;
  pages = shared_pages(machine(), token_);
  EXPECT_EQ(pages.console, std::nullopt);
  EXPECT_EQ(pages.xenstore, std::nullopt);

  xen_.params[abi::HVM_PARAM_STORE_PFN] = (std::uint64_t{1} << 52) - 1;
  EXPECT_EQ(shared_pages(machine(), token_).xenstore, base::PhysAddr(0xfffffffffffff000));

  force(abi::__HYPERVISOR_hvm_op, abi::HVMOP_get_param, -38);
  EXPECT_EQ(shared_pages(machine(), token_).xenstore, std::nullopt);
}

TEST_F(Xen, SharedInfoIsMappedAndItsLayoutLatched) {
  ASSERT_TRUE(map_shared_info(machine(), token_, base::PhysAddr(0x10000000)));
  EXPECT_THAT(xen_.shared_info_frames, ElementsAre(0x10000u));
  EXPECT_EQ(xen_.width_of_shared_info, 64);
  EXPECT_EQ(xen_.params[abi::HVM_PARAM_CALLBACK_IRQ], 1u);
  ASSERT_TRUE(unmap_shared_info(machine(), token_, base::PhysAddr(0x10000000)));
  EXPECT_TRUE(xen_.shared_info_frames.empty());
  EXPECT_EQ(unmap_shared_info(machine(), token_, base::PhysAddr(0x10000000)),
            std::unexpected(Error::kNoEntry));
}

TEST_F(Xen, SharedInfoIsAWholePage) {
  EXPECT_EQ(map_shared_info(machine(), token_, base::PhysAddr(0x10000040)),
            std::unexpected(Error::kInvalid));
  EXPECT_EQ(unmap_shared_info(machine(), token_, base::PhysAddr(0x10000fff)),
            std::unexpected(Error::kInvalid));
  EXPECT_TRUE(fake_.hypercalls.empty());
}

TEST_F(Xen, SharedInfoThatXenRefusesIsNotLatched) {
  force(abi::__HYPERVISOR_memory_op, abi::XENMEM_add_to_physmap, -14);
  EXPECT_EQ(map_shared_info(machine(), token_, base::PhysAddr(0x10000000)),
            std::unexpected(Error::kFault));
  EXPECT_EQ(xen_.width_of_shared_info, std::nullopt);
}

TEST_F(Xen, SharedInfoThatCannotBeLatchedIsTakenAway) {
  force(abi::__HYPERVISOR_hvm_op, abi::HVMOP_set_param, -1);
  EXPECT_EQ(map_shared_info(machine(), token_, base::PhysAddr(0x10000000)),
            std::unexpected(Error::kPermission));
  EXPECT_TRUE(xen_.shared_info_frames.empty());
}

TEST_F(Xen, VersionIsTheOneOfCpuid) {
  EXPECT_EQ(version(machine(), token_), 4u << 16 | 17);
  force(abi::__HYPERVISOR_xen_version, abi::XENVER_version, -38);
  EXPECT_EQ(version(machine(), token_), std::unexpected(Error::kNotImplemented));
}

}  // namespace
}  // namespace pvh::guest::xen
