// SPDX-License-Identifier: BSD-2-Clause
#include "raw_output.hpp"

#include <pvh/guest/internal/arch.hpp>

namespace pvh::guest::arch {
namespace {

constexpr std::uint16_t kDebugPort = 0xe9;
constexpr std::uint16_t kCom1 = 0x3f8;
constexpr std::uint16_t kCom1LineStatus = 0x3fd;
constexpr std::uint8_t kTransmitterEmpty = 0x20;
constexpr std::uint32_t kMostPolls = 30'000;  // a character takes 0.1 ms, a poll 1 us at least

bool com1_is_stuck = false;

void put(Machine& machine, char character) {
  const auto byte = static_cast<std::uint8_t>(character);
  machine.out8(kDebugPort, byte);
  if (com1_is_stuck) {
    return;
  }
  std::uint32_t polls = 0;
  while ((machine.in8(kCom1LineStatus) & kTransmitterEmpty) == 0) {
    if (++polls == kMostPolls) {
      com1_is_stuck = true;
      return;
    }
    machine.pause();
  }
  machine.out8(kCom1, byte);
}

}  // namespace

void raw_print(std::string_view text) {
  Machine machine(Translator{});  // only its ports are used
  for (const char character : text) {
    put(machine, character);
  }
}

void raw_print_number(std::uintptr_t value, unsigned base) {
  char text[20];
  std::size_t start = sizeof(text);
  do {
    text[--start] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  raw_print({text + start, sizeof(text) - start});
}

}  // namespace pvh::guest::arch
