// SPDX-License-Identifier: BSD-2-Clause
#include <cstddef>

extern "C" void* memset(void* to, int byte, std::size_t size);
void* memset(void* to, int byte, std::size_t size) {
  void* const start = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
  return start;
}
