// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/internal/arch.hpp>

#include "link_symbols.hpp"

namespace pvh::guest::arch {

namespace {

constexpr std::uint64_t kMapped = std::uint64_t{4} << 30;  // by entry64.S

}  // namespace

base::Range image() {
  // The linker script has the end above the start.
  return *base::Range::from_end(base::PhysAddr(number(pvh_image_start)),
                                base::PhysAddr(number(pvh_image_end)));
}

#ifdef __x86_64__

Translator boot_translator() {
  // A higher-half kernel sees physical memory in the 257th slot of its top page table.
  const std::uintptr_t offset = virtual_offset() == 0 ? 0 : 0xffff'8000'0000'0000;
  return {.offset = offset,
          .reach = kMapped,
          .window_entry = reinterpret_cast<std::uint64_t*>(offset + number(pvh_window_directory)),
          .window = offset + kMapped};
}

void leave_identity_map() {
  if (virtual_offset() != 0) {
    asm volatile("movq %0, %%cr3" : : "r"(number(pvh_kernel_pml4)) : "memory");
  }
}

ControlState control_state() {
  ControlState state;
  asm volatile("movq %%cr0, %0" : "=r"(state.cr0));
  asm volatile("movq %%cr3, %0" : "=r"(state.cr3));
  asm volatile("movq %%cr4, %0" : "=r"(state.cr4));
  constexpr std::uint32_t kEfer = 0xc0000080;
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(kEfer));
  state.efer = low | std::uint64_t{high} << 32;
  return state;
}

base::PhysAddr identity_cr3() {
  return base::PhysAddr(number(pvh_boot_pml4));
}

#else

Translator boot_translator() {
  return {.offset = 0, .reach = kMapped, .window_entry = nullptr, .window = 0};
}

void leave_identity_map() {}

#endif

}  // namespace pvh::guest::arch
