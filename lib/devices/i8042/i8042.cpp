// SPDX-License-Identifier: BSD-2-Clause
// Source: IBM PS/2 Hardware Interface Technical Reference, keyboard controller, "Commands".
#include <algorithm>

#include <pvh/devices/i8042.hpp>

namespace pvh::devices {
namespace {

constexpr std::byte kStatusIdle{0x00};        // neither output nor input buffer full
constexpr std::byte kWriteOutputPort{0xd1};   // the next data byte goes to the output port
constexpr std::byte kPulseOutputLines{0xf0};  // bits 0-3: lines that are not pulled low
constexpr std::byte kResetLine{0x01};         // low is reset

}  // namespace

void I8042::DataPort::read(std::uint64_t /*offset*/, base::MutableBytes data) {
  std::ranges::fill(data, std::byte{0});
}

Action I8042::DataPort::write(std::uint64_t /*offset*/, base::Bytes data) {
  const std::scoped_lock lock(owner_.mutex_);
  const bool to_output_port = owner_.output_port_next_;
  owner_.output_port_next_ = false;
  const bool pulls_reset = (data[0] & kResetLine) == std::byte{0};
  return to_output_port && pulls_reset ? Action{Request::kReset} : Action{};
}

void I8042::CommandPort::read(std::uint64_t /*offset*/, base::MutableBytes data) {
  std::ranges::fill(data, kStatusIdle);
}

Action I8042::CommandPort::write(std::uint64_t /*offset*/, base::Bytes data) {
  const std::scoped_lock lock(owner_.mutex_);
  const std::byte command = data[0];
  owner_.output_port_next_ = command == kWriteOutputPort;
  const bool pulse = (command & kPulseOutputLines) == kPulseOutputLines;
  return pulse && (command & kResetLine) == std::byte{0} ? Action{Request::kReset} : Action{};
}

}  // namespace pvh::devices
