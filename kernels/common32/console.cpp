// SPDX-License-Identifier: BSD-2-Clause
#include "common32/console.hpp"

#include "common32/io.hpp"
#include "common32/uart.hpp"

namespace pvh::kernels {

namespace {

constexpr char kDigits[] = "0123456789abcdef";

// A line that never empties must not hang the kernel: after so many looks it writes all the same.
constexpr uint32_t kPatience = 1u << 20;

void wait_for_transmitter() {
  for (uint32_t i = 0; i < kPatience; ++i) {
    if ((in8(uart::kLineStatus) & uart::kTransmitterEmpty) != 0) {
      return;
    }
  }
}

}  // namespace

void Console::start() {
  used_ = 0;
  out8(uart::kInterruptEnable, 0);
  out8(uart::kLineControl, uart::kDivisorAccess | uart::kEightBitsNoParity);
  out8(uart::kData, 1);
  out8(uart::kInterruptEnable, 0);
  out8(uart::kLineControl, uart::kEightBitsNoParity);
  out8(uart::kFifoControl, uart::kFifoEnableAndClear);
  out8(uart::kModemControl, uart::kReadyWithInterrupt);
  const uint8_t identity = in8(uart::kInterruptIdentity);
  burst_ = (identity & uart::kIdentityFifosOn) == uart::kIdentityFifosOn ? uart::kFifoSize : 1;
}

void Console::put(char c) {
  if (used_ == kCapacity) {
    flush();
  }
  buffer_[used_++] = c;
}

void Console::text(const char* string) {
  while (*string != 0) {
    put(*string++);
  }
}

void Console::decimal(uint32_t value) {
  char digits[10];
  uint32_t count = 0;
  do {
    digits[count++] = kDigits[value % 10];
    value /= 10;
  } while (value != 0);
  while (count != 0) {
    put(digits[--count]);
  }
}

void Console::hex(uint64_t value) {
  text("0x");
  uint32_t high = static_cast<uint32_t>(value >> 32);
  uint32_t low = static_cast<uint32_t>(value);
  char digits[16];
  uint32_t count = 0;
  // 32 bits at a time: the common case costs half.
  do {
    digits[count++] = kDigits[low & 0xf];
    low >>= 4;
  } while (low != 0 || (high != 0 && count < 8));
  for (; high != 0; high >>= 4) {
    digits[count++] = kDigits[high & 0xf];
  }
  while (count != 0) {
    put(digits[--count]);
  }
}

void Console::field(const char* name, uint64_t value) {
  put(' ');
  text(name);
  put('=');
  hex(value);
}

void Console::quoted(uint32_t address, uint32_t length) {
  put('"');
  for (uint32_t i = 0; i < length; ++i) {
    const uint8_t c = read8(address + i);
    if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
      text("\\x");
      put(kDigits[c >> 4]);
      put(kDigits[c & 0xf]);
    } else {
      put(static_cast<char>(c));
    }
  }
  put('"');
}

void Console::flush() {
  for (uint32_t sent = 0; sent < used_;) {
    const uint32_t rest = used_ - sent;
    const uint32_t count = rest < burst_ ? rest : burst_;
    wait_for_transmitter();
    out8_string(uart::kData, buffer_ + sent, count);
    sent += count;
  }
  used_ = 0;
}

}  // namespace pvh::kernels
