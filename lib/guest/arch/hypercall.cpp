// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/machine.hpp>

namespace pvh::guest {

#ifdef __x86_64__
#define PVH_HYPERCALL(instruction, ...)                                       \
  asm volatile(instruction                                                    \
               : "+a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8) \
               : __VA_ARGS__                                                  \
               : "rcx", "r9", "r11", "cc", "memory")
#else
#define PVH_HYPERCALL(instruction, ...)                                    \
  asm volatile(instruction                                                 \
               : "+a"(result), "+b"(a), "+c"(b), "+d"(c), "+S"(d), "+D"(e) \
               : __VA_ARGS__                                               \
               : "cc", "memory")
#endif

// Xen may leave anything in the arguments.
std::intptr_t Machine::hypercall(const xen::Token& token, std::uint32_t number, Word a, Word b,
                                 Word c, Word d, Word e) {
#ifdef __x86_64__
  register Word r10 asm("r10") = d;
  register Word r8 asm("r8") = e;
#endif
  auto result = static_cast<std::intptr_t>(number);
  switch (token.transport()) {
    case xen::Transport::kVmcall:
      PVH_HYPERCALL("vmcall", );
      break;
    case xen::Transport::kVmmcall:
      PVH_HYPERCALL("vmmcall", );
      break;
    case xen::Transport::kHypercallPage: {
      const Word stub = token.page() + Word{32} * number;
      PVH_HYPERCALL("call *%[stub]", [stub] "m"(stub));
      break;
    }
  }
  return result;
}

}  // namespace pvh::guest
