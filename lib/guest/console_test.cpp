// SPDX-License-Identifier: BSD-2-Clause
#include <cstdint>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <pvh/abi/xen_console.hpp>
#include <pvh/abi/xen_hvm.hpp>
#include <pvh/guest/console.hpp>

#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest {
namespace {

using ::testing::ElementsAre;
using testing::FakeMachine;
using testing::FakeXen;

// A 16550 at COM1 and a debug console, behind the ports of a machine.
class Ports {
 public:
  explicit Ports(FakeMachine& fake) {
    fake.on_in = [this](std::uint16_t port, int width) {
      EXPECT_EQ(width, 1);
      return in(port);
    };
    fake.on_out = [this](std::uint16_t port, std::uint32_t value, int width) {
      EXPECT_EQ(width, 1);
      out(port, static_cast<std::uint8_t>(value));
    };
  }

  bool has_debug_port = false;
  bool has_com1 = true;
  bool has_fifo = true;
  bool stuck = false;
  std::string debug;
  std::string com1;
  unsigned polls = 0;
  std::map<std::uint16_t, std::uint8_t> registers;

 private:
  std::uint32_t in(std::uint16_t port) {
    if (port == 0xe9) {
      return has_debug_port ? 0xe9 : 0xff;
    }
    if (!has_com1) {
      return 0xff;
    }
    if (port == 0x3fd) {
      ++polls;
      fill_ = 0;
      return stuck ? 0 : 0x60;
    }
    return port == 0x3fa ? (has_fifo && (registers[0x3fa] & 1) != 0 ? 0xc1 : 0x01)
                         : registers[port];
  }
  void out(std::uint16_t port, std::uint8_t value) {
    if (port == 0xe9) {
      debug += static_cast<char>(value);
    } else if (port == 0x3f8 && (registers[0x3fb] & 0x80) == 0) {
      EXPECT_LT(fill_, has_fifo ? 16u : 1u) << "it is full";
      ++fill_;
      com1 += static_cast<char>(value);
    } else {
      const std::uint16_t place = (registers[0x3fb] & 0x80) != 0 && port <= 0x3f9
                                      ? static_cast<std::uint16_t>(port + 0x100)
                                      : port;
      registers[place] = value;
    }
  }

  unsigned fill_ = 0;
};

class ConsoleTest : public ::testing::Test {
 protected:
  Machine& machine() { return fake_.machine(); }
  void start() { console_.start(machine()); }
  void add_xen(bool is_hardware_domain) {
    xen_.emplace(fake_);
    xen_->is_hardware_domain = is_hardware_domain;
    xen_->params = params_;
    console_.add_xen(*detect_hypervisors(machine()).xen(), is_hardware_domain);
  }
  void add_ring(std::uint32_t connection = abi::XENCONSOLE_CONNECTED) {
    params_[abi::HVM_PARAM_CONSOLE_PFN] = kRing >> 12;
    params_[abi::HVM_PARAM_CONSOLE_EVTCHN] = 3;
    fake_.add_memory(kRing, 4096);
    set(offsetof(abi::xencons_interface, connection), connection);
  }
  void set(std::size_t field, std::uint32_t value) { fake_.put(kRing + field, base::Le32(value)); }
  std::uint32_t get(std::size_t field) { return fake_.get<base::Le32>(kRing + field)->get(); }
  // Takes what is in the ring, as the other end.
  std::string take() {
    std::string text;
    std::uint32_t consumed = get(offsetof(abi::xencons_interface, out_cons));
    while (consumed != get(offsetof(abi::xencons_interface, out_prod))) {
      const std::uint64_t at = offsetof(abi::xencons_interface, out) + consumed++ % 2048;
      text += static_cast<char>(*fake_.get<std::uint8_t>(kRing + at));
    }
    set(offsetof(abi::xencons_interface, out_cons), consumed);
    return text;
  }

