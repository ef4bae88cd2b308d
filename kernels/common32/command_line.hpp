// SPDX-License-Identifier: BSD-2-Clause
// Words of the kernel's command line, which is a NUL-terminated string in physical memory.
#pragma once

#include <stdint.h>

#include "common32/io.hpp"

namespace pvh::kernels {

struct Option {
  bool present;
  uint32_t value;  // of name=VALUE, decimal or 0x...; 0 without
};

inline uint32_t parse_number(uint32_t address) {
  uint32_t base = 10;
  if (read8(address) == '0' && read8(address + 1) == 'x') {
    base = 16;
    address += 2;
  }
  uint32_t value = 0;
  for (;; ++address) {
    const uint8_t c = read8(address);
    uint32_t digit = base;
    if (c >= '0' && c <= '9') {
      digit = static_cast<uint32_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<uint32_t>(c - 'a' + 10);
    }
    if (digit >= base) {
      return value;
    }
    value = value * base + digit;
  }
}

// Looks for the word `name`, alone or followed by '='. `address` 0 is an absent command line.
inline Option find_option(uint32_t address, const char* name) {
  if (address == 0) {
    return {false, 0};
  }
  for (;;) {
    while (read8(address) == ' ') {
      ++address;
    }
    if (read8(address) == 0) {
      return {false, 0};
    }
    const char* expected = name;
    while (*expected != 0 && read8(address) == static_cast<uint8_t>(*expected)) {
      ++address;
      ++expected;
    }
    const uint8_t next = read8(address);
    if (*expected == 0 && (next == 0 || next == ' ')) {
      return {true, 0};
    }
    if (*expected == 0 && next == '=') {
      return {true, parse_number(address + 1)};
    }
    while (read8(address) != 0 && read8(address) != ' ') {
      ++address;
    }
  }
}

}  // namespace pvh::kernels
