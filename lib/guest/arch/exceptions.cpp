// SPDX-License-Identifier: BSD-2-Clause
// An exception that the kernel does not handle itself: it is told, and the machine is stopped. With
// the loader's IDT, or none, it would be a silent triple fault.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <pvh/guest/internal/arch.hpp>
#include <pvh/guest/pvh.hpp>

#include "../internal/packed_names.hpp"
#include "descriptors.hpp"
#include "link_symbols.hpp"
#include "raw_output.hpp"
#include "running.hpp"

using std::string_view_literals::operator""sv;

namespace pvh::guest::arch {
namespace {

// As exceptions*.S pushes them: the last pushed is the first.
#ifdef __x86_64__
constexpr char kRegisterNames[][5] = {" R15", " R14", " R13", " R12", " R11",
                                      " R10", "  R9", "  R8", " RDI", " RSI",
                                      " RBP", " RBX", " RDX", " RCX", " RAX"};
constexpr char kInstructionPointer[] = " RIP";
constexpr char kStackPointer[] = " RSP";
#else
constexpr char kRegisterNames[][5] = {" EDI", " ESI", " EBP", " EBX", " EDX", " ECX", " EAX"};
constexpr char kInstructionPointer[] = " EIP";
constexpr char kStackPointer[] = " ESP";
#endif
constexpr std::size_t kRegisters = std::size(kRegisterNames);

struct Registers {
  std::uintptr_t pushed[kRegisters];
  std::uintptr_t vector_end;  // the return address of the vector's CALL
  std::uintptr_t frame[1];    // the processor's: [error code,] IP, CS, flags [, SP, SS]
};

// Intel SDM 3A, table 6-1.
constexpr char kNames[] =
    "divide error\0"
    "debug\0"
    "NMI\0"
    "breakpoint\0"
    "overflow\0"
    "bound\0"
    "bad instruction\0"
    "no FPU\0"
    "double fault\0"
    "\0"
    "bad TSS\0"
    "segment not present\0"
    "stack fault\0"
    "general protection\0"
    "page fault\0"
    "\0"
    "FPU error\0"
    "alignment\0"
    "machine check\0"
    "SIMD error\0";
constexpr std::uint32_t kWithErrorCode = 0x60227d00;
constexpr std::uintptr_t kDoubleFault = 8;
constexpr std::uintptr_t kPageFault = 14;

bool telling = false;

void field(std::string_view name, std::uintptr_t value) {
  raw_print(name);
  raw_print(" 0x"sv);
  raw_print_number(value, 16);
}

void tell(const Registers& registers) {
  const std::uintptr_t vector =
      (registers.vector_end - number(pvh_exception_vectors)) / kVectorSize - 1;
  const bool has_error_code = (kWithErrorCode >> vector & 1) != 0;
  const std::uintptr_t* frame = registers.frame + (has_error_code ? 1 : 0);
  std::uintptr_t cr2 = 0;
  asm volatile("mov %%cr2, %0" : "=r"(cr2));

  raw_print("pvh: exception "sv);
  raw_print_number(vector, 10);
  raw_print(" ("sv);
  raw_print(internal::nth_name(internal::packed(kNames), vector));
  raw_print(")"sv);
  field({kInstructionPointer, 4}, frame[0]);
#ifdef __x86_64__
  field({kStackPointer, 4}, frame[3]);
#else
  field({kStackPointer, 4}, number(frame + 3));
#endif
  if (has_error_code) {
    field(" error"sv, registers.frame[0]);
  }
  if (vector == kPageFault || vector == kDoubleFault) {
    field(" CR2"sv, cr2);
  } else {
    cr2 = 0;
  }
  if (stack_overflowed(cr2)) {
    raw_print("\npvh: the boot stack overflowed: make it larger (pvh_stack_size)"sv);
  }
  raw_print("\npvh:"sv);
  for (std::size_t i = kRegisters; i-- > 0;) {
    field({kRegisterNames[i], 4}, registers.pushed[i]);
  }
  raw_print("\n"sv);
}

}  // namespace

extern "C" [[noreturn]] void pvh_exception(const Registers* registers);
extern "C" void pvh_exception(const Registers* registers) {
  // One that comes of telling another is not told.
  if (!telling) {
    telling = true;
    tell(*registers);
    Machine machine(boot_translator());
    try_crash(machine, running_ways());
  }
  halt_forever();
}

}  // namespace pvh::guest::arch
