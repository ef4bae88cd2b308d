// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <lib/devices/testing/fakes.hpp>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/devices/serial.hpp>

namespace pvh::devices {
namespace {

// Registers and bits by the names that drivers use.
constexpr std::uint64_t kRbr = 0, kThr = 0, kDll = 0, kIer = 1, kDlm = 1, kIir = 2, kFcr = 2,
                        kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7;

std::vector<std::byte> to_vector(std::string_view text) {
  std::vector<std::byte> bytes;
  for (const char c : text) {
    bytes.push_back(static_cast<std::byte>(c));
  }
  return bytes;
}

class SerialTest : public ::testing::Test {
 protected:
  std::uint8_t in(std::uint64_t offset) {
    std::byte byte{};
    serial.read(offset, {&byte, 1});
    return std::to_integer<std::uint8_t>(byte);
  }
  Action out(std::uint64_t offset, unsigned value) {
    const std::byte byte{static_cast<std::uint8_t>(value)};
    return serial.write(offset, {&byte, 1});
  }
  std::size_t receive(std::string_view text) { return serial.receive(to_vector(text)); }
  std::string drain() {
    std::string text;
    while ((in(kLsr) & 0x01) != 0) {
      text.push_back(static_cast<char>(in(kRbr)));
    }
    return text;
  }
  // As a driver leaves it: 8N1, FIFO on, trigger at 14, DTR, RTS, OUT2, receive interrupt.
  void open() {
    out(kLcr, 0x03);
    out(kFcr, 0xc7);
    out(kMcr, 0x0b);
    out(kIer, 0x01);
  }

