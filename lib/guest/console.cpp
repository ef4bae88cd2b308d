// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <pvh/abi/xen_console.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/console.hpp>
#include <pvh/guest/xen.hpp>

namespace pvh::guest {
namespace {

constexpr std::uint16_t kDebugPort = 0xe9;

// COM1, a 16550 (National Semiconductor PC16550D data sheet).
constexpr std::uint16_t kCom1 = 0x3f8;
constexpr std::uint16_t kData = kCom1;                 // divisor, low byte, with kDivisorAccess
constexpr std::uint16_t kInterruptEnable = kCom1 + 1;  // divisor, high byte, likewise
constexpr std::uint16_t kFifoControl = kCom1 + 2;      // written; read, it is the identity
constexpr std::uint16_t kLineControl = kCom1 + 3;
constexpr std::uint16_t kModemControl = kCom1 + 4;
constexpr std::uint16_t kLineStatus = kCom1 + 5;
constexpr std::uint16_t kScratch = kCom1 + 7;

constexpr std::uint8_t kDivisorAccess = 0x80;
constexpr std::uint8_t kDivisor = 1;  // 115200 baud
constexpr std::uint8_t kEightBitsNoParity = 0x03;
constexpr std::uint8_t kFifoEnableAndClear = 0x07;
constexpr std::uint8_t kFifosOn = 0xc0;  // in the identity
constexpr std::uint8_t kFifoSize = 16;
constexpr std::uint8_t kReady = 0x03;  // DTR and RTS
constexpr std::uint8_t kTransmitterEmpty = 0x20;
constexpr std::uint8_t kScratchPattern = 0x5a;  // not what a bus without a device reads

// A full FIFO takes 1.4 ms at 115200 baud, a read of a real port 1 us: twenty times what is needed.
constexpr unsigned kMostPolls = 30'000;
// Some seconds: another domain has to be scheduled to empty the ring.
constexpr unsigned kMostRingTurns = 20'000'000;

bool has_com1(Machine& machine) {
  machine.out8(kScratch, kScratchPattern);
  return machine.in8(kScratch) == kScratchPattern && machine.in8(kLineStatus) != 0xff;
}

// How many characters it takes at once.
std::uint8_t start_com1(Machine& machine) {
  machine.out8(kLineControl, kDivisorAccess);
  machine.out8(kData, kDivisor);
  machine.out8(kInterruptEnable, 0);
  machine.out8(kLineControl, kEightBitsNoParity);
  machine.out8(kInterruptEnable, 0);
  machine.out8(kFifoControl, kFifoEnableAndClear);
  machine.out8(kModemControl, kReady);
  return (machine.in8(kFifoControl) & kFifosOn) == kFifosOn ? kFifoSize : std::uint8_t{1};
}

bool is_connected(Machine& machine, base::PhysAddr ring) {
  const base::PhysAddr connection(ring.value() + offsetof(abi::xencons_interface, connection));
  return machine.read_mmio32(connection) == abi::XENCONSOLE_CONNECTED;
}

// Puts bytes into the ring, of which the other side is told at the end or when the ring is full.
class RingWriter {
 public:
  RingWriter(Machine& machine, const xen::Token& token, base::PhysAddr ring, std::uint32_t port)
      : machine_(machine), token_(token), ring_(ring), port_(port) {}

  // False: it is stuck, as put() and publish() answer too.
  bool open() {
    const auto produced = machine_.read_mmio32(at(offsetof(abi::xencons_interface, out_prod)));
    produced_ = produced.value_or(0);
    return produced.has_value();
  }
  bool put(char c) {
    for (unsigned turn = 0;; ++turn) {
      const auto consumed = machine_.read_mmio32(at(offsetof(abi::xencons_interface, out_cons)));
      const std::uint32_t used = produced_ - consumed.value_or(produced_ - kRingSize - 1);
      if (used < kRingSize) {
        break;
      }
      // Who is not there is not waited for.
      if (used > kRingSize || (turn == 0 && !publish()) ||
          turn == (is_connected(machine_, ring_) ? kMostRingTurns : 1)) {
        return false;
      }
      machine_.pause();
    }
    const std::size_t place = produced_++ % kRingSize;
    return machine_.write(at(offsetof(abi::xencons_interface, out) + place), base::to_bytes(c));
  }
  // The index after the bytes that it counts.
  bool publish() {
    if (!machine_.write_mmio32(at(offsetof(abi::xencons_interface, out_prod)), produced_)) {
      return false;
    }
    // Where Xen refuses it, the reader comes later or not at all, which put() bears.
    static_cast<void>(xen::send_event(machine_, token_, port_));
    return true;
  }

