// SPDX-License-Identifier: BSD-2-Clause
#include "packet.hpp"

#include <utility>

#include "hex.hpp"

namespace pvh::vmm::gdb {
namespace {

constexpr char kEscape = '}';
constexpr char kEscapeMask = 0x20;

// A '}' at the very end escapes nothing and is dropped.
std::string unescaped(std::string_view raw) {
  std::string text;
  text.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != kEscape) {
      text.push_back(raw[i]);
    } else if (++i < raw.size()) {
      text.push_back(static_cast<char>(raw[i] ^ kEscapeMask));
    }
  }
  return text;
}

}  // namespace

void PacketReader::start() {
  state_ = State::kPayload;
  sum_ = 0;
  too_long_ = false;
  raw_.clear();
}

void PacketReader::payload(char c) {
  if (c == '#') {
    state_ = State::kFirstDigit;
    return;
  }
  if (c == '$') {  // always escaped within a payload: the end of the last frame was lost
    start();
    return;
  }
  sum_ = static_cast<std::uint8_t>(sum_ + static_cast<std::uint8_t>(c));
  if (raw_.size() == kPacketSize) {
    too_long_ = true;
    return;
  }
  raw_.push_back(c);
}

Event PacketReader::finish(char second_digit) {
  const auto high = hex_digit(first_digit_);
  const auto low = hex_digit(second_digit);
  if (!high || !low || (*high << 4 | *low) != sum_) {
    return BadChecksum{};
  }
  if (too_long_) {
    return TooLong{};
  }
  return Packet{unescaped(std::exchange(raw_, {}))};
}

std::string frame(std::string_view payload) {
  std::string text = "$";
  text.reserve(payload.size() + 4);
  std::uint8_t sum = 0;
  const auto put = [&](char c) {
    text.push_back(c);
    sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(c));
  };
  for (const char c : payload) {
    if (c == '#' || c == '$' || c == '*' || c == kEscape) {
      put(kEscape);
      put(static_cast<char>(c ^ kEscapeMask));
    } else {
      put(c);
    }
  }
  text.push_back('#');
  append_hex(text, sum);
  return text;
}

}  // namespace pvh::vmm::gdb
