// SPDX-License-Identifier: BSD-2-Clause
// What the linker script and the assembler files define. Of a symbol that stands for a number only
// its address means anything.
#pragma once

#include <cstddef>
#include <cstdint>

#include <pvh/base/address.hpp>

extern "C" {
extern const char pvh_image_start[];     // physical
extern const char pvh_image_end[];       // physical
extern const char pvh_virtual_offset[];  // a number
extern const char pvh_guard_physical[];  // physical
extern char pvh_stack_guard[];
extern char pvh_stack_top[];
}

namespace pvh::guest::arch {

inline std::uintptr_t number(const void* symbol) {
  auto value = reinterpret_cast<std::uintptr_t>(symbol);
  // The compiler must not conclude that no object lies at 0.
  asm("" : "+r"(value));
  return value;
}

inline std::uintptr_t virtual_offset() {
  return number(pvh_virtual_offset);
}

// Of something in the image that is linked with the kernel's virtual addresses.
inline base::PhysAddr physical(const void* object) {
  return base::PhysAddr(number(object) - virtual_offset());
}

}  // namespace pvh::guest::arch
