// SPDX-License-Identifier: BSD-2-Clause
#include <cstdint>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <pvh/abi/acpi.hpp>
#include <pvh/guest/acpi.hpp>

#include "lib/guest/testing/acpi_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"

namespace pvh::guest {
namespace {

using testing::FakeMachine;
using namespace std::string_view_literals;

// As QEMU writes it for a pc: Name (_S5, Package (0x04) {Zero, Zero, Zero, Zero}).
constexpr auto kZeroS5 = "\x08_S5_\x12\x06\x04\x00\x00\x00\x00"sv;
// As lib/vmm/tables does.
constexpr auto kFiveS5 = "\x08_S5_\x12\x07\x04\x0a\x05\x00\x00\x00"sv;

constexpr abi::acpi_generic_address port(std::uint64_t number) {
  return {.space_id = abi::ACPI_ADR_SPACE_SYSTEM_IO,
          .bit_width = 8,
          .bit_offset = 0,
          .access_width = 1,
          .address = base::Le64(number)};
}

constexpr abi::acpi_generic_address memory(std::uint64_t address) {
  auto place = port(address);
  place.space_id = abi::ACPI_ADR_SPACE_SYSTEM_MEMORY;
  return place;
}

class Power : public ::testing::Test {
 protected:
  std::optional<AcpiPower> power(const abi::acpi_table_fadt& fadt,
                                 std::size_t size = sizeof(abi::acpi_table_fadt)) {
    FakeMachine fake;
    fake.put(0x2000, testing::acpi_fadt(fadt, size));
    fake.put(0x9000, testing::acpi_xsdt({0x2000}));
    if (fadt.dsdt.get() != 0) {
      fake.put(fadt.dsdt.get(), dsdt_);
    }
    return acpi_power(fake.machine(),
                      {.address = {}, .root = base::PhysAddr(0x9000), .root_is_xsdt = true},
                      diagnostics_);
  }
  // What a DSDT of this AML says: -1 when nothing, else a * 16 + b.
  int s5(std::string_view aml) {
    dsdt_ = testing::acpi_dsdt(aml);
    abi::acpi_table_fadt fadt{};
    fadt.dsdt = base::Le32(0x5000);
    const auto found = power(fadt);
    return found && found->has_s5 ? found->sleep_type_a * 16 + found->sleep_type_b : -1;
  }

