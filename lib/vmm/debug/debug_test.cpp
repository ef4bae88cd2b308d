// SPDX-License-Identifier: BSD-2-Clause
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>

#include "debug/debug_registers.hpp"
#include "debug/listener.hpp"
#include "debug/vcpu_registers.hpp"

namespace pvh::vmm::debug {
namespace {

using gdb::Breakpoint;
using gdb::BreakpointError;
using gdb::BreakpointKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Breakpoint execute(std::uint64_t address) {
  return {BreakpointKind::kHardware, address, 1};
}

TEST(DebugRegisters, SayWhatIsWatched) {
  DebugRegisters registers;
  EXPECT_EQ(registers.dr7(), 0x400U);
  EXPECT_FALSE(registers.any());
  EXPECT_EQ(registers.insert(execute(0x1000)), std::nullopt);
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, 0x2000, 8}), std::nullopt);
  EXPECT_EQ(registers.insert({BreakpointKind::kAccess, 0x3004, 4}), std::nullopt);
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, 0x4002, 2}), std::nullopt);
  EXPECT_THAT(registers.addresses(), ElementsAre(0x1000, 0x2000, 0x3004, 0x4002));
  // Global enables; then R/W and LEN of each: 0000, 1001 (8 bytes, write), 1111, 0101.
  EXPECT_EQ(registers.dr7(), 0x400U | 0x200U | 0xaaU | 0x5f900000U);
  EXPECT_EQ(registers.hit(0b0001)->address, 0x1000U);
  EXPECT_EQ(registers.hit(0b1000)->kind, BreakpointKind::kWrite);
  EXPECT_EQ(registers.hit(kDr6SingleStep), std::nullopt);
  EXPECT_TRUE(registers.stops_at(0x1000));
  EXPECT_FALSE(registers.stops_at(0x2000)) << "that one watches data";
}

TEST(DebugRegisters, AreFour) {
  DebugRegisters registers;
  for (std::uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(registers.insert(execute(0x1000 + i)), std::nullopt);
  }
  EXPECT_EQ(registers.insert(execute(0x2000)), BreakpointError::kTooMany);
  EXPECT_EQ(registers.insert(execute(0x1001)), std::nullopt) << "it is there already";
  EXPECT_TRUE(registers.remove(execute(0x1001)));
  EXPECT_FALSE(registers.remove(execute(0x1001)));
  EXPECT_EQ(registers.insert(execute(0x2000)), std::nullopt);
  EXPECT_THAT(registers.addresses(), ElementsAre(0x1000, 0x2000, 0x1002, 0x1003));
}

TEST(DebugRegisters, TakeAnUnalignedWatchpointInPieces) {
  DebugRegisters registers;
  const Breakpoint odd{BreakpointKind::kWrite, 0x1003, 8};
  EXPECT_EQ(registers.insert(odd), std::nullopt);
  EXPECT_THAT(registers.addresses(), ElementsAre(0x1003, 0x1004, 0x1008, 0x100a));
  EXPECT_EQ(registers.hit(0b0100), odd) << "whichever piece was touched";
  EXPECT_TRUE(registers.remove(odd));
  EXPECT_FALSE(registers.any());
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, 0x1000, 32}), std::nullopt);
  registers.clear();
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, 0x1000, 33}), BreakpointError::kTooMany);
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, 0x1000, UINT64_MAX - 0x1000}),
            BreakpointError::kTooMany);
  EXPECT_FALSE(registers.any());
}

TEST(DebugRegisters, RefuseNonsense) {
  DebugRegisters registers;
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, 0x1000, 0}), BreakpointError::kBadSize);
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, UINT64_MAX, 2}), BreakpointError::kBadSize);
  EXPECT_EQ(registers.insert({BreakpointKind::kWrite, UINT64_MAX, 1}), std::nullopt);
}

VcpuRegisters some_registers() {
  VcpuRegisters all{};
  all.regs.rax = 0x1111111111111111;
  all.regs.r15 = 0x1515151515151515;
  all.regs.rip = 0xffffffff81000000;
  all.regs.rflags = 0x246;
  all.sregs.cs.selector = 0x10;
  all.sregs.cs.base = 0x1234;
  all.sregs.gs.base = 0xffff888000000000;
  all.sregs.cr0 = 0x80000011;
  all.sregs.efer = 0xd01;
  all.fpu.fcw = 0x37f;
  all.fpu.ftwx = 0x81;
  all.fpu.fpr[7][9] = 0x40;
  all.fpu.xmm[15][15] = 0xff;
  all.fpu.mxcsr = 0x1f80;
  return all;
}

