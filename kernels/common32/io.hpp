// SPDX-License-Identifier: BSD-2-Clause
// Ports and physical memory, for kernels that run without paging.
#pragma once

#include <stdint.h>

namespace pvh::kernels {

inline void out8(uint16_t port, uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

inline void out16(uint16_t port, uint16_t value) {
  asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

inline uint8_t in8(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}

// One instruction: where a virtual CPU is emulated, a loop costs several times as much.
inline void out8_string(uint16_t port, const char* bytes, uint32_t count) {
  asm volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}

inline uint8_t read8(uint32_t address) {
  return *reinterpret_cast<const volatile uint8_t*>(address);
}

inline uint32_t read32(uint32_t address) {
  return *reinterpret_cast<const volatile uint32_t*>(address);
}

inline uint64_t read64(uint32_t address) {
  return uint64_t{read32(address)} | uint64_t{read32(address + 4)} << 32;
}

inline void write8(uint32_t address, uint8_t value) {
  *reinterpret_cast<volatile uint8_t*>(address) = value;
}

inline void write32(uint32_t address, uint32_t value) {
  *reinterpret_cast<volatile uint32_t*>(address) = value;
}

[[noreturn]] inline void halt_for_ever() {
  for (;;) {
    asm volatile("cli; hlt");
  }
}

}  // namespace pvh::kernels
