// SPDX-License-Identifier: BSD-2-Clause
#include <cstddef>
#include <cstdint>

extern "C" void* memmove(void* to, const void* from, std::size_t size);
void* memmove(void* to, const void* from, std::size_t size) {
  void* const start = to;
  // Wraps, and so is large, when `to` lies below `from`.
  if (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from) >= size) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return start;
  }
  to = static_cast<char*>(to) + size - 1;
  from = static_cast<const char*>(from) + size - 1;
  asm volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(size) : : "memory", "cc");
  return start;
}
