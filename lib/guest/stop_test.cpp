// SPDX-License-Identifier: BSD-2-Clause
#include <gmock/gmock.h>
#include <pvh/abi/xen_sched.hpp>
#include <pvh/guest/stop.hpp>

#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest {
namespace {

using ::testing::ElementsAre;
using testing::FakeMachine;
using testing::FakeXen;
using ::testing::IsEmpty;
using Write = FakeMachine::PortWrite;

AcpiPower pc() {
  AcpiPower power;
  power.pm1a_control = 0x604;
  power.has_s5 = true;
  power.sleep_type_a = 5;
  power.sleep_type_b = 6;
  power.reset = AcpiRegister{base::PhysAddr(0xcf8), true};
  power.reset_value = 0x0f;
  return power;
}

class Stop : public ::testing::Test {
 protected:
  Machine& machine() { return fake_.machine(); }

  FakeMachine fake_;
  StopWays ways_;
};

TEST_F(Stop, NothingToTryIsNothingDone) {
  try_power_off(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, IsEmpty());
  EXPECT_THAT(fake_.hypercalls, IsEmpty());
}

TEST_F(Stop, PowersOffByPm1AndKeepsWhatIsNotSleep) {
  ways_.acpi = pc();
  fake_.on_in = [](std::uint16_t port, int width) {
    EXPECT_EQ(width, 2);
    return port == 0x604 ? 0x1c01u : 0x2002u;
  };
  try_power_off(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, ElementsAre(Write{0x604, 0x3401, 2}));

  fake_.port_writes.clear();
  ways_.acpi->pm1b_control = 0x704;
  try_power_off(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, ElementsAre(Write{0x604, 0x3401, 2}, Write{0x704, 0x3802, 2}));
}

TEST_F(Stop, PowersOffByTheSleepControlRegister) {
  AcpiPower power;
  power.has_s5 = true;
  power.sleep_type_a = 5;
  power.sleep_control = AcpiRegister{base::PhysAddr(0x600), true};
  ways_.acpi = power;
  try_power_off(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, ElementsAre(Write{0x600, 0x34, 1}));

  fake_.add_memory(0xfea0'0000, 4);
  ways_.acpi->sleep_control = AcpiRegister{base::PhysAddr(0xfea0'0000), false};
  try_power_off(machine(), ways_);
  EXPECT_EQ(fake_.get<base::Le32>(0xfea0'0000), base::Le32(0x34)) << "one byte";
  EXPECT_THAT(fake_.port_writes, ElementsAre(Write{0x600, 0x34, 1}));
}

TEST_F(Stop, WithoutS5TheTypesAreUnknown) {
  ways_.acpi = pc();
  ways_.acpi->has_s5 = false;
  try_power_off(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, IsEmpty());
}

TEST_F(Stop, ResetsByWhateverThereIs) {
  const Write keyboard{0x64, 0xfe, 1};
  const Write armed{0xcf9, 2, 1};
  const Write now{0xcf9, 6, 1};
  try_reset(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, ElementsAre(keyboard, armed, now));

  fake_.port_writes.clear();
  ways_.acpi = pc();
  try_crash(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, ElementsAre(Write{0xcf8, 0x0f, 1}, keyboard, armed, now));
}

TEST_F(Stop, XenComesFirst) {
  FakeXen xen(fake_);
  ways_.xen = detect_hypervisors(machine()).xen();
  ASSERT_TRUE(ways_.xen);
  try_power_off(machine(), ways_);
  EXPECT_THAT(fake_.port_writes, IsEmpty());
  try_reset(machine(), ways_);
  try_crash(machine(), ways_);
  EXPECT_THAT(xen.shutdowns, ElementsAre(abi::SHUTDOWN_poweroff, abi::SHUTDOWN_reboot,
                                         abi::SHUTDOWN_crash, abi::SHUTDOWN_reboot))
      << "each returns here, so the last one goes on";
}

TEST_F(Stop, DebugExitIsOneByte) {
  debug_exit(machine(), 0x10);
  EXPECT_THAT(fake_.port_writes, ElementsAre(Write{0xf4, 0x10, 1}));
}

}  // namespace
}  // namespace pvh::guest
