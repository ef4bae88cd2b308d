// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pvh/abi/mp_table.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/guest/boot.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"
#include "lib/memory_map/testing/maps.hpp"

namespace pvh::guest {
namespace {

using testing::BootBuilder;
using testing::FakeMachine;
using testing::FakeXen;
using testing::has_reservation;
using testing::judge_free;
using testing::ModuleRecord;

class CaptureTest : public ::testing::Test {
 protected:
  // The Boot of what the builder says, judged.
  Boot boot() {
    auto boot = builder_.boot();
    EXPECT_TRUE(boot) << name(boot.error().code) << " " << boot.error().value;
    EXPECT_EQ(judge_free(*boot), "");
    return *boot;
  }
  void expect_error(BootErrorCode code, std::uint64_t value) {
    const auto boot = builder_.boot();
    ASSERT_FALSE(boot);
    EXPECT_EQ(boot.error(), (BootError{code, value})) << name(boot.error().code);
  }
  static std::vector<Diagnostic> without_rsdp(const Boot& boot) {
    std::vector<Diagnostic> found;
    for (const Diagnostic& each : boot.diagnostics().all()) {
      if (each.kind != DiagnosticKind::kRsdpMissing) {
        found.push_back(each);
      }
    }
    return found;
  }
  static bool is_free(const Boot& boot, std::uint64_t address) {
    return memory_map::lookup(boot.free(), base::PhysAddr(address)) != nullptr;
  }

  // The floating pointer, and a table of `length` where that is RAM.
  void put_mp_table(std::uint64_t pointer, std::uint64_t table, std::uint16_t length) {
    builder_.place();
    abi::mp_floating_pointer bytes{};
    bytes.signature = {'_', 'M', 'P', '_'};
    bytes.physical_address = base::Le32(static_cast<std::uint32_t>(table));
    bytes.length = 1;
    bytes.spec_rev = abi::kMpSpecRev14;
    unsigned sum = 0;
    for (const std::byte byte : base::to_bytes(bytes)) {
      sum += std::to_integer<unsigned>(byte);
    }
    bytes.checksum = static_cast<std::uint8_t>(256 - sum % 256);
    fake_.put(pointer, bytes);
    if (table != 0 && table < 0x8000000) {
      abi::mp_configuration_table header{};
      header.signature = {'P', 'C', 'M', 'P'};
      header.base_table_length = base::Le16(length);
      fake_.put(table, header);
    }
  }

  FakeMachine fake_;
  BootBuilder builder_{fake_};
};

TEST_F(CaptureTest, ReservesAllThatIsInUse) {
  builder_.command_line = "console=ttyS0";
  builder_.modules = {{0x1000000, 0x1234, 0x21000, 0}};
  fake_.add_memory(0x1000000, 0x2000);
  builder_.place();
  fake_.put(0x21000, std::string_view("initrd\0", 7));
  const Boot boot = this->boot();
  EXPECT_EQ(boot.command_line(), "console=ttyS0");
  ASSERT_EQ(boot.modules().size(), 1u);
  EXPECT_EQ(boot.modules()[0].index, 0u);
  EXPECT_EQ(boot.modules()[0].range, memory_map::testing::range(0x1000000, 0x1001233));
  EXPECT_EQ(boot.modules()[0].command_line, "initrd");
  EXPECT_TRUE(boot.modules()[0].in_ram);
  EXPECT_EQ(boot.reservations().size(), 7u);
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kImage, 0x200000, 0x2fffff));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kStartInfo, 0x6000, 0x6037));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kMemoryMap, 0x7000, 0x702f));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kModuleList, 0x6040, 0x605f));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kCommandLine, 0x20000, 0x2000d));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kModule, 0x1000000, 0x1001233));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kModuleCommandLine, 0x21000, 0x21006));
  EXPECT_FALSE(is_free(boot, 0x1001fff));
  EXPECT_TRUE(is_free(boot, 0x1002000));
  EXPECT_TRUE(is_free(boot, 0x8000));
  EXPECT_THAT(without_rsdp(boot), ::testing::IsEmpty());
}

