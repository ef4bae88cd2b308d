// SPDX-License-Identifier: BSD-2-Clause
#include <cstddef>

extern "C" int memcmp(const void* left, const void* right, std::size_t size);
int memcmp(const void* left, const void* right, std::size_t size) {
  const auto* a = static_cast<const unsigned char*>(left);
  const auto* b = static_cast<const unsigned char*>(right);
  for (; size != 0; --size, ++a, ++b) {
    if (*a != *b) {
      return *a - *b;
    }
    asm volatile("");  // or the compiler may see a memcmp in this loop and call it
  }
  return 0;
}
