// SPDX-License-Identifier: BSD-2-Clause
#include "server.hpp"

#include <string>
#include <string_view>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "registers.hpp"
#include "testing/fake_target.hpp"

namespace pvh::vmm::gdb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::string hex_number(std::size_t number) {
  return fmt::format("{:x}", number);
}

class ServerTest : public ::testing::Test {
 protected:
  static void send(Server& to, std::string_view bytes) {
    to.receive(std::as_bytes(std::span(bytes)));
  }
  // What comes back for raw bytes.
  std::string raw(std::string_view bytes) {
    send(server, bytes);
    return server.take_output();
  }
  // The payload of the reply to a payload; "" for an empty one, "none" when there is none.
  std::string ask(std::string_view payload) { return payload_of(raw(frame(payload))); }

  static std::string payload_of(std::string_view output) {
    if (output.starts_with('+')) {
      output.remove_prefix(1);
    }
    std::string payload = "none";
    PacketReader reader;
    reader.feed(std::as_bytes(std::span(output)), [&](const Event& event) {
      if (const auto* const packet = std::get_if<Packet>(&event)) {
        payload = packet->payload;
      }
    });
    return payload;
  }
  std::string reported(const Stop& stop) {
    server.report(stop);
    return payload_of(server.take_output());
  }

  gdb::testing::FakeTarget target;
  Server server{target, {StopReason::kAttached, 0}};
};

TEST_F(ServerTest, SaysWhatItCan) {
  const std::string reply = ask("qSupported:multiprocess+;swbreak+;hwbreak+");
  for (const char* const feature :
       {"PacketSize=4000", "swbreak+", "hwbreak+", "qXfer:features:read+", "vContSupported+",
        "QStartNoAckMode+"}) {
    EXPECT_THAT(reply, HasSubstr(feature));
  }
  EXPECT_EQ(ask("vCont?"), "vCont;c;C;s;S");
  EXPECT_EQ(ask("vMustReplyEmpty"), "");
  EXPECT_EQ(ask("qTStatus"), "");
  EXPECT_EQ(ask("!"), "");
  EXPECT_EQ(ask(""), "");
  EXPECT_EQ(ask("qAttached"), "1");
}

TEST_F(ServerTest, AcknowledgesUntilItIsToldNotTo) {
  EXPECT_EQ(raw("$qC#b4"), "+$QC1#c5");
  EXPECT_EQ(raw("$qC#00"), "-");
  EXPECT_EQ(raw("-"), "$QC1#c5") << "once more";
  EXPECT_EQ(raw("$QStartNoAckMode#b0"), "+$OK#9a");
  EXPECT_EQ(raw("+$qC#b4"), "$QC1#c5");
  EXPECT_EQ(raw("$qC#00"), "");
  EXPECT_EQ(raw("-"), "");
}

TEST_F(ServerTest, TellsWhyItStands) {
  EXPECT_EQ(ask("?"), "T05thread:1;");
}

TEST_F(ServerTest, HasAThreadForEachVcpu) {
  EXPECT_EQ(ask("qfThreadInfo"), "m1,2");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("T1"), "OK");
  EXPECT_EQ(ask("T2"), "OK");
  EXPECT_EQ(ask("T3"), "E01");
  EXPECT_EQ(ask("T0"), "E01");
  EXPECT_EQ(ask("T-1"), "E01");
  EXPECT_EQ(ask("Tffffffffffffffff"), "E01");
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("qC"), "QC2");
  EXPECT_EQ(ask("Hg0"), "OK");
  EXPECT_EQ(ask("qC"), "QC2");
  EXPECT_EQ(ask("Hc-1"), "OK");
  EXPECT_EQ(ask("Hg3"), "E01");
  EXPECT_EQ(ask("Hx1"), "E16");
  EXPECT_EQ(ask("H"), "E16");
  EXPECT_EQ(ask("qThreadExtraInfo,2"), to_hex(std::string_view("vCPU 1")));
  EXPECT_EQ(ask("qThreadExtraInfo,9"), "E01");
}

TEST_F(ServerTest, DescribesTheTarget) {
  std::string document;
  for (;;) {
    const std::string part =
        ask("qXfer:features:read:target.xml:" + hex_number(document.size()) + ",200");
    ASSERT_FALSE(part.empty());
    document += part.substr(1);
    if (part[0] == 'l') {
      break;
    }
    ASSERT_EQ(part[0], 'm');
    ASSERT_EQ(part.size(), 0x201U);
  }
  EXPECT_EQ(document, target_description());
  EXPECT_THAT(document, HasSubstr("<architecture>i386:x86-64</architecture>"));
  EXPECT_EQ(ask("qXfer:features:read:target.xml:ffffffffffffffff,200"), "l");
  EXPECT_EQ(ask("qXfer:features:read:target.xml:0,ffffffffffffffff").size() > 0x100, true);
  EXPECT_EQ(ask("qXfer:features:read:other.xml:0,200"), "E01");
  EXPECT_EQ(ask("qXfer:features:read:target.xml:0"), "E16");
}