TEST_F(CaptureTest, Reserves40BytesOfVersion0) {
  FakeXen xen(fake_);
  xen.map = builder_.map;
  builder_.version = 0;
  const Boot boot = this->boot();
  EXPECT_EQ(boot.map_source(), MapSource::kXen);
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kStartInfo, 0x6000, 0x6027));
  EXPECT_EQ(boot.reservations().size(), 2u);
  EXPECT_FALSE(fake_.was_read(0x6028));
}

TEST_F(CaptureTest, WorksWithStartInfoBelowBehindAndAcross) {
  for (const std::uint64_t address : {0x6000ul, 0x300000ul, 0x200000ul - 56, 0x400000ul - 28,
                                      0x40000000ul - 16, 0x80000000ul - 1}) {
    FakeMachine fake;
    BootBuilder builder(fake);
    builder.map = {{0, 0x9fc00, 1}, {0x100000, 0xbff00000, 1}};
    builder.start_info = address;
    const auto boot = builder.boot();
    ASSERT_TRUE(boot) << address;
    EXPECT_EQ(judge_free(*boot), "");
    EXPECT_TRUE(has_reservation(*boot, ReservationKind::kStartInfo, address, address + 55));
    EXPECT_FALSE(is_free(*boot, address));
    EXPECT_FALSE(is_free(*boot, address + 55));
    EXPECT_TRUE(is_free(*boot, address + 0x400000));
  }
}

TEST_F(CaptureTest, RefusesStartInfoInsideTheImage) {
  for (const std::uint64_t address : {0x200000ul - 55, 0x200000ul, 0x280000ul, 0x2ffffful}) {
    FakeMachine fake;
    BootBuilder builder(fake);
    builder.start_info = address;
    const auto boot = builder.boot();
    ASSERT_FALSE(boot);
    EXPECT_EQ(boot.error(), (BootError{BootErrorCode::kStartInfoInsideImage, address}));
  }
  builder_.start_info = 0x200000 - 56;
  EXPECT_TRUE(builder_.boot());
}

TEST_F(CaptureTest, PassesOnWhatEndsTheBoot) {
  builder_.magic = 1;
  expect_error(BootErrorCode::kBadMagic, 1);
  builder_.magic = abi::XEN_HVM_START_MAGIC_VALUE;
  builder_.map.clear();
  expect_error(BootErrorCode::kEmptyMap, 0);
}

TEST_F(CaptureTest, CutsTheMapAtWhatTheProcessorAddresses) {
  fake_.set_physical_bits(33);
  builder_.map = {{0x100000, std::uint64_t{1} << 40, 1}};
  const Boot boot = this->boot();
  EXPECT_EQ(boot.memory_map().back().range.last(), base::PhysAddr(0x1ffffffff));
  EXPECT_EQ(boot.map_report().clipped, 1u);
  EXPECT_EQ(boot.raw_memory_map()[0].size, std::uint64_t{1} << 40);
}

// ---- modules

TEST_F(CaptureTest, HasNoModulesWhateverTheListSays) {
  builder_.nr_modules = 0;
  builder_.modlist = 0xdeadbeef000;
  const Boot boot = this->boot();
  EXPECT_TRUE(boot.modules().empty());
  EXPECT_THAT(without_rsdp(boot), ::testing::IsEmpty());
  EXPECT_FALSE(fake_.was_read(0xdeadbeef000));
}

TEST_F(CaptureTest, TellsOfAMissingModuleList) {
  builder_.nr_modules = 3;
  for (const std::uint64_t list : {0ul, 0x50000000ul, 0x100000ul - 95}) {
    builder_.modlist = list;
    const Boot boot = this->boot();
    EXPECT_TRUE(boot.modules().empty());
    EXPECT_TRUE(boot.diagnostics().has(DiagnosticKind::kModuleListMissing)) << list;
  }
}

TEST_F(CaptureTest, CutsAModuleListThatWraps) {
  builder_.nr_modules = 3;
  builder_.modlist = UINT64_MAX - 90;
  const Boot boot = this->boot();
  EXPECT_TRUE(boot.modules().empty());
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kModuleList, UINT64_MAX - 90, UINT64_MAX));
  EXPECT_THAT(without_rsdp(boot),
              ::testing::ElementsAre(
                  Diagnostic{DiagnosticKind::kReservationOutsideSpace, 0, UINT64_MAX - 90},
                  Diagnostic{DiagnosticKind::kModuleListMissing, 0, 3}));
}

