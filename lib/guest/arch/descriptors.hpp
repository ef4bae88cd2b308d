// SPDX-License-Identifier: BSD-2-Clause
// What the two widths' descriptor tables have in common.
#pragma once

#include <cstddef>
#include <cstdint>

#include "link_symbols.hpp"

namespace pvh::guest::arch {

inline constexpr std::size_t kVectors = 32;
inline constexpr std::uintptr_t kVectorSize = 5;  // a CALL in exceptions*.S

struct [[gnu::packed]] TablePointer {
  std::uint16_t limit;
  std::uintptr_t base;
};

inline TablePointer table(const void* begin, const void* end) {
  const std::uintptr_t base = number(begin);
  return {static_cast<std::uint16_t>(number(end) - base - 1), base};
}

inline void load_gdt(const void* begin, const void* end) {
  const TablePointer pointer = table(begin, end);
  asm volatile("lgdt %0" : : "m"(pointer));
}

inline void load_idt(const void* begin, const void* end) {
  const TablePointer pointer = table(begin, end);
  asm volatile("lidt %0" : : "m"(pointer));
}

// The end of the boot stack. A 64-bit kernel has an unmapped page there; a 32-bit one a known value
// that an overflow destroys.
void guard_stack();
[[nodiscard]] bool stack_overflowed(std::uintptr_t fault_address);

}  // namespace pvh::guest::arch
