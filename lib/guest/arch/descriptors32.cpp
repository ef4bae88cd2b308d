// SPDX-License-Identifier: BSD-2-Clause
// The IDT of a 32-bit kernel. Its exceptions run on the stack there is: without paging and with
// flat segments no push can fault, so there is nothing a second stack would save.
#include <pvh/guest/internal/arch.hpp>

#include "descriptors.hpp"
#include "link_symbols.hpp"

namespace pvh::guest::arch {
namespace {

constexpr std::uint64_t kCode = 0x08;  // as in entry32.S
constexpr std::uint64_t kInterruptGate = 0x8e00;

std::uint64_t idt[kVectors];

}  // namespace

void load_descriptors_on_boot_processor() {
  std::uint64_t address = number(pvh_exception_vectors);
  for (std::uint64_t& gate : idt) {
    gate = (address & 0xffff) | kCode << 16 | kInterruptGate << 32 | (address >> 16) << 48;
    address += kVectorSize;
  }
  load_idt(idt, idt + kVectors);
  guard_stack();
}

}  // namespace pvh::guest::arch