  testing::AcpiBytes dsdt_ = testing::acpi_dsdt(kFiveS5);
  Diagnostics diagnostics_;
};

TEST_F(Power, OfAPc) {
  abi::acpi_table_fadt fadt{};
  fadt.dsdt = base::Le32(0x5000);
  fadt.pm1a_control_block = base::Le32(0x604);
  fadt.flags = base::Le32(abi::ACPI_FADT_RESET_REGISTER);
  fadt.reset_register = port(0xcf9);
  fadt.reset_value = 0x0f;
  const auto found = power(fadt, 129);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pm1a_control, 0x604);
  EXPECT_EQ(found->pm1b_control, std::nullopt);
  EXPECT_EQ(found->sleep_control, std::nullopt);
  EXPECT_TRUE(found->has_s5);
  EXPECT_EQ(found->sleep_type_a, 5);
  EXPECT_EQ(found->sleep_type_b, 0);
  EXPECT_EQ(found->reset, (AcpiRegister{base::PhysAddr(0xcf9), true}));
  EXPECT_EQ(found->reset_value, 0x0f);
}

TEST_F(Power, OfAHardwareReducedMachine) {
  abi::acpi_table_fadt fadt{};
  fadt.dsdt = base::Le32(0x5000);
  fadt.flags = base::Le32(abi::ACPI_FADT_HW_REDUCED | abi::ACPI_FADT_RESET_REGISTER);
  fadt.pm1a_control_block = base::Le32(0x604);  // not there
  fadt.sleep_control = port(0x600);
  fadt.reset_register = memory(0xfea0'0002);  // as QEMU's microvm has it
  const auto found = power(fadt);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pm1a_control, std::nullopt);
  EXPECT_EQ(found->sleep_control, (AcpiRegister{base::PhysAddr(0x600), true}));
  EXPECT_EQ(found->reset, (AcpiRegister{base::PhysAddr(0xfea0'0002), false}));
}

TEST_F(Power, ExtendedFieldsComeFirst) {
  abi::acpi_table_fadt fadt{};
  fadt.pm1a_control_block = base::Le32(0x604);
  fadt.pm1b_control_block = base::Le32(0x704);
  fadt.xpm1a_control_block = port(0x804);
  fadt.xpm1b_control_block = memory(0x9000'0000);  // not reached: 16 bits of a port are
  auto found = power(fadt);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pm1a_control, 0x804);
  EXPECT_EQ(found->pm1b_control, 0x704);

  found = power(fadt, 116);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pm1a_control, 0x604) << "an old FADT has none";
}

TEST_F(Power, RegistersThatCannotBe) {
  abi::acpi_table_fadt fadt{};
  fadt.pm1a_control_block = base::Le32(0x1'0000);
  fadt.reset_register = port(0xcf9);
  auto found = power(fadt);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pm1a_control, std::nullopt);
  EXPECT_EQ(found->reset, std::nullopt) << "its flag is not set";

  fadt.flags = base::Le32(abi::ACPI_FADT_RESET_REGISTER);
  for (const auto& place : {port(0), port(0x1'0000), memory(0)}) {
    fadt.reset_register = place;
    EXPECT_EQ(power(fadt)->reset, std::nullopt);
  }
  fadt.reset_register = port(0xcf9);
  fadt.reset_register.space_id = 2;  // PCI configuration space
  EXPECT_EQ(power(fadt)->reset, std::nullopt);
}

TEST_F(Power, NothingWithoutAFadt) {
  FakeMachine fake;
  fake.put(0x9000, testing::acpi_xsdt({}));
  EXPECT_FALSE(acpi_power(fake.machine(),
                          {.address = {}, .root = base::PhysAddr(0x9000), .root_is_xsdt = true},
                          diagnostics_));
}

TEST_F(Power, WrongDsdtIsNotBelieved) {
  abi::acpi_table_fadt fadt{};
  fadt.dsdt = base::Le32(0x5000);
  dsdt_.back() = std::byte{0x77};
  const auto found = power(fadt);
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->has_s5);
  EXPECT_TRUE(diagnostics_.has(DiagnosticKind::kAcpiTableBad));
}

TEST_F(Power, S5InEveryForm) {
  EXPECT_EQ(s5(kZeroS5), 0x00);
  EXPECT_EQ(s5(kFiveS5), 0x50);
  EXPECT_EQ(s5("\x08\\_S5_\x12\x06\x02\x0a\x05\x0a\x06"sv), 0x56);
  EXPECT_EQ(s5("\x08_S5_\x12\x06\x02\x01\x01"sv), 0x11);
  EXPECT_EQ(s5("\x08_S5_\x12\x08\x02\x0b\x03\x00\x0c\x04\x00\x00\x00"sv), 0x34);
  EXPECT_EQ(s5("\x08_S5_\x12\x46\x00\x02\x0a\x05\x0a\x06"sv), 0x56) << "two bytes of length";
  EXPECT_EQ(s5("\x08_S5_\x12\xc6\x00\x00\x00\x02\x0a\x05\x0a\x06"sv), 0x56) << "four";
  EXPECT_EQ(s5("\x08_S5_\x12\x05\x01\x0b\x05\x06"sv), 0x56) << "both in one element";
  EXPECT_EQ(s5("\x08_S5_\x12\x06\x02\x0a\xfd\x0a\xfe"sv), 0x56) << "three bits of each";
}

TEST_F(Power, S5ThatIsNone) {
  EXPECT_EQ(s5(""), -1);
  EXPECT_EQ(s5("_S5_\x12\x06\x04\x00\x00\x00\x00"sv), -1) << "not a name's definition";
  EXPECT_EQ(s5("\x10_S5_\x12\x06\x04\x00\x00\x00\x00"sv), -1);
  EXPECT_EQ(s5("\x08_S5_\x11\x06\x04\x00\x00\x00\x00"sv), -1) << "no package";
  EXPECT_EQ(s5("\x08_S5_\x12\x06\x00\x00\x00"sv), -1) << "no elements";
  EXPECT_EQ(s5("\x08_S5_\x12\x06\x02\x0d"
               "a\x00\x00"sv),
            -1)
      << "a string";
  EXPECT_EQ(s5("\x08_S4_\x12\x06\x04\x00\x00\x00\x00"sv), -1);
  // It ends anywhere.
  constexpr auto kWhole = "\x08_S5_\x12\xc6\x00\x00\x00\x02\x0a\x05\x0a\x06"sv;
  for (std::size_t size = 0; size < kWhole.size(); ++size) {
    EXPECT_EQ(s5(kWhole.substr(0, size)), -1) << size;
  }
  // What is no definition does not hide one that is.
  EXPECT_EQ(s5("_S5_\x08_S5_\x12\x06\x00\x08_S5_\x12\x07\x04\x0a\x05\x00\x00\x00"sv), 0x50);
}

TEST_F(Power, S5AtEveryPlaceOfALongDsdt) {
  constexpr auto kWhole =
      "\x08\\_S5_\x12\xce\x00\x00\x00\x02\x0c\x05\x00\x00\x00\x0c\x06\x00\x00\x00"sv;
  for (std::size_t before = 0; before < 600; ++before) {
    const std::string aml = std::string(before, '\x08') + std::string(kWhole) + "tail";
    EXPECT_EQ(s5(aml), 0x56) << before;
    EXPECT_EQ(s5(std::string_view(aml).substr(0, before + kWhole.size())), 0x56) << before;
  }
}

}  // namespace
}  // namespace pvh::guest
