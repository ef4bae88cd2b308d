// SPDX-License-Identifier: BSD-2-Clause
// Makes the mistake that the command line names: it must be told, not end in a silent triple fault.
#include <pvh/guest/pvh.hpp>

namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint8_t kNoFault = 0x11;  // to the debug exit: the mistake had no consequence

[[gnu::noinline]] int overflow_stack(int depth) {
  volatile char frame[256];
  frame[0] = static_cast<char>(depth);
  if (depth < 0) {  // as the compiler cannot know, it will not be
    return 0;
  }
  return overflow_stack(depth + 1) + frame[0];
}

void make_mistake(std::string_view word) {
  if (word == "ud2"sv) {
    asm volatile("ud2");
  } else if (word == "divide"sv) {
    asm volatile("divl %0" : : "r"(0), "a"(1), "d"(0) : "cc");
  } else if (word == "gp"sv) {
    // A selector behind the end of the GDT.
    asm volatile("movl %0, %%fs" : : "r"(0xfff8));
  } else if (word == "stack"sv) {
    static_cast<void>(overflow_stack(0));
  } else if (word == "bad-stack"sv) {
#ifdef __x86_64__
    asm volatile("movq %0, %%rsp; pushq %%rax" : : "r"(std::uint64_t{1} << 46));
#endif
  } else if (word == "page-fault"sv) {
#ifdef __x86_64__
    *reinterpret_cast<volatile char*>(std::uint64_t{1} << 46) = 1;
#endif
  }
}

}  // namespace

void pvh_main(pvh::guest::Boot& boot) {
  pvh::guest::print("fault: "sv);
  pvh::guest::print(boot.command_line());
  pvh::guest::print("\n"sv);
  pvh::guest::console().flush();
  make_mistake(boot.command_line());
  pvh::guest::print("nothing happened\n"sv);
  pvh::guest::console().flush();
  pvh::guest::debug_exit(boot.machine(), kNoFault);
}
