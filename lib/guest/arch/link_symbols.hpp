// SPDX-License-Identifier: BSD-2-Clause
// What the linker script and the assembler files define. Of a symbol that stands for a number or
// for a physical address only its address means anything.
#pragma once

#include <cstddef>
#include <cstdint>

#include <pvh/base/address.hpp>

extern "C" {
// Numbers.
extern const char pvh_virtual_offset[];
// Physical addresses.
extern const char pvh_image_start[];
extern const char pvh_image_end[];
extern const char pvh_guard_physical[];
extern const char pvh_entry_state[];
extern const char pvh_boot_pml4[];
extern const char pvh_kernel_pml4[];
extern const char pvh_window_directory[];
// Where they are.
extern char pvh_stack_guard[];
extern char pvh_stack_top[];
extern std::uint64_t pvh_gdt[];
extern std::uint64_t pvh_gdt_end[];
extern const char pvh_exception_vectors[];
using PvhInitializer = void (*)();
extern const PvhInitializer pvh_init_array_start[];
extern const PvhInitializer pvh_init_array_end[];
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
