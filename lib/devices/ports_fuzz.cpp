// SPDX-License-Identifier: BSD-2-Clause
// The small devices as a guest sees them: accesses of any width, single and in strings, to any port
// around them on one bus, beside a model of each that is written down byte by byte. Each access
// must read what the model says and ask the machine for what the model says.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include <pvh/devices/acpi_pm.hpp>
#include <pvh/devices/bus.hpp>
#include <pvh/devices/cmos.hpp>
#include <pvh/devices/debug_console.hpp>
#include <pvh/devices/debug_exit.hpp>
#include <pvh/devices/i8042.hpp>

#include "lib/base/testing/fuzz.hpp"
#include "lib/devices/testing/fakes.hpp"

namespace {

using namespace pvh;
using namespace pvh::devices;
using fuzz::require;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

// The ports, each with its model's answer to one access that lies in it.
class Model {
 public:
  Model(std::uint64_t low, std::uint64_t high) {
    const auto put = [&](unsigned at, std::uint64_t value, std::uint64_t most, unsigned bytes) {
      for (value = std::min(value, most); bytes > 0; --bytes, value >>= 8) {
        cells_[at++] = static_cast<std::uint8_t>(value & 0xff);
      }
    };
    const auto above = [&](std::uint64_t from) { return low > from ? low - from : 0; };
    put(0x15, low / 1024, 640, 2);
    put(0x17, above(kMiB) / 1024, 0xffff, 2);
    put(0x30, above(kMiB) / 1024, 0xffff, 2);
    put(0x34, above(16 * kMiB) / 65536, 0xffff, 2);
    put(0x5b, high / 65536, 0xffffff, 3);
    cells_[0x0a] = 0x26;
    cells_[0x0b] = 0x02;
    cells_[0x0d] = 0x80;
  }

  std::time_t now = 0;
  int sink_error = 0;
  std::string printed;

  [[nodiscard]] std::uint8_t read(std::uint64_t port) const {
    switch (port) {
      case 0x60:
      case 0x64:
        return 0;
      case 0x71:
        return cell();
      case 0xe9:
        return 0xe9;
      default:
        return (port >= 0xf4 && port < 0xf8) || (port >= 0x600 && port < 0x604) ? 0 : 0xff;
    }
  }

  // One byte to one port. Ports of several bytes, and what is no string, are the caller's matter.
  Action write(std::uint64_t port, std::uint8_t value) {
    switch (port) {
      case 0x60: {
        const bool reset = output_port_next_ && (value & 1) == 0;
        output_port_next_ = false;
        return reset ? Action{Request::kReset} : Action{};
      }
      case 0x64:
        output_port_next_ = value == 0xd1;
        return value >= 0xf0 && value % 2 == 0 ? Action{Request::kReset} : Action{};
      case 0x70:
        index_ = value % 128;
        return {};
      case 0x71:
        if (index_ == 0x0a) {
          cells_[index_] = value % 128;
        } else if (index_ != 0x0c && index_ != 0x0d && !is_clock(index_)) {
          cells_[index_] = value;
        }
        return {};
      case 0x600:
        // SLP_EN is bit 5, SLP_TYP bits 2 to 4.
        return (value >> 5 & 1) != 0 && (value >> 2 & 7) == 5 ? Action{Request::kPowerOff}
                                                              : Action{};
      case 0x602:
        return value == 1 ? Action{Request::kReset} : Action{};
      default:
        return {};
    }
  }
  Action print(base::Bytes bytes) {
    if (lost_) {
      return {};
    }
    for (const std::byte byte : bytes) {
      printed.push_back(static_cast<char>(byte));
    }
    lost_ = sink_error != 0;
    return lost_ ? Action{Request::kOutputLost, static_cast<std::uint32_t>(sink_error)} : Action{};
  }

 private:
  static bool is_clock(unsigned index) {
    return index == 0 || index == 2 || index == 4 || (index >= 6 && index <= 9) || index == 0x32;
  }
  [[nodiscard]] std::uint8_t cell() const {
    if (!is_clock(index_)) {
      return cells_[index_];
    }
    std::tm date{};
    require(::gmtime_r(&now, &date) != nullptr);
    const int year = date.tm_year + 1900;
    const bool binary = (cells_[0x0b] & 4) != 0;
    const bool all_day = (cells_[0x0b] & 2) != 0;
    const auto as = [&](int part) {
      return static_cast<std::uint8_t>(binary ? part : part / 10 * 16 + part % 10);
    };
    switch (index_) {
      case 0:
        return as(date.tm_sec);
      case 2:
        return as(date.tm_min);
      case 4:
        return all_day ? as(date.tm_hour)
                       : static_cast<std::uint8_t>(as((date.tm_hour + 11) % 12 + 1) |
                                                   (date.tm_hour >= 12 ? 0x80u : 0u));
      case 6:
        return as(date.tm_wday + 1);
      case 7:
        return as(date.tm_mday);
      case 8:
        return as(date.tm_mon + 1);
      case 9:
        return as(year % 100);
      default:
        return as(year / 100);
    }
  }

