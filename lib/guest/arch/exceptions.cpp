// SPDX-License-Identifier: BSD-2-Clause
// An exception that the kernel does not handle itself: it is told, and the machine is stopped. With
// the loader's IDT, or none, it would be a silent triple fault.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <pvh/guest/internal/arch.hpp>
#include <pvh/guest/pvh.hpp>

#include "descriptors.hpp"
#include "link_symbols.hpp"
#include "raw_output.hpp"
#include "running.hpp"

using std::string_view_literals::operator""sv;

namespace pvh::guest::arch {
namespace {

// As exceptions*.S pushes them: the last pushed is the first.
#ifdef __x86_64__
constexpr std::string_view kRegisterNames[] = {"R15"sv, "R14"sv, "R13"sv, "R12"sv, "R11"sv,
                                               "R10"sv, "R9"sv,  "R8"sv,  "RDI"sv, "RSI"sv,
                                               "RBP"sv, "RBX"sv, "RDX"sv, "RCX"sv, "RAX"sv};
constexpr std::string_view kInstructionPointer = "RIP"sv;
constexpr std::string_view kStackPointer = "RSP"sv;
#else
constexpr std::string_view kRegisterNames[] = {"EDI"sv, "ESI"sv, "EBP"sv, "EBX"sv,
                                               "EDX"sv, "ECX"sv, "EAX"sv};
constexpr std::string_view kInstructionPointer = "EIP"sv;
constexpr std::string_view kStackPointer = "ESP"sv;
#endif
constexpr std::size_t kRegisters = std::size(kRegisterNames);

struct Registers {
  std::uintptr_t pushed[kRegisters];
  std::uintptr_t vector_end;  // the return address of the vector's CALL
  std::uintptr_t frame[1];    // the processor's: [error code,] IP, CS, flags [, SP, SS]
};

// Intel SDM 3A, table 6-1.
constexpr std::string_view kNames[] = {"divide error"sv,
                                       "debug"sv,
                                       "NMI"sv,
                                       "breakpoint"sv,
                                       "overflow"sv,
                                       "bound"sv,
                                       "bad instruction"sv,
                                       "no FPU"sv,
                                       "double fault"sv,
                                       ""sv,
                                       "bad TSS"sv,
                                       "segment not present"sv,
                                       "stack fault"sv,
                                       "general protection"sv,
                                       "page fault"sv,
                                       ""sv,
                                       "FPU error"sv,
                                       "alignment"sv,
                                       "machine check"sv,
                                       "SIMD error"sv};
constexpr std::uint32_t kWithErrorCode = 0x60227d00;
constexpr std::uintptr_t kDoubleFault = 8;
constexpr std::uintptr_t kPageFault = 14;

bool telling = false;

void field(std::string_view name, std::uintptr_t value) {
  raw_print(" "sv);
  raw_print(name);
  raw_print(" "sv);
  raw_print_hex(value);
}

void tell(const Registers& registers) {
  const std::uintptr_t vector =
      (registers.vector_end - number(pvh_exception_vectors)) / kVectorSize - 1;
  const bool has_error_code = (kWithErrorCode >> vector & 1) != 0;
  const std::uintptr_t* frame = registers.frame + (has_error_code ? 1 : 0);
  std::uintptr_t cr2 = 0;
  asm volatile("mov %%cr2, %0" : "=r"(cr2));

  raw_print("pvh: exception "sv);
  raw_print_decimal(vector);
  if (vector < std::size(kNames)) {
    raw_print(" ("sv);
    raw_print(kNames[vector]);
    raw_print(")"sv);
  }
  field(kInstructionPointer, frame[0]);
#ifdef __x86_64__
  field(kStackPointer, frame[3]);
#else
  field(kStackPointer, number(frame + 3));
#endif
  if (has_error_code) {
    field("error"sv, registers.frame[0]);
  }
  const bool about_memory = vector == kPageFault || vector == kDoubleFault;
  if (about_memory) {
    field("CR2"sv, cr2);
  }
  raw_print("\n"sv);
  if (stack_overflowed(about_memory ? cr2 : 0)) {
    raw_print("pvh: the boot stack overflowed: make it larger (pvh_stack_size)\n"sv);
  }
  raw_print("pvh:"sv);
  for (std::size_t i = kRegisters; i-- > 0;) {
    field(kRegisterNames[i], registers.pushed[i]);
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