// Those that were read are in use, whatever became of the rest.
TEST_F(CaptureTest, KeepsModulesReservedWhoseListEndsEarly) {
  builder_.modules = {{0x1000000, 0x1000, 0, 0}};
  builder_.modlist = 0x100000 - 32;
  builder_.nr_modules = 2;
  const Boot boot = this->boot();
  EXPECT_TRUE(boot.modules().empty());
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kModule, 0x1000000, 0x1000fff));
  EXPECT_EQ(judge_free(boot), "");
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kModuleList, 0x100000 - 32, 0x100000 + 31));
}

TEST_F(CaptureTest, KeepsAnAbsentModulesIndex) {
  builder_.modules = {{0, 0, 0, 0},
                      {0, 0x1000, 0, 0},
                      {0x1000000, 0, 0, 0},
                      {0x1000000, 0x1000, 0, 0xdeadbeef},
                      {UINT64_MAX - 0xfff, 0x1001, 0, 0}};
  const Boot boot = this->boot();
  ASSERT_EQ(boot.modules().size(), 5u);
  for (const std::size_t absent : {0u, 1u, 2u, 4u}) {
    EXPECT_FALSE(boot.modules()[absent].range) << absent;
    EXPECT_EQ(boot.modules()[absent].index, absent);
  }
  EXPECT_EQ(boot.modules()[3].range, memory_map::testing::range(0x1000000, 0x1000fff));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kModule, 0x1000000, 0x1000fff, 3));
  EXPECT_THAT(
      without_rsdp(boot),
      ::testing::ElementsAre(Diagnostic{DiagnosticKind::kModuleAbsent, 0, 0},
                             Diagnostic{DiagnosticKind::kModuleAbsent, 1, 0},
                             Diagnostic{DiagnosticKind::kModuleAbsent, 2, 0},
                             Diagnostic{DiagnosticKind::kModuleWraps, 4, UINT64_MAX - 0xfff}));
}

TEST_F(CaptureTest, RefusesAModuleOverTheImage) {
  for (const ModuleRecord record :
       {ModuleRecord{0x1ff000, 0x1001, 0, 0}, ModuleRecord{0x2fffff, 1, 0, 0},
        ModuleRecord{0x100000, 0x1000000, 0, 0}, ModuleRecord{0x250000, 1, 0, 0}}) {
    builder_.modules = {{0x1000000, 0x1000, 0, 0}, record};
    expect_error(BootErrorCode::kModuleOverImage, 1);
  }
  builder_.modules = {{0x1ff000, 0x1000, 0, 0}, {0x300000, 1, 0, 0}};
  EXPECT_EQ(boot().modules().size(), 2u);
}

TEST_F(CaptureTest, RefusesMoreModulesThanItHolds) {
  builder_.modlist = 0x8000;
  builder_.modules.resize(9);
  expect_error(BootErrorCode::kTooManyModules, 9);
  builder_.modules.resize(8);
  EXPECT_EQ(boot().modules().size(), 8u);
  builder_.sizes.modules = 5000;
  builder_.nr_modules = 4097;
  expect_error(BootErrorCode::kTooManyModules, 4097);
  builder_.nr_modules = UINT32_MAX;
  expect_error(BootErrorCode::kTooManyModules, UINT32_MAX);
  builder_.nr_modules = 4096;  // zeroes
  EXPECT_EQ(boot().modules().size(), 4096u);
}

TEST_F(CaptureTest, TellsOfAModuleOutsideOfRam) {
  // In RAM, over its end, in a reservation, in no entry, in two entries that touch.
  builder_.map = {{0, 0x9fc00, 1},         {0x100000, 0xf00000, 1}, {0x1000000, 0x1000, 2},
                  {0x2000000, 0x10800, 1}, {0x2010800, 0x10000, 1}, {0x3000000, 0x10000, 1},
                  {0x3008000, 0x100, 2}};
  builder_.modules = {{0xfff000, 0x1000, 0, 0},   {0xfff000, 0x1001, 0, 0},
                      {0x1000000, 0x100, 0, 0},   {0x5000000, 0x100, 0, 0},
                      {0x2000000, 0x20800, 0, 0}, {0x3000000, 0x10000, 0, 0}};
  const Boot boot = this->boot();
  std::vector<bool> in_ram;
  for (const Module& module : boot.modules()) {
    EXPECT_TRUE(module.range);
    in_ram.push_back(module.in_ram);
  }
  EXPECT_THAT(in_ram, ::testing::ElementsAre(true, false, false, false, true, false));
  EXPECT_THAT(without_rsdp(boot),
              ::testing::IsSupersetOf({Diagnostic{DiagnosticKind::kModuleNotInRam, 1, 0xfff000},
                                       Diagnostic{DiagnosticKind::kModuleNotInRam, 2, 0x1000000},
                                       Diagnostic{DiagnosticKind::kModuleNotInRam, 3, 0x5000000},
                                       Diagnostic{DiagnosticKind::kModuleNotInRam, 5, 0x3000000},
                                       Diagnostic{DiagnosticKind::kModulesOverlap, 1, 0}}));
}