  testing::FakeLine line;
  testing::FakeSink sink;
  testing::FakeInput input;
  Serial serial{line, sink, input};
};

TEST_F(SerialTest, SendsEachByteBeforeTheInstructionEnds) {
  out(kThr, 'h');
  EXPECT_EQ(sink.text, "h");
  out(kThr, 'i');
  EXPECT_EQ(sink.text, "hi");
  EXPECT_EQ(in(kLsr), 0x60);
}

TEST_F(SerialTest, SendsAStringInOneWrite) {
  EXPECT_EQ(serial.write_string(kThr, to_vector("Linux version"), 1), Action{});
  EXPECT_EQ(sink.text, "Linux version");
  EXPECT_EQ(sink.calls, 1);
}

TEST_F(SerialTest, TakesAStringToAnotherRegisterElementByElement) {
  EXPECT_EQ(serial.write_string(kScr, to_vector("abc"), 1), Action{});
  EXPECT_EQ(in(kScr), 'c');
  out(kLcr, 0x80);
  EXPECT_EQ(serial.write_string(kDll, to_vector("xy"), 1), Action{});
  EXPECT_EQ(in(kDll), 'y');
  EXPECT_EQ(sink.text, "");
}

TEST_F(SerialTest, SpreadsAWideAccessOverTheRegisters) {
  const auto wide = to_vector(std::string_view("A\x05", 2));
  EXPECT_EQ(serial.write(kThr, wide), Action{});
  EXPECT_EQ(sink.text, "A");
  EXPECT_EQ(in(kIer), 0x05);
  std::vector<std::byte> read(4);
  serial.read(kLsr, read);
  EXPECT_EQ(read, to_vector(std::string_view("\x60\xb0\x00\xff", 4)));  // LSR MSR SCR, then nothing
}

TEST_F(SerialTest, KeepsTheDivisorBehindDlab) {
  EXPECT_EQ(in(kIer), 0);
  out(kLcr, 0x83);
  out(kDll, 1);
  out(kDlm, 2);
  EXPECT_EQ(in(kDll), 1);
  EXPECT_EQ(in(kDlm), 2);
  out(kLcr, 0x03);
  EXPECT_EQ(in(kIer), 0);
  EXPECT_EQ(in(kLcr), 0x03);
  EXPECT_EQ(sink.text, "");
}

// The steps of Linux's drivers/tty/serial/8250/8250_port.c: autoconfig(), autoconfig_16550a().
TEST_F(SerialTest, IsA16550AToLinux) {
  const auto saved_ier = in(kIer);
  out(kIer, 0);
  EXPECT_EQ(in(kIer) & 0x0f, 0x00);
  out(kIer, 0x0f);
  EXPECT_EQ(in(kIer) & 0x0f, 0x0f);
  out(kIer, saved_ier);
  const auto saved_mcr = in(kMcr);
  out(kMcr, 0x10 | 0x0a);
  EXPECT_EQ(in(kMsr) & 0xf0, 0x90) << "the loopback test";
  out(kMcr, saved_mcr);
  out(kLcr, 0xbf);  // an EFR would be here
  out(kFcr, 0);
  out(kLcr, 0);
  out(kFcr, 0x01);
  EXPECT_EQ(in(kIir) >> 6, 3) << "16550A";
  out(kLcr, 0x80);
  EXPECT_NE(in(kFcr), 0) << "no EFR behind DLAB";
  out(kLcr, 0xbf);
  EXPECT_NE(in(kFcr), 0) << "no EFR behind 0xbf";
  out(kLcr, 0);
  out(kFcr, 0x01);
  out(kFcr, 0x21);
  EXPECT_EQ(in(kIir) >> 5, 6) << "no TI16750";
  out(kFcr, 0x01);
  out(kLcr, 0x80);
  out(kFcr, 0x21);
  EXPECT_EQ(in(kIir) >> 5, 6) << "no TI16750";
  out(kFcr, 0x01);
  out(kLcr, 0);
  const auto ier = in(kIer);
  out(kIer, ier | 0x40u);
  EXPECT_EQ(in(kIer) & 0x40, 0) << "no XScale";
  out(kIer, ier);
}

// serial8250_do_startup(): the interrupt must be raised anew each time it is enabled.
TEST_F(SerialTest, PassesLinuxsTransmitInterruptTest) {
  out(kMcr, 0x08);
  out(kIer, 0x02);
  EXPECT_EQ(in(kIir) & 0x0f, 0x02);
  EXPECT_EQ(in(kIir) & 0x0f, 0x01) << "reading it clears it";
  out(kIer, 0x00);
  out(kIer, 0x02);
  EXPECT_EQ(in(kIir) & 0x0f, 0x02);
}

// FreeBSD's ns8250_bus_probe() counts the receive FIFO in loopback until it overruns.
TEST_F(SerialTest, HasSixteenBytesOfFifoToFreeBsd) {
  EXPECT_EQ(in(kIir) & 0x30, 0);
  EXPECT_EQ(in(kMcr) & 0xe0, 0);
  out(kMcr, 0x10 | 0x08 | 0x02);
  out(kFcr, 0x01);
  ASSERT_EQ(in(kIir) & 0xc0, 0xc0);
  out(kFcr, 0x07);
  int count = 0;
  do {
    out(kThr, 0);
    ++count;
  } while ((in(kLsr) & 0x02) == 0 && count < 130);
  EXPECT_EQ(count - 1, 16);
  EXPECT_EQ(sink.text, "");
}

// NetBSD's comprobe1() and com_attach().
TEST_F(SerialTest, IsA16550AToNetBsd) {
  out(kLcr, 0x03);
  out(kFcr, 0);
  EXPECT_EQ(in(kLcr), 0x03);
  EXPECT_EQ(in(kIir) & 0x38, 0);
  out(kFcr, 0xc1);
  EXPECT_EQ(in(kIir) & 0xc0, 0xc0);
}

TEST_F(SerialTest, LoopsBackWhatItSends) {
  out(kFcr, 0x01);
  out(kMcr, 0x10 | 0x02);
  out(kThr, 'x');
  EXPECT_EQ(drain(), "x");
  EXPECT_EQ(sink.text, "");
  out(kMcr, 0x02);
  out(kThr, 'y');
  EXPECT_EQ(sink.text, "y");
  EXPECT_EQ(drain(), "");
}

TEST_F(SerialTest, KeepsTheNewestByteWithoutFifoAndTheOldestWith) {
  out(kMcr, 0x10);
  out(kThr, 'a');
  out(kThr, 'b');
  EXPECT_EQ(in(kLsr) & 0x03, 0x03);
  EXPECT_EQ(in(kLsr) & 0x02, 0) << "reading LSR clears the overrun";
  EXPECT_EQ(in(kRbr), 'b');
  out(kFcr, 0x01);
  for (char c = 'a'; c <= 'q'; ++c) {  // 17
    out(kThr, static_cast<unsigned>(c));
  }
  EXPECT_EQ(in(kLsr) & 0x03, 0x03);
  EXPECT_EQ(drain(), "abcdefghijklmnop");
}

TEST_F(SerialTest, ReportsModemLinesAndTheirChangesInLoopback) {
  EXPECT_EQ(in(kMsr), 0xb0) << "a terminal that is there";
  out(kMcr, 0x10);
  EXPECT_EQ(in(kMsr), 0x0b) << "CTS, DSR, DCD dropped";
  EXPECT_EQ(in(kMsr), 0x00);
  out(kMcr, 0x10 | 0x04);
  EXPECT_EQ(in(kMsr), 0x40) << "RI rising is no event";
  out(kMcr, 0x10);
  EXPECT_EQ(in(kMsr), 0x04) << "RI falling is";
}

TEST_F(SerialTest, OrdersItsInterrupts) {
  open();
  out(kIer, 0x0f);
  out(kMcr, 0x1a);                // loopback without DTR: DSR drops
  for (int i = 0; i < 17; ++i) {  // overrun, receive, transmit
    out(kThr, 'x');
  }
  EXPECT_EQ(in(kIir), 0xc6);
  EXPECT_EQ(in(kLsr), 0x63);
  EXPECT_EQ(in(kIir), 0xc4);
  in(kRbr);
  in(kRbr);
  EXPECT_EQ(in(kIir), 0xc4) << "14 left, the trigger level";
  in(kRbr);
  EXPECT_EQ(in(kIir), 0xcc) << "13 left: timeout";
  drain();
  EXPECT_EQ(in(kIir), 0xc2);
  EXPECT_EQ(in(kIir), 0xc0);
  in(kMsr);
  EXPECT_EQ(in(kIir), 0xc1);
}

TEST_F(SerialTest, RaisesTheLineOnlyThroughOut2) {
  out(kMcr, 0x02);
  out(kIer, 0x03);
  EXPECT_FALSE(line.level);
  out(kMcr, 0x0a);
  EXPECT_TRUE(line.level);
  out(kMcr, 0x1a);
  EXPECT_FALSE(line.level) << "not in loopback";
  out(kMcr, 0x0a);
  EXPECT_TRUE(line.level);
  out(kIer, 0x00);
  EXPECT_FALSE(line.level);
  EXPECT_FALSE(line.redundant);
}

TEST_F(SerialTest, GivesAnEdgeForEachByteSent) {
  open();
  out(kIer, 0x02);
  EXPECT_EQ(line.edges, 1);
  out(kThr, 'a');
  EXPECT_EQ(line.edges, 2) << "even when nobody has read IIR";
  in(kIir);
  EXPECT_FALSE(line.level);
  out(kThr, 'b');
  EXPECT_EQ(line.edges, 3);
  EXPECT_TRUE(line.level);
  EXPECT_FALSE(line.redundant);
}

TEST_F(SerialTest, HoldsTheLineUntilEverythingIsRead) {
  open();
  EXPECT_EQ(receive("abc"), 3u);
  EXPECT_TRUE(line.level);
  EXPECT_EQ(in(kIir), 0xcc);
  EXPECT_EQ(in(kRbr), 'a');
  EXPECT_TRUE(line.level);
  EXPECT_EQ(drain(), "bc");
  EXPECT_FALSE(line.level);
  EXPECT_EQ(in(kIir), 0xc1);
}

TEST_F(SerialTest, TakesNothingBeforeTheGuestIsReady) {
  EXPECT_EQ(serial.room(), 0u);
  EXPECT_EQ(receive("early"), 0u);
  EXPECT_EQ(input.calls, 0);
  out(kFcr, 0x07);
  EXPECT_EQ(input.calls, 0);
  out(kMcr, 0x02);  // RTS
  EXPECT_EQ(input.calls, 1);
  EXPECT_EQ(serial.room(), 16u);
}

// Linux tells an XScale from a 16550A like this, twice a boot, and clears the FIFO later.
TEST_F(SerialTest, TakesNothingWhileADriverLooksWhichInterruptsThereAre) {
  out(kMcr, 0x01);  // DTR: the console's
  EXPECT_EQ(receive("early"), 0u);
  out(kIer, 0x0f);
  EXPECT_EQ(in(kIer), 0x0f);
  EXPECT_EQ(input.calls, 0);
  EXPECT_EQ(receive("early"), 0u);
  out(kIer, 0x00);
  out(kMcr, 0x0b);
  EXPECT_EQ(input.calls, 1);
  EXPECT_EQ(receive("early"), 1u);
}

TEST_F(SerialTest, TakesInputForADriverThatRaisesNoRts) {
  out(kIer, 0x01);
  out(kMcr, 0x08);  // OUT2
  EXPECT_EQ(serial.room(), 1u);
  EXPECT_EQ(receive("ab"), 1u);
  EXPECT_EQ(in(kIir), 0x04);
  EXPECT_EQ(in(kRbr), 'a');
  EXPECT_EQ(input.calls, 1);
}

TEST_F(SerialTest, WakesTheInputOnceTheFifoIsEmpty) {
  open();
  EXPECT_EQ(receive("0123456789abcdef!"), 16u);
  EXPECT_EQ(serial.room(), 0u);
  for (int i = 0; i < 15; ++i) {
    in(kRbr);
  }
  EXPECT_EQ(input.calls, 0);
  in(kRbr);
  EXPECT_EQ(input.calls, 1);
  in(kRbr);
  EXPECT_EQ(input.calls, 1);
  EXPECT_EQ(receive("x"), 1u);
  in(kRbr);
  EXPECT_EQ(input.calls, 1) << "nobody waits";
}

TEST_F(SerialTest, WakesTheInputWhenTheGuestDropsTheFifo) {
  open();
  EXPECT_EQ(receive("0123456789abcdef!"), 16u);
  out(kFcr, 0x07);
  EXPECT_EQ(input.calls, 1);
  EXPECT_EQ(drain(), "");
}

// Linux allows the interrupt and then switches the FIFO on, twice.
TEST_F(SerialTest, KeepsTheByteThatCameBeforeTheFifo) {
  out(kMcr, 0x09);
  out(kIer, 0x05);
  EXPECT_EQ(receive("ab"), 1u);
  out(kFcr, 0x01);
  out(kFcr, 0x81);
  EXPECT_EQ(receive("b"), 1u);
  EXPECT_EQ(drain(), "ab");
}

TEST_F(SerialTest, ClearsTheFifoWhenItIsSwitchedOff) {
  open();
  EXPECT_EQ(receive("ab"), 2u);
  out(kFcr, 0x00);
  EXPECT_EQ(drain(), "");
  EXPECT_EQ(in(kIir) & 0xc0, 0);
  out(kFcr, 0xc0);
  EXPECT_EQ(in(kIir) & 0xc0, 0) << "without the enable bit nothing else counts";
}

TEST_F(SerialTest, ReportsALostSinkOnceAndGoesOn) {
  sink.error = EPIPE;
  EXPECT_EQ(out(kThr, 'a'), (Action{Request::kOutputLost, EPIPE}));
  EXPECT_EQ(out(kThr, 'b'), Action{});
  EXPECT_EQ(serial.write_string(kThr, to_vector("cd"), 1), Action{});
  EXPECT_EQ(sink.calls, 1);
  EXPECT_EQ(in(kLsr), 0x60);
}

// Two vCPUs print while the host types: every byte arrives once, in its writer's order.
TEST_F(SerialTest, KeepsEveryByteUnderConcurrentUse) {
  constexpr int kBytes = 1000;
  open();
  std::atomic<bool> done = false;
  std::string read;
  std::thread printer([&] {
    for (int i = 0; i < kBytes; ++i) {
      out(kThr, 'a');
    }
  });
  std::thread string_printer([&] {
    const auto text = to_vector("bbbb");
    for (int i = 0; i < kBytes / 4; ++i) {
      EXPECT_EQ(serial.write_string(kThr, text, 1), Action{});
    }
  });
  std::thread reader([&] {
    while (!done || (in(kLsr) & 0x01) != 0) {
      read += drain();
    }
  });
  std::string typed;
  while (typed.size() < kBytes) {
    const std::string next(1 + typed.size() % 20, static_cast<char>('0' + typed.size() % 10));
    typed += next.substr(0, receive(next));
    std::this_thread::yield();
  }
  printer.join();
  string_printer.join();
  done = true;
  reader.join();
  EXPECT_EQ(read, typed);
  EXPECT_EQ(std::ranges::count(sink.text, 'a'), kBytes);
  EXPECT_EQ(std::ranges::count(sink.text, 'b'), kBytes);
}

// A sink whose reader has stopped reading.
class StuckSink final : public Sink {
 public:
  int write(base::Bytes /*data*/) override {
    entered.release();
    released.acquire();
    return 0;
  }
  std::binary_semaphore entered{0};
  std::binary_semaphore released{0};
};

TEST(Serial, InputDoesNotWaitForStuckOutput) {
  testing::FakeLine line;
  StuckSink sink;
  testing::FakeInput input;
  Serial serial(line, sink, input);
  static_cast<void>(serial.write(4, std::array{std::byte{0x02}}));  // MCR.RTS: ready to receive
  const std::array typed{std::byte{'x'}};
  std::thread guest([&] { static_cast<void>(serial.write(0, std::array{std::byte{'o'}})); });
  sink.entered.acquire();
  EXPECT_EQ(serial.receive(typed), 0u) << "and it has come back at once";
  EXPECT_EQ(input.calls, 0);
  sink.released.release();
  guest.join();
  EXPECT_EQ(input.calls, 1) << "now it is worth trying again";
  EXPECT_EQ(serial.receive(typed), 1u);
}

}  // namespace
}  // namespace pvh::devices
