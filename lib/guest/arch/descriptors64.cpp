// SPDX-License-Identifier: BSD-2-Clause
// GDT, TSS and IDT of a 64-bit kernel. Intel SDM 3A, 6.14 and 7.7.
#include <pvh/guest/internal/arch.hpp>

#include "descriptors.hpp"
#include "link_symbols.hpp"

namespace pvh::guest::arch {
namespace {

// As in entry64.S.
constexpr std::uint16_t kData = 0x10;
constexpr std::uint16_t kCode = 0x18;
constexpr std::uint16_t kTaskState = 0x20;

constexpr std::uint64_t kInterruptGate = 0x8e00;
constexpr std::uint64_t kAvailableTss = 0x89;

struct Gate {
  std::uint64_t low;
  std::uint64_t high;
};

struct [[gnu::packed]] TaskState {
  std::uint32_t reserved0;
  std::uint64_t rsp[3];
  std::uint64_t reserved1;
  std::uint64_t ist[7];
  std::uint64_t reserved2;
  std::uint16_t reserved3;
  std::uint16_t io_map;
};
static_assert(sizeof(TaskState) == 104);

// Where the boot processor's exceptions run, so that one that comes of a bad stack can be told.
alignas(16) [[gnu::section(".bss.pvh_noinit")]] char exception_stack[4096];
TaskState task_state;
Gate boot_idt[kVectors];   // on exception_stack
Gate other_idt[kVectors];  // on the stack there is

void fill(Gate* idt, std::uint64_t stack) {
  std::uint64_t address = number(pvh_exception_vectors);
  for (Gate* gate = idt; gate != idt + kVectors; ++gate) {
    gate->low = (address & 0xffff) | std::uint64_t{kCode} << 16 | stack << 32 |
                kInterruptGate << 32 | (address >> 16 & 0xffff) << 48;
    gate->high = address >> 32;
    address += kVectorSize;
  }
}

void load_selectors() {
  asm volatile(
      "pushq %[code]\n\t"
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "lretq\n"
      "1:\n\t"
      "movl %[data], %%ds\n\t"
      "movl %[data], %%es\n\t"
      "movl %[data], %%ss\n\t"
      "movl %[data], %%fs\n\t"
      "movl %[data], %%gs"
      :
      : [code] "i"(kCode), [data] "r"(std::uint32_t{kData})
      : "rax", "memory");
}

}  // namespace

void load_descriptors_on_boot_processor() {
  task_state.ist[0] = number(exception_stack) + sizeof(exception_stack);
  task_state.io_map = sizeof(TaskState);
  const std::uint64_t base = number(&task_state);
  pvh_gdt[kTaskState / 8] = (sizeof(TaskState) - 1) | (base & 0xffffff) << 16 |
                            kAvailableTss << 40 | (base >> 24 & 0xff) << 56;
  pvh_gdt[kTaskState / 8 + 1] = base >> 32;
  // The GDT is the one that entry64.S loaded, but by its physical address.
  load_gdt(pvh_gdt, pvh_gdt_end);
  fill(boot_idt, 1);
  load_idt(boot_idt, boot_idt + kVectors);
  asm volatile("ltr %0" : : "r"(kTaskState));
}

void load_descriptors() {
  load_gdt(pvh_gdt, pvh_gdt_end);
  load_selectors();
  fill(other_idt, 0);
  load_idt(other_idt, other_idt + kVectors);
}

}  // namespace pvh::guest::arch
