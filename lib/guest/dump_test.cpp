// SPDX-License-Identifier: BSD-2-Clause
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pvh/guest/dump.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"

namespace pvh::guest {
namespace {

using testing::BootBuilder;
using testing::FakeMachine;

void append(void* context, std::string_view line) {
  EXPECT_TRUE(line.ends_with('\n'));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_LE(line.size(), 120u);
  static_cast<std::string*>(context)->append(line);
}

TEST(Dump, TellsEverything) {
  FakeMachine fake;
  fake.add_hypervisor(0x40000000, 0x40000001, std::string_view("KVMKVMKVM\0\0\0", 12));
  BootBuilder builder(fake);
  builder.command_line = "quiet " + std::string(100, 'x');
  builder.modules = {{0x1000000, 0x1000, 0x21000, 0}, {0, 0, 0, 0}};
  builder.place();
  fake.put(0x21000, std::string_view("rw\0", 3));
  const auto boot = builder.boot();
  ASSERT_TRUE(boot);
  std::string text;
  dump(*boot, append, &text);
  const std::string expected = R"(hypervisor KVMKVMKVM at 0x0000000040000000
start_info 0x0000000000006000: version 1, flags 0x0000000000000000
  command line 0x0000000000020000
  modules 2
  module list 0x0000000000006040
  RSDP absent
  memory map 0x0000000000007000
  memory map's entries 2
command line: 106 bytes
  |quiet )" + std::string(94, 'x') +
                               R"(|
  |xxxxxx|
module 0: 0x0000000001000000-0x0000000001000fff 4 KiB
  its command line: 2 bytes
  |rw|
module 1: absent
ACPI: no RSDP
memory map from start_info:
0x0000000000000000+0x000000000009fc00      639 KiB  RAM
0x0000000000100000+0x0000000007f00000      127 MiB  RAM
normalised:
0x0000000000001000-0x000000000009efff      632 KiB  RAM
0x0000000000100000-0x0000000007ffffff      127 MiB  RAM
RAM: 130680 KiB in 2 ranges, to 0x0000000007ffffff, largest 127 MiB
in use:
0x0000000000200000-0x00000000002fffff  image
0x0000000000006000-0x0000000000006037  start_info
0x0000000000007000-0x000000000000702f  memory map
0x0000000000006040-0x000000000000607f  module list
0x0000000001000000-0x0000000001000fff  module 0
0x0000000000021000-0x0000000000021002  module's command line 0
0x0000000000020000-0x000000000002006a  command line
free:
0x0000000000001000-0x0000000000005fff       20 KiB  RAM
0x0000000000008000-0x000000000001ffff       96 KiB  RAM
0x0000000000022000-0x000000000009efff      500 KiB  RAM
0x0000000000100000-0x00000000001fffff        1 MiB  RAM
0x0000000000300000-0x0000000000ffffff       13 MiB  RAM
0x0000000001001000-0x0000000007ffffff   114684 KiB  RAM
RAM: 129636 KiB in 6 ranges, to 0x0000000007ffffff, largest 114684 KiB
odd: module-absent, index 1, value 0x0000000000000000
  a module has no address or no size
odd: rsdp-missing, index 0, value 0x0000000000000000
  ACPI's root pointer was neither passed nor found
)";
  EXPECT_EQ(text, expected);
}

TEST(DumpFailure, TellsWhatALoaderLeft) {
  FakeMachine fake;
  fake.add_hypervisor(0x40000000, 0x40000001, "TCGTCGTCGTCG");
  fake.put(0x6000, std::string_view("\x02\xb0\xad\x2b\x01\x00\x00\x00", 8));
  std::string text;
  dump_failure(fake.machine(), base::PhysAddr(0x6000), {BootErrorCode::kBadMagic, 0x2badb002},
               detect_hypervisors(fake.machine()), append, &text);
  EXPECT_EQ(text, R"(boot failed: bad-magic, 0x000000002badb002
start_info 0x0000000000006000
  0x0000000000006000 0x000000002badb002
  0x0000000000006004 0x0000000000000001
hypervisor TCGTCGTCGTCG at 0x0000000040000000
)");
}

template <typename Code>
void expect_a_name_for_each(Code last) {
  std::set<std::string_view> names;
  std::set<std::string_view> sentences;
  const auto count = static_cast<std::size_t>(last) + 1;
  for (std::size_t i = 0; i < count; ++i) {
    const auto code = static_cast<Code>(i);
    EXPECT_FALSE(name(code).empty());
    EXPECT_EQ(name(code).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"),
              std::string_view::npos);
    // A dump's line holds it.
    EXPECT_LE(describe(code).size(), 100u) << name(code);
    names.insert(name(code));
    sentences.insert(describe(code));
  }
  EXPECT_EQ(names.size(), count);
  EXPECT_EQ(sentences.size(), count);
  EXPECT_EQ(name(static_cast<Code>(count)), "");
}

TEST(Names, AreThereForEachCode) {
  expect_a_name_for_each(BootErrorCode::kCommandLineOverImage);
  expect_a_name_for_each(DiagnosticKind::kReservationOutsideSpace);
  EXPECT_EQ(name(BootErrorCode::kBadMagic), "bad-magic");
  EXPECT_EQ(name(BootErrorCode::kModuleOverImage), "module-over-image");
  EXPECT_EQ(name(DiagnosticKind::kMapAnomaly), "map-anomaly");
  EXPECT_EQ(name(DiagnosticKind::kAcpiTableBad), "acpi-table-bad");
}

}  // namespace
}  // namespace pvh::guest
