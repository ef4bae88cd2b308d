// SPDX-License-Identifier: BSD-2-Clause
// What the parts of the runtime that start processors need of the entry code. Kernels only.
#pragma once

#include <cstdint>

#include <pvh/base/address.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest {
struct Translator;  // a host's Machine has none
}

namespace pvh::guest::arch {

// All memory that the image occupies, with its .bss, boot stack and page tables.
[[nodiscard]] base::Range image();

// By the boot page tables, or without paging in a 32-bit kernel.
[[nodiscard]] Translator boot_translator();

// Takes the identity map away from a higher-half kernel, which has used it to come in: a physical
// address that is taken for a pointer is a fault from here on. Descriptors must be loaded.
void leave_identity_map();

// Loads the runtime's GDT with all selectors, and its IDT, on the processor that runs. The boot
// processor's exceptions have a stack of their own; another's are reported on whatever stack it
// has.
void load_descriptors_on_boot_processor();
void load_descriptors();

#ifdef __x86_64__
// What a processor has to be given to run as this one does.
struct ControlState {
  std::uint64_t cr0 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t efer = 0;
};
[[nodiscard]] ControlState control_state();

// Page tables, below 4 GiB, that map the first 4 GiB to themselves beside the kernel: to switch
// paging on by. In a kernel of the lowest half they are the boot page tables.
[[nodiscard]] base::PhysAddr identity_cr3();
#endif

}  // namespace pvh::guest::arch