TEST_F(CaptureTest, TellsOfModulesThatOverlap) {
  builder_.command_line = "x";
  builder_.modules = {{0x1000000, 0x1000, 0, 0},
                      {0x1000fff, 1, 0, 0},
                      {0x6000, 0x1000, 0, 0},
                      {0x20000, 1, 0, 0},
                      {0x1001000, 0x1000, 0, 0}};
  EXPECT_THAT(
      without_rsdp(boot()),
      ::testing::UnorderedElementsAre(Diagnostic{DiagnosticKind::kModulesOverlap, 1, 0},
                                      Diagnostic{DiagnosticKind::kModuleOverBootData, 2, 0x6000},
                                      Diagnostic{DiagnosticKind::kModuleOverBootData, 2, 0x6040},
                                      Diagnostic{DiagnosticKind::kModuleOverBootData, 3, 0x20000}));
}

// ---- texts

TEST_F(CaptureTest, IgnoresAModulesGarbagePointer) {
  // qboot leaves what was on its stack. Not in RAM, in a reservation, in the image.
  builder_.map = {
      {0, 0x9fc00, 1}, {0x100000, 0xf00000, 1}, {0x1000000, 0x1000, 2}, {0x1001000, 0x7000000, 1}};
  fake_.put(0x1000000, std::string_view("no\0", 3));
  fake_.put(0x280000, std::string_view("no\0", 3));
  builder_.modules = {{0x3000000, 0x1000, 0x8badf00d12345678, 0},
                      {0x3001000, 0x1000, 0x1000000, 0},
                      {0x3002000, 0x1000, 0x280000, 0},
                      {0x3003000, 0x1000, 0, 0}};
  const Boot boot = this->boot();
  for (const Module& module : boot.modules()) {
    EXPECT_EQ(module.command_line, "");
    EXPECT_TRUE(module.range);
  }
  EXPECT_THAT(without_rsdp(boot),
              ::testing::ElementsAre(
                  Diagnostic{DiagnosticKind::kModuleStringNotInRam, 0, 0x8badf00d12345678},
                  Diagnostic{DiagnosticKind::kModuleStringNotInRam, 1, 0x1000000},
                  Diagnostic{DiagnosticKind::kModuleStringNotInRam, 2, 0x280000}));
  EXPECT_FALSE(fake_.was_read(0x1000000));
  EXPECT_FALSE(fake_.was_read(0x280000));
}

TEST_F(CaptureTest, BelievesAModulesPointerIntoTheBootArea) {
  builder_.map = {{0x100000, 0x7f00000, 1}};
  builder_.place();
  fake_.put(0x15fff, std::string_view("near\0", 5));
  fake_.put(0x16040, std::string_view("far\0", 4));
  builder_.modules = {{0x3000000, 0x1000, 0x15fff, 0}, {0x3001000, 0x1000, 0x16040, 0}};
  const Boot boot = this->boot();
  EXPECT_EQ(boot.modules()[0].command_line, "near");
  EXPECT_EQ(boot.modules()[1].command_line, "");
}

TEST_F(CaptureTest, TakesATextThatEndsWithMemory) {
  builder_.low_memory = 0;
  for (const std::size_t length : {0u, 1u, 2u, 63u, 64u, 65u, 4095u, 4096u}) {
    for (const std::uint64_t address : {0x30000000ul + 0x10000 * length,
                                        0x20000000ul + 0x10000 * length + 4096 - length % 4096}) {
      builder_.command_line = std::string(length, 'x');
      builder_.command_line_address = address;
      const Boot boot = this->boot();
      EXPECT_EQ(boot.command_line(), *builder_.command_line);
      EXPECT_TRUE(has_reservation(boot, ReservationKind::kCommandLine, address, address + length));
    }
  }
}