  static constexpr std::uint64_t kRing = 0xfeff'e000;
  FakeMachine fake_;
  Ports ports_{fake_};
  std::map<std::uint32_t, std::uint64_t> params_;
  std::optional<FakeXen> xen_;
  Console console_;
};

TEST_F(ConsoleTest, DropsWhatComesBeforeTheStart) {
  console_.write("lost\n");
  console_.flush();
  start();
  console_.write("seen\n");
  EXPECT_EQ(ports_.com1, "seen\r\n");
}

TEST_F(ConsoleTest, FindsNothingWhereNothingIs) {
  ports_.has_com1 = false;
  start();
  EXPECT_FALSE(console_.ways().com1);
  EXPECT_FALSE(console_.ways().debug_port);
  fake_.port_writes.clear();
  console_.write("text\n");
  EXPECT_TRUE(fake_.port_writes.empty());
}

TEST_F(ConsoleTest, SetsTheLineUp) {
  start();
  EXPECT_TRUE(console_.ways().com1);
  EXPECT_EQ(ports_.registers[0x4f8], 1) << "115200 baud";
  EXPECT_EQ(ports_.registers[0x4f9], 0);
  EXPECT_EQ(ports_.registers[0x3fb], 3) << "8N1";
  EXPECT_EQ(ports_.registers[0x3f9], 0) << "no interrupts";
}

TEST_F(ConsoleTest, AsksOncePerFifo) {
  start();
  ports_.polls = 0;
  console_.write("0123456789abcdef0123456789abcdef0123456789abc\n");
  EXPECT_EQ(ports_.com1, "0123456789abcdef0123456789abcdef0123456789abc\r\n");
  EXPECT_EQ(ports_.polls, 3u);
  console_.write("\n");
  EXPECT_EQ(ports_.polls, 4u) << "one character was left of the third";
}

TEST_F(ConsoleTest, AsksForEachCharacterWithoutAFifo) {
  ports_.has_fifo = false;
  start();
  ports_.polls = 0;
  console_.write("abc\n");
  EXPECT_EQ(ports_.com1, "abc\r\n");
  EXPECT_EQ(ports_.polls, 5u);
}

TEST_F(ConsoleTest, GivesAStuckLineUpForGood) {
  start();
  ports_.stuck = true;
  console_.write("one\n");
  EXPECT_FALSE(console_.ways().com1);
  const unsigned polls = ports_.polls;
  ports_.stuck = false;
  console_.write("two\n");
  EXPECT_EQ(ports_.polls, polls);
  EXPECT_EQ(ports_.com1, "");
}

TEST_F(ConsoleTest, KeepsALineUntilItsEnd) {
  start();
  console_.write("begun, ");
  EXPECT_EQ(ports_.com1, "");
  console_.write("ended\nand");
  EXPECT_EQ(ports_.com1, "begun, ended\r\n");
  console_.flush();
  EXPECT_EQ(ports_.com1, "begun, ended\r\nand");
  console_.flush();
  EXPECT_EQ(ports_.com1, "begun, ended\r\nand");
  ports_.com1.clear();
  console_.write(std::string(255, 'x'));
  EXPECT_EQ(ports_.com1, "");
  console_.write("yz");
  EXPECT_EQ(ports_.com1, std::string(255, 'x') + "y");
}

TEST_F(ConsoleTest, WritesToBothPortsAndLeavesBytesAlone) {
  ports_.has_debug_port = true;
  start();
  console_.write("caf\xc3\xa9\x1b[m\n");
  EXPECT_EQ(ports_.debug, "caf\xc3\xa9\x1b[m\n") << "no carriage return there";
  EXPECT_EQ(ports_.com1, "caf\xc3\xa9\x1b[m\r\n");
}

TEST_F(ConsoleTest, HardwareDomainHasXensConsoleAlone) {
  ports_.has_debug_port = true;
  start();
  add_xen(true);
  fake_.port_writes.clear();
  console_.write("to Xen\n");
  EXPECT_EQ(xen_->console, "to Xen\n");
  EXPECT_TRUE(fake_.port_writes.empty());
}

TEST_F(ConsoleTest, DebugPortIsUsedBlindlyWhereXenRefuses) {
  ports_.has_com1 = false;
  start();
  xen_.emplace(fake_);
  xen_->is_hardware_domain = false;  // but we are told that it is
  console_.add_xen(*detect_hypervisors(machine()).xen(), true);
  EXPECT_FALSE(console_.ways().xen_console_io);
  console_.write("caf\xc3\xa9\ttab\r\n");
  EXPECT_EQ(ports_.debug, "caf??\ttab?\n") << "Xen would leave those out";
}

TEST_F(ConsoleTest, DomainWithoutARingHasTheDebugPort) {
  ports_.has_com1 = false;
  start();
  add_xen(false);
  EXPECT_FALSE(console_.ways().xen_ring);
  console_.write("here\n");
  EXPECT_EQ(ports_.debug, "here\n");
}

TEST_F(ConsoleTest, RingTakesLinesAndTellsTheReader) {
  ports_.has_com1 = false;
  add_ring();
  start();
  add_xen(false);
  EXPECT_FALSE(console_.ways().debug_port);
  console_.write("one\ntwo\n");
  EXPECT_EQ(take(), "one\r\ntwo\r\n");
  EXPECT_THAT(xen_->sent_events, ElementsAre(3u, 3u));
}

TEST_F(ConsoleTest, RingGoesRoundAndItsIndicesOverflow) {
  ports_.has_com1 = false;
  add_ring();
  set(offsetof(abi::xencons_interface, out_cons), 0xffffffc0);
  set(offsetof(abi::xencons_interface, out_prod), 0xffffffc0);
  start();
  add_xen(false);
  std::string expected;
  std::string seen;
  for (int i = 0; i < 100; ++i) {
    const std::string line = std::to_string(i) + std::string(90, '.');
    console_.write(line + "\n");
    expected += line + "\r\n";
    seen += take();
  }
  EXPECT_EQ(seen, expected);
}

TEST_F(ConsoleTest, WaitsForAReader) {
  ports_.has_com1 = false;
  add_ring();
  start();
  add_xen(false);
  std::string seen;
  fake_.on_pause = [&] { seen += fake_.pauses % 10 == 0 ? take() : ""; };
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    console_.write(std::string(99, 'a') + "\n");
    expected += std::string(99, 'a') + "\r\n";
  }
  EXPECT_EQ(seen + take(), expected);
  EXPECT_GT(fake_.pauses, 0u);
}

TEST_F(ConsoleTest, GivesAFullRingUpWhenNobodyReads) {
  ports_.has_com1 = false;
  add_ring(abi::XENCONSOLE_DISCONNECTED);
  start();
  add_xen(false);
  EXPECT_TRUE(console_.ways().debug_port) << "nobody may ever come";
  for (int i = 0; i < 30; ++i) {
    console_.write(std::string(99, 'a') + "\n");
  }
  EXPECT_FALSE(console_.ways().xen_ring);
  EXPECT_EQ(take().size(), 2048u) << "what there was room for is there for who comes later";
}

TEST_F(ConsoleTest, RingOfNonsenseIsGivenUp) {
  ports_.has_com1 = false;
  add_ring();
  set(offsetof(abi::xencons_interface, out_prod), 5000);
  start();
  add_xen(false);
  console_.write("text\n");
  EXPECT_FALSE(console_.ways().xen_ring);
}

}  // namespace
}  // namespace pvh::guest
