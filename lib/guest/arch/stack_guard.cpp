// SPDX-License-Identifier: BSD-2-Clause
#include "descriptors.hpp"

namespace pvh::guest::arch {

#ifdef __x86_64__

bool stack_overflowed(std::uintptr_t fault_address) {
  return fault_address - number(pvh_stack_guard) < 4096;
}

#else

namespace {

constexpr std::uint32_t kGuardWords = 4;
constexpr std::uint32_t kGuard = 0x5afe57ac;

volatile std::uint32_t* guard() {
  return reinterpret_cast<volatile std::uint32_t*>(number(pvh_stack_guard));
}

}  // namespace

void guard_stack() {
  for (std::uint32_t i = 0; i < kGuardWords; ++i) {
    guard()[i] = kGuard;
  }
}

bool stack_overflowed(std::uintptr_t /*fault_address*/) {
  for (std::uint32_t i = 0; i < kGuardWords; ++i) {
    if (guard()[i] != kGuard) {
      return true;
    }
  }
  return false;
}

#endif

}  // namespace pvh::guest::arch