TEST_F(CaptureTest, TakesNoTextWithoutAnEnd) {
  builder_.place();
  fake_.put(0x20000, std::string(0x100000 - 0x20000, 'x'));
  builder_.command_line = std::nullopt;
  const std::uint64_t address = builder_.place().value();
  fake_.put(address + 24, base::Le64(0x20000));
  auto boot = builder_.capture_at(base::PhysAddr(address));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), "");
  EXPECT_THAT(without_rsdp(*boot),
              ::testing::ElementsAre(
                  Diagnostic{DiagnosticKind::kStringUnterminated, kCommandLineIndex, 0x20000}));
  EXPECT_TRUE(fake_.was_read(0x2ffff));
  EXPECT_FALSE(fake_.was_read(0x30000));
  // The longest, and one that ends where memory does.
  fake_.put(0x2ffff, std::string_view("\0", 1));
  boot = builder_.capture_at(base::PhysAddr(address));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), std::string(65535, 'x'));
  fake_.put(address + 24, base::Le64(0x100000 - 3));
  boot = builder_.capture_at(base::PhysAddr(address));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), "");
  EXPECT_TRUE(boot->diagnostics().has(DiagnosticKind::kStringUnterminated));
  EXPECT_TRUE(has_reservation(*boot, ReservationKind::kCommandLine, 0x100000 - 3, 0xfffff));
  fake_.put(address + 24, base::Le64(0x100000));
  boot = builder_.capture_at(base::PhysAddr(address));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), "");
  EXPECT_TRUE(boot->diagnostics().has(DiagnosticKind::kStringUnreadable));
}

TEST_F(CaptureTest, CopiesATextThatNoPointerReaches) {
  builder_.sizes.strings = 12;
  builder_.command_line = "eight ch";
  builder_.command_line_address = std::uint64_t{5} << 32;
  builder_.map.push_back({std::uint64_t{4} << 32, std::uint64_t{2} << 32, 1});
  builder_.modules = {{0x3000000, 0x1000, std::uint64_t{9} << 31, 0}};
  fake_.put(std::uint64_t{9} << 31, std::string_view("four\0", 5));
  Boot boot = this->boot();
  EXPECT_EQ(boot.command_line(), "eight ch");
  EXPECT_EQ(boot.modules()[0].command_line, "four");
  fake_.put(std::uint64_t{5} << 32, "other");
  EXPECT_EQ(boot.command_line(), "eight ch");

  builder_.sizes.strings = 11;
  boot = this->boot();
  EXPECT_EQ(boot.command_line(), "");
  EXPECT_EQ(boot.modules()[0].command_line, "four");
  EXPECT_TRUE(boot.diagnostics().has(DiagnosticKind::kStringStorageTooSmall));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kCommandLine, std::uint64_t{5} << 32,
                              (std::uint64_t{5} << 32) + 8));
}

TEST_F(CaptureTest, RefusesACommandLineOverTheImage) {
  builder_.command_line = "x";
  for (const std::uint64_t address : {0x1ffffful, 0x200000ul, 0x2ffffful}) {
    builder_.command_line_address = address;
    FakeMachine fake;
    fake.add_memory(0x100000, 0x300000);
    BootBuilder builder(fake);
    builder.command_line = "x";
    builder.command_line_address = address;
    const auto boot = builder.boot();
    ASSERT_FALSE(boot);
    EXPECT_EQ(boot.error(), (BootError{BootErrorCode::kCommandLineOverImage, address}));
  }
  builder_.command_line_address = 0x1ffffe;
  EXPECT_EQ(boot().command_line(), "x");
}

// ---- storage

TEST_F(CaptureTest, TellsHowManyReservationsThereAre) {
  builder_.command_line = "x";
  builder_.modules = {{0x1000000, 0x1000, 0, 0}, {0x1001000, 0x1000, 0, 0}};
  builder_.sizes.reservations = 6;
  expect_error(BootErrorCode::kTooManyReservations, 7);
  builder_.sizes.reservations = 7;
  EXPECT_EQ(boot().reservations().size(), 7u);
  builder_.sizes.reservations = 0;
  expect_error(BootErrorCode::kTooManyReservations, 7);
}

