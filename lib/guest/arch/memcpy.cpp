// SPDX-License-Identifier: BSD-2-Clause
// Compilers call these four from any code. Each is alone in its object, so that the linker takes a
// kernel's own where there is one.
#include <cstddef>

extern "C" void* memcpy(void* to, const void* from, std::size_t size);
void* memcpy(void* to, const void* from, std::size_t size) {
  void* const start = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return start;
}
