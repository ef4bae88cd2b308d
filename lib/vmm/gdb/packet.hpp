// SPDX-License-Identifier: BSD-2-Clause
// The frames of gdb's remote serial protocol: "$payload#checksum", acknowledgements, and the lone
// byte that interrupts. Bytes in, values out; never more than kPacketSize bytes of a frame are
// kept. [gdb manual, "Overview" of the remote protocol]
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include <pvh/base/bytes.hpp>

namespace pvh::vmm::gdb {

// The longest payload that either side may send, as it stands on the wire. A `g` reply needs 1.3
// KiB, and the more fits the fewer packets a large read takes.
inline constexpr std::size_t kPacketSize = 0x4000;

struct Packet {
  std::string payload;  // escapes undone; may hold any byte
};
struct Interrupt {};  // Ctrl-C
struct Acknowledged {};
struct Refused {};      // the peer wants our last packet again
struct BadChecksum {};  // so do we
struct TooLong {};      // was thrown away
using Event = std::variant<Packet, Interrupt, Acknowledged, Refused, BadChecksum, TooLong>;

class PacketReader {
 public:
  // Takes one byte; gives the event that it completes, if any. Bytes between frames that mean
  // nothing are skipped.
  template <typename Sink>
  void feed(base::Bytes bytes, Sink&& sink) {
    for (const std::byte byte : bytes) {
      take(static_cast<char>(byte), sink);
    }
  }

 private:
  enum class State : std::uint8_t { kIdle, kPayload, kFirstDigit, kSecondDigit };

  template <typename Sink>
  void take(char c, Sink& sink) {
    switch (state_) {
      case State::kIdle:
        return idle(c, sink);
      case State::kPayload:
        return payload(c);
      case State::kFirstDigit:
        first_digit_ = c;
        state_ = State::kSecondDigit;
        return;
      case State::kSecondDigit:
        state_ = State::kIdle;
        return sink(finish(c));
    }
  }
  template <typename Sink>
  void idle(char c, Sink& sink) {
    constexpr char kInterrupt = '\x03';
    if (c == '$') {
      start();
    } else if (c == '+') {
      sink(Event(Acknowledged{}));
    } else if (c == '-') {
      sink(Event(Refused{}));
    } else if (c == kInterrupt) {
      sink(Event(Interrupt{}));
    }
  }
  void start();
  void payload(char c);
  [[nodiscard]] Event finish(char second_digit);

  State state_ = State::kIdle;
  char first_digit_ = 0;
  std::uint8_t sum_ = 0;
  bool too_long_ = false;
  std::string raw_;
};

// The frame of a payload, escaped where it has to be.
[[nodiscard]] std::string frame(std::string_view payload);

}  // namespace pvh::vmm::gdb
