// SPDX-License-Identifier: BSD-2-Clause
// The small devices, through the bus, as a guest reaches them.
#include <array>
#include <cerrno>
#include <cstdint>
#include <lib/devices/testing/fakes.hpp>
#include <span>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/devices/acpi_pm.hpp>
#include <pvh/devices/bus.hpp>
#include <pvh/devices/cmos.hpp>
#include <pvh/devices/debug_console.hpp>
#include <pvh/devices/debug_exit.hpp>
#include <pvh/devices/i8042.hpp>

namespace pvh::devices {
namespace {

class Machine : public ::testing::Test {
 protected:
  Machine() {
    EXPECT_TRUE(bus.add(kDebugExitPort, kDebugExitPorts, debug_exit));
    EXPECT_TRUE(bus.add(kDebugConsolePort, kDebugConsolePorts, debug_console));
    EXPECT_TRUE(bus.add(kI8042DataPort, 1, i8042.data_port()));
    EXPECT_TRUE(bus.add(kI8042CommandPort, 1, i8042.command_port()));
    EXPECT_TRUE(bus.add(kAcpiPmPort, kAcpiPmPorts, acpi_pm));
    EXPECT_TRUE(bus.add(kCmosPort, kCmosPorts, cmos));
  }

  Action outb(std::uint16_t port, std::uint8_t value) {
    return bus.write(Port{port}, std::as_bytes(std::span(&value, 1)));
  }
  Action outw(std::uint16_t port, std::uint16_t value) {
    return bus.write(Port{port}, std::as_bytes(std::span(&value, 1)));
  }
  Action outl(std::uint16_t port, std::uint32_t value) {
    return bus.write(Port{port}, std::as_bytes(std::span(&value, 1)));
  }
  std::uint8_t inb(std::uint16_t port) {
    std::uint8_t value = 0x55;
    bus.read(Port{port}, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::uint8_t cmos_cell(std::uint8_t index) {
    EXPECT_EQ(outb(0x70, index), Action{});
    return inb(0x71);
  }
  void set_cmos_cell(std::uint8_t index, std::uint8_t value) {
    EXPECT_EQ(outb(0x70, index), Action{});
    EXPECT_EQ(outb(0x71, value), Action{});
  }

  PortBus bus;
  testing::FakeSink sink;
  DebugExit debug_exit;
  DebugConsole debug_console{sink};
  I8042 i8042;
  AcpiPm acpi_pm;
  std::int64_t now = 0;
  Cmos cmos{{.below_4g = base::ByteSize(std::uint64_t{3} << 30),
             .above_4g = base::ByteSize(std::uint64_t{5} << 30),
             .now = [this] { return now; }}};
};

TEST_F(Machine, EndsWithTheNumberWrittenToTheDebugExit) {
  EXPECT_EQ(outb(0xf4, 0x10), (Action{Request::kDebugExit, 0x10}));
  EXPECT_EQ(outw(0xf4, 0x1234), (Action{Request::kDebugExit, 0x1234}));
  EXPECT_EQ(outl(0xf4, 0xfedcba98), (Action{Request::kDebugExit, 0xfedcba98}));
  EXPECT_EQ(outb(0xf4, 0), (Action{Request::kDebugExit, 0}));
  EXPECT_EQ(inb(0xf4), 0);
}

TEST_F(Machine, PrintsWhatIsWrittenToTheDebugConsole) {
  EXPECT_EQ(inb(0xe9), 0xe9);
  EXPECT_EQ(outb(0xe9, 'h'), Action{});
  const std::array<std::byte, 2> rest{std::byte{'i'}, std::byte{'!'}};
  EXPECT_EQ(bus.write_string(kDebugConsolePort, rest, 1), Action{});
  EXPECT_EQ(sink.text, "hi!");
  EXPECT_EQ(sink.calls, 2);
  sink.error = EPIPE;
  EXPECT_EQ(outb(0xe9, 'x'), (Action{Request::kOutputLost, EPIPE}));
  EXPECT_EQ(outb(0xe9, 'y'), Action{});
  EXPECT_EQ(sink.calls, 3);
}

TEST_F(Machine, ResetsByEveryWayThroughTheKeyboardController) {
  EXPECT_EQ(outb(0x64, 0xfe), (Action{Request::kReset}));
  EXPECT_EQ(outb(0x64, 0xf0), (Action{Request::kReset}));
  EXPECT_EQ(outb(0x64, 0xd1), Action{});
  EXPECT_EQ(outb(0x60, 0xfe), (Action{Request::kReset}));
}

TEST_F(Machine, IsNotResetByOtherKeyboardCommands) {
  EXPECT_EQ(outb(0x64, 0xff), Action{}) << "pulses nothing";
  EXPECT_EQ(outb(0x64, 0xd1), Action{});
  EXPECT_EQ(outb(0x60, 0xdf), Action{}) << "A20 on, reset high";
  EXPECT_EQ(outb(0x60, 0x00), Action{}) << "a byte for the keyboard";
  EXPECT_EQ(outb(0x64, 0xd1), Action{});
  EXPECT_EQ(outb(0x64, 0xaa), Action{});
  EXPECT_EQ(outb(0x60, 0x00), Action{}) << "another command came between";
}

TEST_F(Machine, NeverLetsTheKeyboardControllersDriverWait) {
  EXPECT_EQ(inb(0x64) & 0x03, 0);
  EXPECT_EQ(outb(0x64, 0x20), Action{});
  EXPECT_EQ(inb(0x64) & 0x03, 0);
  EXPECT_EQ(inb(0x60), 0);
}

TEST_F(Machine, PowersOffBySleepTypeS5) {
  EXPECT_EQ(outb(0x600, 0x20 | 5 << 2), (Action{Request::kPowerOff}));
  EXPECT_EQ(outb(0x600, 5 << 2), Action{}) << "SLP_EN is not set";
  EXPECT_EQ(outb(0x600, 0x20 | 3 << 2), Action{}) << "S3";
  EXPECT_EQ(outb(0x601, 0x20 | 5 << 2), Action{}) << "the status register";
  EXPECT_EQ(inb(0x600), 0);
  EXPECT_EQ(inb(0x601), 0) << "WAK_STS";
}

TEST_F(Machine, ResetsByTheAcpiRegister) {
  EXPECT_EQ(outb(0x602, 1), (Action{Request::kReset}));
  EXPECT_EQ(outb(0x602, 0), Action{});
  EXPECT_EQ(outb(0x603, 1), Action{});
}

TEST_F(Machine, KnowsTheTimeInBcd) {
  now = 1709210096;  // Thursday, 2024-02-29 12:34:56 UTC
  EXPECT_EQ(cmos_cell(0x0a) & 0x80, 0) << "no update in progress";
  EXPECT_EQ(cmos_cell(0x0b), 0x02);
  EXPECT_EQ(cmos_cell(0x0d), 0x80);
  EXPECT_EQ(cmos_cell(0x00), 0x56);
  EXPECT_EQ(cmos_cell(0x02), 0x34);
  EXPECT_EQ(cmos_cell(0x04), 0x12);
  EXPECT_EQ(cmos_cell(0x06), 0x05);
  EXPECT_EQ(cmos_cell(0x07), 0x29);
  EXPECT_EQ(cmos_cell(0x08), 0x02);
  EXPECT_EQ(cmos_cell(0x09), 0x24);
  EXPECT_EQ(cmos_cell(0x32), 0x20);
  EXPECT_EQ(cmos_cell(0x80 | 0x00), 0x56) << "bit 7 masks NMI only";
  EXPECT_EQ(inb(0x70), 0xff);
}

TEST_F(Machine, KnowsTheTimeInBinaryAndInTwelveHours) {
  now = 1709210096;
  set_cmos_cell(0x0b, 0x06);
  EXPECT_EQ(cmos_cell(0x00), 56);
  EXPECT_EQ(cmos_cell(0x09), 24);
  EXPECT_EQ(cmos_cell(0x32), 20);
  set_cmos_cell(0x0b, 0x00);
  EXPECT_EQ(cmos_cell(0x04), 0x80 | 0x12) << "noon";
  now -= std::int64_t{12} * 3600;
  EXPECT_EQ(cmos_cell(0x04), 0x12) << "midnight";
  now += std::int64_t{13} * 3600;
  EXPECT_EQ(cmos_cell(0x04), 0x80 | 0x01);
}

TEST_F(Machine, KnowsTheTimeBeforeAndFarAfterNow) {
  now = -1;
  EXPECT_EQ(cmos_cell(0x00), 0x59);
  EXPECT_EQ(cmos_cell(0x32), 0x19);
  EXPECT_EQ(cmos_cell(0x09), 0x69);
  now = 4102444800;  // 2100-01-01
  EXPECT_EQ(cmos_cell(0x32), 0x21);
  EXPECT_EQ(cmos_cell(0x09), 0x00);
}

TEST_F(Machine, KeepsWhatIsWrittenToCmosButNotTheTime) {
  now = 30;
  set_cmos_cell(0x00, 0x11);
  EXPECT_EQ(cmos_cell(0x00), 0x30);
  set_cmos_cell(0x0a, 0xff);
  EXPECT_EQ(cmos_cell(0x0a), 0x7f);
  set_cmos_cell(0x0c, 0xff);
  EXPECT_EQ(cmos_cell(0x0c), 0x00) << "no interrupt has happened";
  set_cmos_cell(0x7f, 0xa5);
  EXPECT_EQ(cmos_cell(0x7f), 0xa5);
  set_cmos_cell(0x0f, 0x0a);
  EXPECT_EQ(cmos_cell(0x0f), 0x0a);
}

TEST_F(Machine, KnowsHowMuchMemoryThereIs) {
  const auto cells = [this](std::uint8_t first, unsigned count) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < count; ++i) {
      value |= std::uint32_t{cmos_cell(static_cast<std::uint8_t>(first + i))} << (8 * i);
    }
    return value;
  };
  EXPECT_EQ(cells(0x15, 2), 640u);
  EXPECT_EQ(cells(0x17, 2), 0xffffu);
  EXPECT_EQ(cells(0x30, 2), 0xffffu);
  EXPECT_EQ(cells(0x34, 2), (3072u - 16) * 16);
  EXPECT_EQ(cells(0x5b, 3), 5u * 1024 * 16);
}

TEST(CmosMemory, DoesNotWrapForTinyMachines) {
  Cmos cmos({.below_4g = base::ByteSize(512 << 10), .above_4g = {}, .now = [] { return 0; }});
  const auto cell = [&cmos](std::uint8_t index) {
    std::byte value{index};
    EXPECT_EQ(cmos.write(0, {&value, 1}), Action{});
    cmos.read(1, {&value, 1});
    return std::to_integer<unsigned>(value);
  };
  EXPECT_EQ(cell(0x15) | cell(0x16) << 8, 512u);
  EXPECT_EQ(cell(0x17) | cell(0x18) << 8, 0u);
  EXPECT_EQ(cell(0x34) | cell(0x35) << 8, 0u);
}

}  // namespace
}  // namespace pvh::devices
