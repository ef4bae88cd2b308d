// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/uart.hpp"

#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"

namespace pvh::kernels::bsd::uart {

namespace {

// sys/dev/ic/ns16550.h
constexpr std::uint16_t kBase = 0x3f8;
constexpr std::uint16_t kData = kBase, kIer = kBase + 1, kIir = kBase + 2, kFcr = kBase + 2,
                        kLcr = kBase + 3, kMcr = kBase + 4, kLsr = kBase + 5;
constexpr std::uint8_t kLcrDivisor = 0x80, kLcr8Bits = 0x03;
constexpr std::uint8_t kMcrIe = 0x08, kMcrRts = 0x02, kMcrDtr = 0x01, kMcrLoopback = 0x10;
constexpr std::uint8_t kFcrEnable = 0x01, kFcrReset = 0x06;
constexpr std::uint8_t kIirFifo = 0xc0;
constexpr std::uint8_t kLsrReady = 0x01, kLsrOverrun = 0x02, kLsrThre = 0x20, kLsrTemt = 0x40;
constexpr std::uint8_t kDivisor115200 = 1;

constexpr unsigned kPatience = 10 * 1024;  // ns8250_drain()'s

bool found;

// ns8250_probe(): bits that are 0 in every one of them.
bool known_bits() {
  if ((in8(kIir) & 0x30) != 0 || (in8(kMcr) & 0xe0) != 0) {
    return false;
  }
  const std::uint8_t lcr = in8(kLcr);
  out8(kLcr, lcr & static_cast<std::uint8_t>(~kLcrDivisor));
  const bool good = (in8(kIer) & 0xf0) == 0;
  out8(kLcr, lcr);
  return good;
}

bool wait(std::uint8_t bit) {
  for (unsigned i = 0; i < kPatience; ++i) {
    if ((in8(kLsr) & bit) != 0) {
      return true;
    }
  }
  return false;
}

bool drain_receiver() {
  for (unsigned i = 0; i < kPatience; ++i) {
    if ((in8(kLsr) & kLsrReady) == 0) {
      return true;
    }
    in8(kData);
  }
  return false;
}

// ns8250_bus_probe(): in loopback, as many bytes as it takes to overrun the receiver. Reading LSR
// clears the overrun, so what it said while the byte was on its way counts.
unsigned fifo_size() {
  constexpr unsigned kMost = 260;
  constexpr unsigned kLimit = 30;
  unsigned count = 0;
  for (std::uint8_t status = 0; (status & kLsrOverrun) == 0 && count < kMost; ++count) {
    out8(kData, 0);
    status = 0;
    for (unsigned i = 0; i < kLimit && (status & kLsrTemt) == 0; ++i) {
      status |= in8(kLsr);
    }
    if ((status & kLsrTemt) == 0) {
      return 0;
    }
  }
  return count - 1;
}

}  // namespace

void start() {
  found = known_bits();
  out8(kLcr, kLcr8Bits | kLcrDivisor);
  out8(kData, kDivisor115200);
  out8(kIer, 0);
  out8(kLcr, kLcr8Bits);
  out8(kIer, 0);
  out8(kFcr, 0);
  out8(kMcr, kMcrIe | kMcrRts | kMcrDtr);
}

// ns8250_putc()
void print(std::string_view text) {
  for (const char c : text) {
    wait(kLsrThre);
    out8(kData, static_cast<std::uint8_t>(c));
  }
}

void judge_probes() {
  judge(Claim::kUartProbe, found, Line().text("a bit of IIR, MCR or IER is 1 that is 0 in all"sv));
  const bool drained = wait(kLsrTemt);
  out8(kMcr, kMcrLoopback | kMcrIe | kMcrRts | kMcrDtr);
  out8(kFcr, kFcrEnable);
  const bool fifo = (in8(kIir) & kIirFifo) != 0;
  out8(kFcr, kFcrEnable | kFcrReset);
  const bool empty = drain_receiver() && wait(kLsrTemt);
  const unsigned size = fifo_size();
  out8(kFcr, kFcrEnable | kFcrReset);
  const bool again = drain_receiver();
  out8(kFcr, 0);
  out8(kMcr, kMcrIe | kMcrRts | kMcrDtr);
  judge(Claim::kUartDrain, drained && empty && again,
        Line().text("transmitter or receiver never gets empty"sv));
  // "16550 or compatible" is what FreeBSD then says.
  judge(Claim::kUartFifo, fifo && size >= 14 && size <= 16,
        Line().text("FIFOs of "sv).decimal(size).text(fifo ? " bytes"sv : " bytes, off"sv));
}

}  // namespace pvh::kernels::bsd::uart