std::size_t offset_of(std::string_view name) {
  for (std::size_t i = 0; i < gdb::kRegisters.size(); ++i) {
    if (gdb::kRegisters[i].name == name) {
      return gdb::register_offset(i);
    }
  }
  ADD_FAILURE() << name;
  return 0;
}

TEST(VcpuRegisters, StandWhereGdbLooksForThem) {
  const auto bytes = to_gdb(some_registers());
  const auto value = [&](std::string_view name) {
    return base::read_at<std::uint32_t>(bytes, offset_of(name)).value_or(0);
  };
  EXPECT_EQ(value("rax"), 0x11111111U);
  EXPECT_EQ(value("r15"), 0x15151515U);
  EXPECT_EQ(value("rip"), 0x81000000U);
  EXPECT_EQ(value("eflags"), 0x246U);
  EXPECT_EQ(value("cs"), 0x10U);
  EXPECT_EQ(value("fctrl"), 0x37fU);
  EXPECT_EQ(value("ftag"), 0x3ffcU) << "two of eight are in use";
  EXPECT_EQ(value("mxcsr"), 0x1f80U);
  EXPECT_EQ(value("cr0"), 0x80000011U);
  EXPECT_EQ(value("efer"), 0xd01U);
  EXPECT_EQ(bytes[offset_of("st7") + 9], std::byte{0x40});
  EXPECT_EQ(bytes[offset_of("xmm15") + 15], std::byte{0xff});
  EXPECT_EQ(base::read_at<std::uint64_t>(bytes, offset_of("gs_base")), 0xffff888000000000);
}

TEST(VcpuRegisters, AreTheSameThereAndBack) {
  const VcpuRegisters before = some_registers();
  const VcpuRegisters after = from_gdb(before, to_gdb(before));
  EXPECT_EQ(std::memcmp(&before.regs, &after.regs, sizeof(before.regs)), 0);
  EXPECT_EQ(std::memcmp(&before.sregs, &after.sregs, sizeof(before.sregs)), 0);
  EXPECT_EQ(std::memcmp(&before.fpu, &after.fpu, sizeof(before.fpu)), 0);
}

TEST(VcpuRegisters, KeepWhatGdbDoesNotKnow) {
  VcpuRegisters before = some_registers();
  auto bytes = to_gdb(before);
  bytes[offset_of("cs")] = std::byte{0x20};
  const VcpuRegisters after = from_gdb(before, bytes);
  EXPECT_EQ(after.sregs.cs.selector, 0x20);
  EXPECT_EQ(after.sregs.cs.base, 0x1234U);
}

TEST(Listener, SaysWhereItListens) {
  const auto four = Listener::open({});
  ASSERT_TRUE(four) << four.error().text;
  EXPECT_THAT(four->place(), ::testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_FALSE(four->accept()) << "nobody waits";
}

TEST(Listener, RefusesAPortThatIsTaken) {
  const auto first = Listener::open({});
  ASSERT_TRUE(first);
  const auto port = std::stoi(first->place().substr(first->place().rfind(':') + 1));
  const auto second = Listener::open({.path = "", .port = static_cast<std::uint16_t>(port)});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, FailureKind::kHostIo);
  EXPECT_THAT(second.error().text, HasSubstr(first->place() + ": Address already in use"));
}

TEST(Listener, RefusesWhatIsNoAddress) {
  const auto name = Listener::open({.path = "", .host = "example.org"});
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().kind, FailureKind::kRequest);
  const auto path = Listener::open({.path = std::string(200, 'x')});
  ASSERT_FALSE(path);
  EXPECT_EQ(path.error().kind, FailureKind::kRequest);
}

TEST(Listener, TakesItsUnixSocketAway) {
  std::string folder = ::testing::TempDir() + "gdbXXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/socket";
  {
    const auto listener = Listener::open({.path = path});
    ASSERT_TRUE(listener) << listener.error().text;
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_FALSE(Listener::open({.path = path})) << "it is another's now";
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  ::rmdir(folder.c_str());
}

}  // namespace
}  // namespace pvh::vmm::debug
