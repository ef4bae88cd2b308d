// SPDX-License-Identifier: BSD-2-Clause
// Everything that can be done to a port.
#include <iterator>

#include "hostile/attacks.hpp"
#include "hostile/attempt.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint16_t kKeyboardData = 0x60, kKeyboardCommand = 0x64;
constexpr std::uint16_t kPowerManagement = 0x600, kPowerManagementEnd = 0x604;
constexpr std::uint16_t kCom1 = 0x3f8;

// An access there may rightly end the machine.
bool ends(std::uint32_t port, std::uint32_t width) {
  const auto touches = [&](std::uint32_t begin, std::uint32_t end) {
    return port < end && begin < port + width;
  };
  return touches(kKeyboardData, kKeyboardData + 1) ||
         touches(kKeyboardCommand, kKeyboardCommand + 1) ||
         touches(guest::kDebugExitPort, guest::kDebugExitPort + 1) ||
         touches(kPowerManagement, kPowerManagementEnd);
}

// Ports that somebody answers at, and any.
std::uint16_t some_port(Random& random) {
  constexpr std::uint16_t kAnswered[] = {0x20,  0x21,  0x40,  0x41,  0x42,  0x43,  0x4d0, 0x4d1,
                                         0x61,  0x70,  0x71,  0x80,  0x92,  0xa0,  0xa1,  0xe9,
                                         0xcf8, 0xcf9, 0xcfa, 0xcfc, 0xcff, 0x511, 0x2f8, 0x5fe};
  switch (random.below(4)) {
    case 0:
      return static_cast<std::uint16_t>(random.next());
    case 1:
      return random.of(kAnswered);
    default:
      return static_cast<std::uint16_t>(kCom1 + random.below(8));
  }
}

void touch(guest::Machine& machine, Random& random, std::uint16_t port, std::uint32_t width) {
  const bool is_write = random.one_in(2);
  const auto value = static_cast<std::uint32_t>(random.next());
  switch (width) {
    case 1:
      is_write ? machine.out8(port, static_cast<std::uint8_t>(value))
               : static_cast<void>(machine.in8(port));
      break;
    case 2:
      is_write ? machine.out16(port, static_cast<std::uint16_t>(value))
               : static_cast<void>(machine.in16(port));
      break;
    default:
      is_write ? machine.out32(port, value) : static_cast<void>(machine.in32(port));
      break;
  }
}

void every_port(Attacker& guest) {
  for (std::uint32_t port = 0; port < 0x10000; port += 1 + guest.random.below(8)) {
    const std::uint32_t width = 1u << guest.random.below(3);
    if (!ends(port, width)) {
      touch(guest.machine, guest.random, static_cast<std::uint16_t>(port), width);
    }
  }
}

void random_ports(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(20000); ++i) {
    const std::uint16_t port = some_port(guest.random);
    const std::uint32_t width = 1u << guest.random.below(3);
    if (!ends(port, width)) {
      touch(guest.machine, guest.random, port, width);
    }
  }
}

// Many at once, from and to memory that is there, that is a device, and that is not there.
void string_ports(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(100); ++i) {
    const std::uint16_t port = some_port(guest.random);
    const std::uint32_t width = 1u << guest.random.below(3);
    if (ends(port, width)) {
      continue;
    }
    std::uint64_t memory = guest.arena + guest.random.below(kArena / 2);
    if (guest.random.one_in(8)) {
      memory = guest.devices.empty() ? 0xfec00000 : guest.devices[0].registers() + 0xff0;
    } else if (guest.random.one_in(8)) {
      memory = (std::uint64_t{3} << 39) - guest.random.below(64);  // no table is there
    }
    std::uint64_t count = guest.random.below(guest.random.one_in(8) ? 5000 : 40);
    const std::uint32_t what = guest.random.below(6);
    static_cast<void>(attempt([&] {
      switch (what) {
        case 0:
          asm volatile("rep outsb" : "+S"(memory), "+c"(count) : "d"(port) : "memory");
          break;
        case 1:
          asm volatile("rep outsw" : "+S"(memory), "+c"(count) : "d"(port) : "memory");
          break;
        case 2:
          asm volatile("rep outsl" : "+S"(memory), "+c"(count) : "d"(port) : "memory");
          break;
        case 3:
          asm volatile("rep insb" : "+D"(memory), "+c"(count) : "d"(port) : "memory");
          break;
        case 4:
          asm volatile("rep insw" : "+D"(memory), "+c"(count) : "d"(port) : "memory");
          break;
        default:
          asm volatile("rep insl" : "+D"(memory), "+c"(count) : "d"(port) : "memory");
          break;
      }
    }));
  }
}

// All but the two ways to reset, 0xfe and bit 0 of the output port.
void keyboard_controller(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(10000); ++i) {
    const auto value = static_cast<std::uint8_t>(guest.random.next());
    if (guest.random.one_in(2)) {
      guest.machine.out8(kKeyboardData, value | 1);
    } else if ((value & 0xf1) != 0xf0) {  // 0xf0 to 0xff pulse lines, bit 0 clear: the reset
      guest.machine.out8(kKeyboardCommand, value);
    }
    static_cast<void>(guest.machine.in8(guest.random.one_in(2) ? kKeyboardData : kKeyboardCommand));
  }
}

// As much as the port takes, and then what the host reads slowly or not at all.
void flood_serial(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(48); ++i) {
    std::uint64_t from = guest.arena;
    std::uint64_t count = 1024;
    asm volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(kCom1) : "memory");
  }
}

constexpr Attack kAttacks[] = {{"every-port"sv, every_port},
                               {"random-ports"sv, random_ports},
                               {"string-ports"sv, string_ports},
                               {"keyboard-controller"sv, keyboard_controller},
                               {"flood-serial"sv, flood_serial}};

}  // namespace

std::span<const Attack> port_attacks() {
  return kAttacks;
}

}  // namespace pvh::kernels::hostile