TEST_F(CaptureTest, ReservesXensPages) {
  FakeXen xen(fake_);
  xen.map = builder_.map;
  xen.params[abi::HVM_PARAM_CONSOLE_PFN] = 0x5000;
  xen.params[abi::HVM_PARAM_CONSOLE_EVTCHN] = 2;
  xen.params[abi::HVM_PARAM_STORE_PFN] = 0x5001;
  Boot boot = this->boot();
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kXen, 0x5000000, 0x5000fff));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kXen, 0x5001000, 0x5001fff));
  // A dom0 is asked too, and says that it has none.
  builder_.flags = abi::SIF_PRIVILEGED | abi::SIF_INITDOMAIN;
  EXPECT_TRUE(has_reservation(this->boot(), ReservationKind::kXen, 0x5000000, 0x5000fff));
  xen.params.clear();
  boot = this->boot();
  EXPECT_TRUE(std::ranges::none_of(boot.reservations(), [](const Reservation& each) {
    return each.kind == ReservationKind::kXen;
  }));
}

// As Cloud Hypervisor leaves it: at the end of base memory, all of which its map calls RAM.
TEST_F(CaptureTest, ReservesTheMpTable) {
  builder_.map = {{0, 0xa0000, 1}, {0x100000, 0x7f00000, 1}};
  EXPECT_TRUE(is_free(boot(), 0x9f000));
  put_mp_table(0x9fc00, 0x5000000, 0x2345);
  Boot boot = this->boot();
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kMpTable, 0x9fc00, 0x9fc0f));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kMpTable, 0x5000000, 0x5002344));
  EXPECT_FALSE(is_free(boot, 0x9f000));
  EXPECT_FALSE(is_free(boot, 0x5002000));
  EXPECT_TRUE(is_free(boot, 0x5003000));
  // Who has no use for it gets the RAM.
  EXPECT_TRUE(boot.release(ReservationKind::kMpTable));
  EXPECT_TRUE(is_free(boot, 0x9f000));
}

TEST_F(CaptureTest, ReservesTheMpTableInTheEbda) {
  builder_.map = {{0, 0xa0000, 1}, {0x100000, 0x7f00000, 1}};
  builder_.place();
  fake_.put(0x40e, base::Le16(0x8000));
  put_mp_table(0x803f0, 0x5000000, 44);
  put_mp_table(0x9fff0, 0x6000000, 44);
  const Boot boot = *builder_.capture_at(base::PhysAddr(builder_.start_info));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kMpTable, 0x803f0, 0x803ff));
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kMpTable, 0x5000000, 0x500002b));
  EXPECT_TRUE(is_free(boot, 0x9f000)) << "the first one counts";
}

TEST_F(CaptureTest, TakesNoOtherBytesForAnMpTable) {
  const auto has_mp_table = [this] {
    return std::ranges::any_of(boot().reservations(), [](const Reservation& each) {
      return each.kind == ReservationKind::kMpTable;
    });
  };
  put_mp_table(0x9fc08, 0x5000000, 44);  // on no boundary of 16
  EXPECT_FALSE(has_mp_table());
  put_mp_table(0x9fc10, 0x5000000, 44);
  EXPECT_TRUE(has_mp_table());
  fake_.put(0x9fc1f, base::Le<std::uint8_t>(1));  // a wrong sum
  EXPECT_FALSE(has_mp_table());
  // A pointer whose table is none, or nowhere, is one all the same.
  put_mp_table(0x9fc10, 0x5000000, 44);
  fake_.put(0x5000000, base::Le32(0));
  EXPECT_TRUE(has_mp_table());
  put_mp_table(0x9fc10, 0, 44);
  EXPECT_TRUE(has_mp_table());
  put_mp_table(0x9fc10, 0xfffffff0, 44);
  EXPECT_TRUE(has_mp_table());
}

TEST_F(CaptureTest, MakesNoHypercallWithoutXen) {
  builder_.flags = abi::SIF_PRIVILEGED;
  EXPECT_EQ(boot().hypervisors().all().size(), 0u);
  EXPECT_TRUE(fake_.hypercalls.empty());
}

}  // namespace
}  // namespace pvh::guest
