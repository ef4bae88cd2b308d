// SPDX-License-Identifier: BSD-2-Clause
#include "hostile/attempt.hpp"

#include <cstddef>

extern "C" const char hostile_exception[];

namespace pvh::kernels::hostile {
namespace {

struct Gate {
  std::uint64_t low;
  std::uint64_t high;
};

alignas(16) Gate gates[256];

// Intel SDM 3A, 6.14.1: an interrupt gate to the runtime's 64-bit code segment, on the stack that
// the runtime gives to exceptions (IST 1).
constexpr std::uint64_t kGate = std::uint64_t{0x8e01} << 32 | std::uint64_t{0x18} << 16;

}  // namespace

TablePointer catching_idt() {
  return {sizeof(gates) - 1, reinterpret_cast<std::uint64_t>(&gates)};
}

void catch_exceptions() {
  const auto address = reinterpret_cast<std::uint64_t>(hostile_exception);
  for (Gate& gate : gates) {
    gate = {(address & 0xffff) | kGate | (address >> 16 & 0xffff) << 48, address >> 32};
  }
  const TablePointer pointer = catching_idt();
  asm volatile("lidt %0" : : "m"(pointer));
}

}  // namespace pvh::kernels::hostile
