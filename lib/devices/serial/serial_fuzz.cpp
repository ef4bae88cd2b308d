// SPDX-License-Identifier: BSD-2-Clause
// Any sequence of guest accesses and host input. What must hold after each step: the line is what
// IIR and MCR say, the FIFO holds at most 16 bytes, and every byte sent is in the sink or looped
// back.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <lib/devices/testing/fakes.hpp>
#include <span>

#include <pvh/devices/serial.hpp>

namespace {

namespace devices = pvh::devices;

constexpr std::uint64_t kIer = 1, kIir = 2, kLcr = 3, kMcr = 4, kLsr = 5;

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

std::uint8_t in(devices::Serial& serial, std::uint64_t offset) {
  std::byte byte{};
  serial.read(offset, {&byte, 1});
  return std::to_integer<std::uint8_t>(byte);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  devices::testing::FakeLine line;
  devices::testing::FakeSink sink;
  devices::testing::FakeInput input;
  devices::Serial serial(line, sink, input);
  std::size_t sent = 0;

  const auto steps = std::as_bytes(std::span(data, size));
  for (std::size_t at = 0; at + 2 <= steps.size(); at += 2) {
    const auto what = std::to_integer<unsigned>(steps[at]);
    const std::uint64_t offset = what & 7;
    const std::size_t count = 1 + (what >> 3 & 3);  // bytes, as far as there are any
    const auto operand = steps.subspan(at + 1, std::min(count, steps.size() - at - 1));
    const bool transmits =
        offset == 0 && (in(serial, kLcr) & 0x80) == 0 && (in(serial, kMcr) & 0x10) == 0;
    switch (what >> 5) {
      case 0:
      case 1:
        sent += transmits ? 1 : 0;
        require(serial.write(offset, operand.first(1)).kind == devices::Request::kNone);
        break;
      case 2:
        sent += transmits ? operand.size() : 0;
        require(serial.write_string(offset, operand, 1).kind == devices::Request::kNone);
        break;
      case 3:
        in(serial, offset);
        break;
      case 4: {
        std::array<std::byte, 4> wide{};
        serial.read(offset, wide);
        break;
      }
      default: {
        const std::size_t room = serial.room();
        require(room <= 16);
        require(serial.receive(operand) == std::min(operand.size(), room));
        break;
      }
    }
    require(!line.redundant);
    require(sink.text.size() == sent);
    require((in(serial, kLsr) & 0x60) == 0x60);

    const std::uint8_t mcr = in(serial, kMcr);
    const bool level = line.level;
    const std::uint8_t iir = in(serial, kIir);
    require((iir & 0x30) == 0);
    require(level == ((iir & 0x01) == 0 && (mcr & 0x18) == 0x08));
    if ((in(serial, kLcr) & 0x80) == 0) {
      require((in(serial, kIer) & 0xf0) == 0);
    }
  }
  return 0;
}