TEST_F(ServerTest, ReadsAndWritesRegisters) {
  EXPECT_EQ(ask("g"), std::string(2 * kRegisterBytes, '0'));
  EXPECT_EQ(ask("P10=8877665544332211"), "OK");
  EXPECT_EQ(ask("p10"), "8877665544332211");
  EXPECT_EQ(target.registers[0][16 * 8], std::byte{0x88});
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("p10"), "0000000000000000");
  EXPECT_EQ(ask("G" + std::string(2 * kRegisterBytes, '1')), "OK");
  EXPECT_EQ(target.registers[1][0], std::byte{0x11});

  EXPECT_EQ(ask("G11"), "E16");
  EXPECT_EQ(ask("G" + std::string(2 * kRegisterBytes, 'x')), "E16");
  EXPECT_EQ(ask("p" + hex_number(kRegisters.size())), "E16");
  EXPECT_EQ(ask("pffffffffffffffff"), "E16");
  EXPECT_EQ(ask("p"), "E16");
  EXPECT_EQ(ask("P0=11"), "E16") << "as long as the register is, not shorter";
  EXPECT_EQ(ask("Pffff=11"), "E16");
  EXPECT_EQ(ask("P0"), "E16");
}

TEST_F(ServerTest, ReadsAndWritesMemory) {
  EXPECT_EQ(ask("M1000,3:010203"), "OK");
  EXPECT_EQ(ask("m1000,4"), "01020300");
  EXPECT_EQ(ask(std::string("X1001,3:}#$", 11)), "OK") << "frame() escaped them";
  EXPECT_EQ(ask("m1000,4"), "017d2324");
  EXPECT_EQ(ask("X1000,0:"), "OK") << "gdb's question whether X is known";
  EXPECT_EQ(ask("m1000,0"), "");

  EXPECT_EQ(ask("m1ff8,10").size(), 16U) << "as far as there is memory";
  EXPECT_EQ(ask("m2000,1"), "E01");
  EXPECT_EQ(ask("mffffffffffffffff,10"), "E01");
  EXPECT_EQ(ask("m1000,ffffffffffffffff").size(), 0x2000U) << "all there is, no more";
  EXPECT_EQ(ask("M1fff,2:0101"), "E01");
  EXPECT_EQ(ask("M1000,2:01"), "E16");
  EXPECT_EQ(ask("M1000,ffffffffffffffff:01"), "E16");
  EXPECT_EQ(ask("M1000,1:0"), "E16");
  EXPECT_EQ(ask("M1000,1"), "E16");
  EXPECT_EQ(ask("m1000"), "E16");
  EXPECT_EQ(ask("m,1"), "E16");
  EXPECT_EQ(ask("m1000,1 "), "E16");
  EXPECT_EQ(ask("m10000000000000000,1"), "E16");
}

TEST_F(ServerTest, SetsAndRemovesBreakpoints) {
  EXPECT_EQ(ask("Z0,1000,1"), "OK");
  EXPECT_EQ(ask("Z1,1004,1"), "OK");
  EXPECT_EQ(ask("Z2,1008,8"), "OK");
  EXPECT_EQ(ask("Z4,1010,4"), "OK");
  EXPECT_THAT(target.breakpoints, ElementsAre(Breakpoint{BreakpointKind::kSoftware, 0x1000, 1},
                                              Breakpoint{BreakpointKind::kHardware, 0x1004, 1},
                                              Breakpoint{BreakpointKind::kWrite, 0x1008, 8},
                                              Breakpoint{BreakpointKind::kAccess, 0x1010, 4}));
  EXPECT_EQ(ask("Z3,1000,4"), "") << "gdb then takes type 4";
  EXPECT_EQ(ask("Z5,1000,4"), "");
  EXPECT_EQ(ask("z2,1008,8"), "OK");
  EXPECT_EQ(ask("z0,1000,1"), "OK");
  EXPECT_EQ(ask("z0,1000,1"), "OK") << "it is away, which was asked for";
  EXPECT_EQ(target.breakpoints.size(), 2U);

  target.refuse_breakpoints = BreakpointError::kTooMany;
  EXPECT_THAT(ask("Z1,1000,1"), StartsWith("E.pvh.the processor has four"));
  EXPECT_EQ(ask("Z0,1000"), "E16");
  EXPECT_EQ(ask("Z"), "E16");
  EXPECT_EQ(ask("Z0,1000,1;X"), "E16") << "conditions for the stub were not offered";
}