  bool output_port_next_ = false;
  bool lost_ = false;
  unsigned index_ = 0;
  std::array<std::uint8_t, 128> cells_{};
};

// Where devices lie; an access is one device's if all of it does.
struct Place {
  std::uint64_t first;
  std::uint64_t count;
};
constexpr std::array kPlaces{Place{0x60, 1}, Place{0x64, 1}, Place{0x70, 2},
                             Place{0xe9, 1}, Place{0xf4, 4}, Place{0x600, 4}};

const Place* place_of(std::uint64_t port) {
  const auto* const found = std::ranges::find_if(kPlaces, [&](const Place& place) {
    return port >= place.first && port - place.first < place.count;
  });
  return found == kPlaces.end() ? nullptr : found;
}
bool is_whole(std::uint64_t port, std::size_t width) {
  const Place* const place = place_of(port);
  return place != nullptr && port - place->first + width <= place->count;
}

// One element that a device gets whole: only cmos, the sleep registers and the debug exit are wide
// enough for more than a byte.
Action write_whole(Model& model, std::uint64_t port, base::Bytes element) {
  if (port >= 0xf4 && port < 0xf8) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < element.size(); ++i) {
      value |= std::to_integer<std::uint32_t>(element[i]) << (8 * i);
    }
    return {Request::kDebugExit, value};
  }
  for (std::size_t i = 0; i < element.size(); ++i) {
    const Action action = model.write(port + i, std::to_integer<std::uint8_t>(element[i]));
    if (action.kind != Request::kNone) {
      return action;
    }
  }
  return {};
}

Action write_element(Model& model, std::uint64_t port, base::Bytes element) {
  if (is_whole(port, element.size())) {
    return port == 0xe9 ? model.print(element) : write_whole(model, port, element);
  }
  for (std::size_t i = 0; i < element.size() && port + i <= UINT16_MAX; ++i) {
    if (!is_whole(port + i, 1)) {
      continue;
    }
    const Action action = write_element(model, port + i, element.subspan(i, 1));
    if (action.kind != Request::kNone) {
      return action;
    }
  }
  return {};
}

std::uint16_t draw_port(FuzzedDataProvider& draw) {
  const Place& place = draw.PickValueInArray(kPlaces);
  return draw.ConsumeIntegralInRange(0, 15) == 15
             ? draw.ConsumeIntegral<std::uint16_t>()
             : static_cast<std::uint16_t>(
                   place.first - 4 +
                   draw.ConsumeIntegralInRange<std::uint64_t>(0, place.count + 6));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider draw(data, size);
  const auto low = draw.ConsumeIntegralInRange<std::uint64_t>(0, std::uint64_t{4} << 30);
  const auto high = draw.ConsumeIntegral<std::uint64_t>();
  Model model(low, high);
  testing::FakeSink sink;
  I8042 keyboard;
  Cmos cmos({base::ByteSize(low), base::ByteSize(high), [&] { return model.now; }});
  DebugConsole console(sink);
  DebugExit exit;
  AcpiPm power;
  PortBus bus;
  require(bus.add(kI8042DataPort, 1, keyboard.data_port()).has_value());
  require(bus.add(kI8042CommandPort, 1, keyboard.command_port()).has_value());
  require(bus.add(kCmosPort, kCmosPorts, cmos).has_value());
  require(bus.add(kDebugConsolePort, kDebugConsolePorts, console).has_value());
  require(bus.add(kDebugExitPort, kDebugExitPorts, exit).has_value());
  require(bus.add(kAcpiPmPort, kAcpiPmPorts, power).has_value());

  while (draw.remaining_bytes() != 0) {
    const std::uint16_t port = draw_port(draw);
    const std::size_t width = std::size_t{1} << draw.ConsumeIntegralInRange(0, 2);
    const std::size_t count =
        draw.ConsumeBool() ? 1 : draw.ConsumeIntegralInRange<std::size_t>(1, 6);
    std::vector<std::byte> bytes(width * count);
    switch (draw.ConsumeIntegralInRange(0, 7)) {
      case 0:
        // Year 0 to 9999, which is what four digits hold.
        model.now = draw.ConsumeIntegralInRange<std::time_t>(-62'167'219'200, 253'402'300'799);
        break;
      case 1:
        sink.error = model.sink_error = draw.ConsumeIntegralInRange(0, 3) == 3 ? 32 : 0;
        break;
      case 2:
      case 3:
        bus.read_string(Port{port}, bytes, width);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          const std::uint64_t at = port + i % width;
          const std::uint8_t said = at > UINT16_MAX ? 0xff : model.read(at);
          require(std::to_integer<std::uint8_t>(bytes[i]) == said);
        }
        break;
      default: {
        for (std::byte& byte : bytes) {
          byte = std::byte{draw.ConsumeIntegral<std::uint8_t>()};
        }
        Action expected;
        if (port == 0xe9 && width == 1) {
          expected = model.print(bytes);  // a string is one write to the sink
        } else {
          for (std::size_t at = 0; at < bytes.size() && expected == Action{}; at += width) {
            expected = write_element(model, port, base::Bytes(bytes).subspan(at, width));
          }
        }
        require(bus.write_string(Port{port}, bytes, width) == expected);
        require(sink.text == model.printed);
      }
    }
  }
  return 0;
}
