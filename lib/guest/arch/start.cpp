// SPDX-License-Identifier: BSD-2-Clause
// From the first C++ instruction to the kernel's pvh_main.
#include <pvh/guest/pvh.hpp>

#include "link_symbols.hpp"

extern "C" [[noreturn]] void pvh_start(std::uint32_t start_info);

namespace pvh::guest {
namespace {

void halt() {
  asm volatile("cli; hlt");
}

}  // namespace

void halt_forever() {
  for (;;) {
    halt();
  }
}

}  // namespace pvh::guest

void pvh_start(std::uint32_t /*start_info*/) {
  alignas(pvh::guest::Boot) static std::byte nowhere[sizeof(pvh::guest::Boot)];
  pvh_main(reinterpret_cast<pvh::guest::Boot&>(nowhere));
  pvh::guest::halt_forever();
}