TEST_F(ServerTest, LetsThreadsGo) {
  EXPECT_EQ(ask("vCont;s:2;c"), "none");
  EXPECT_EQ(server.state(), Server::State::kRunning);
  EXPECT_THAT(target.motions, ElementsAre(Motion::kGo, Motion::kStep));
  EXPECT_EQ(reported({StopReason::kStepped, 1}), "T05thread:2;");
  EXPECT_EQ(server.state(), Server::State::kStopped);
  EXPECT_EQ(ask("qC"), "QC2");

  EXPECT_EQ(ask("vCont;S05:1"), "none");
  EXPECT_THAT(target.motions, ElementsAre(Motion::kStep, Motion::kStay));
  reported({StopReason::kStepped, 0});
  EXPECT_EQ(ask("vCont;C05"), "none");
  EXPECT_THAT(target.motions, ElementsAre(Motion::kGo, Motion::kGo));
  reported({StopReason::kStepped, 0});
  EXPECT_EQ(ask("c"), "none");
  EXPECT_THAT(target.motions, ElementsAre(Motion::kGo, Motion::kGo));
  reported({StopReason::kStepped, 1});
  EXPECT_EQ(ask("s"), "none");
  EXPECT_THAT(target.motions, ElementsAre(Motion::kStay, Motion::kStep));
  reported({StopReason::kStepped, 1});
  EXPECT_EQ(ask("C0b"), "none");
  reported({StopReason::kStepped, 1});
  EXPECT_EQ(ask("S0b"), "none");
}

TEST_F(ServerTest, RefusesToLetNobodyGo) {
  for (const char* const packet :
       {"vCont", "vCont;", "vCont;x", "vCont;c:", "vCont;c:9", "vCont;t", "vCont;C", "vContc",
        "vCont;c:1x", "vCont;s:ffffffffffffffffff", "c1000", "C", "S;", "C5;1000"}) {
    EXPECT_EQ(ask(packet), "E16") << packet;
    EXPECT_EQ(server.state(), Server::State::kStopped);
  }
  EXPECT_THAT(target.motions, IsEmpty());
}

TEST_F(ServerTest, TellsWhatStoppedIt) {
  EXPECT_EQ(reported({StopReason::kSoftwareBreakpoint, 1}), "T05thread:2;swbreak:;");
  EXPECT_EQ(reported({StopReason::kHardwareBreakpoint, 0}), "T05thread:1;hwbreak:;");
  EXPECT_EQ(reported({StopReason::kWrite, 0, 0x1008}), "T05thread:1;watch:1008;");
  EXPECT_EQ(reported({StopReason::kAccess, 0, 0x1008}), "T05thread:1;awatch:1008;");
  EXPECT_EQ(reported({StopReason::kInterrupted, 0}), "T02thread:1;");
  EXPECT_EQ(reported({StopReason::kCrashed, 1}), "T0bthread:2;");
  EXPECT_EQ(reported({StopReason::kCannotRun, 1}), "T04thread:2;");
  EXPECT_EQ(ask("?"), "T04thread:2;");
}

TEST_F(ServerTest, StopsAtAnInterruptAndOnlyWhenItRuns) {
  EXPECT_EQ(raw("\x03"), "");
  EXPECT_EQ(ask("vCont;c"), "none");
  EXPECT_EQ(ask("g"), "none") << "nobody can read what runs";
  EXPECT_EQ(payload_of(raw("\x03")), "T02thread:1;");
}

TEST_F(ServerTest, DetachesAndKills) {
  EXPECT_EQ(ask("D"), "OK");
  EXPECT_TRUE(target.detached);
  EXPECT_EQ(server.state(), Server::State::kDetached);
  EXPECT_EQ(ask("g"), "none") << "it has said goodbye";

  Server second{target, {StopReason::kAttached, 0}};
  send(second, frame("k"));
  EXPECT_TRUE(target.killed);
  EXPECT_EQ(second.state(), Server::State::kKilled);
}

TEST_F(ServerTest, ObeysAKillAndADetachWhileItRuns) {
  ask("vCont;c");
  EXPECT_EQ(ask("vKill;1"), "OK");
  EXPECT_TRUE(target.killed);
  Server second{target, {StopReason::kAttached, 0}};
  send(second, frame("c") + frame("D"));
  EXPECT_EQ(second.state(), Server::State::kDetached);
}

TEST_F(ServerTest, TellsHowTheMachineEnded) {
  server.report_end({.by_signal = false, .value = 33});
  EXPECT_EQ(payload_of(server.take_output()), "W21");
  server.report_end({.by_signal = true, .value = 11});
  EXPECT_EQ(payload_of(server.take_output()), "X0b");
}

TEST_F(ServerTest, RefusesAPacketThatIsTooLong) {
  EXPECT_EQ(ask("M1000,4000:" + std::string(0x8000, '0')), "E07");
  EXPECT_EQ(ask("qC"), "QC1");
}

}  // namespace
}  // namespace pvh::vmm::gdb