 private:
  static constexpr std::uint32_t kRingSize = sizeof(abi::xencons_interface::out);

  [[nodiscard]] base::PhysAddr at(std::size_t offset) const {
    return base::PhysAddr(ring_.value() + offset);
  }

  Machine& machine_;
  const xen::Token& token_;
  base::PhysAddr ring_;
  std::uint32_t port_;
  std::uint32_t produced_ = 0;
};

}  // namespace

void Console::start(Machine& machine) {
  machine_ = &machine;
  ways_.debug_port = machine.in8(kDebugPort) == kDebugPort;
  ways_.com1 = has_com1(machine);
  if (ways_.com1) {
    com1_burst_ = start_com1(machine);
  }
}

void Console::add_xen(const xen::Token& token, bool is_hardware_domain) {
  if (machine_ == nullptr) {
    return;
  }
  token_.emplace(token);
  if (is_hardware_domain) {
    ways_.com1 = false;
    ways_.xen_console_io = xen::console_write(*machine_, token, "").has_value();
    ways_.debug_port = !ways_.xen_console_io;
    return;
  }
  const xen::SharedPages pages = xen::shared_pages(*machine_, token);
  ways_.xen_ring = pages.console;
  ways_.xen_ring_port = pages.console_port;
  const bool has_reader = pages.console && is_connected(*machine_, *pages.console);
  // Xen 4.17 listens there and reads as 0xff.
  ways_.debug_port = ways_.debug_port || (!ways_.com1 && !has_reader);
}

void Console::write(std::string_view text) {
  for (const char c : text) {
    line_[used_++] = c;
    if (c == '\n' || used_ == line_.size()) {
      flush();
    }
  }
}

void Console::flush() {
  if (machine_ != nullptr && used_ > 0) {
    send(std::string_view(line_.data(), used_));
  }
  used_ = 0;
}

void Console::send(std::string_view line) {
  if (ways_.debug_port) {
    send_debug_port(line);
  }
  for (const char c : line) {
    if (c == '\n') {
      send_com1('\r');
    }
    send_com1(c);
  }
  if (ways_.xen_console_io) {
    // It worked in add_xen(), and there is nobody to tell.
    static_cast<void>(xen::console_write(*machine_, *token_, line));
  }
  if (ways_.xen_ring) {
    send_ring(line);
  }
}

void Console::send_debug_port(std::string_view line) {
  for (const char c : line) {
    // Xen would leave it out.
    const bool shown = (c >= ' ' && c <= '~') || c == '\n' || c == '\t';
    machine_->out8(kDebugPort, static_cast<std::uint8_t>(shown || !token_ ? c : '?'));
  }
}

void Console::send_com1(char byte) {
  if (!ways_.com1) {
    return;
  }
  if (com1_room_ == 0) {
    unsigned polls = 0;
    while ((machine_->in8(kLineStatus) & kTransmitterEmpty) == 0) {
      if (++polls == kMostPolls) {
        ways_.com1 = false;
        return;
      }
    }
    com1_room_ = com1_burst_;
  }
  machine_->out8(kData, static_cast<std::uint8_t>(byte));
  --com1_room_;
}

void Console::send_ring(std::string_view line) {
  RingWriter ring(*machine_, *token_, *ways_.xen_ring, ways_.xen_ring_port);
  bool works = ring.open();
  for (const char c : line) {
    works = works && (c != '\n' || ring.put('\r')) && ring.put(c);
  }
  if (!works || !ring.publish()) {
    ways_.xen_ring.reset();
  }
}

}  // namespace pvh::guest
