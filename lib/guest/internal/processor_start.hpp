// SPDX-License-Identifier: BSD-2-Clause
// What a starter leaves for the processor that it starts. arch/trampoline.S reads it, by the
// offsets that are asserted here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <pvh/base/bytes.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/guest/smp.hpp>

namespace pvh::guest {

// In the trampoline page. The three addresses come out of the assembler as offsets in the page.
struct TrampolineData {
  base::Le16 gdt_limit;
  base::Le32 gdt_base;
  base::Le16 unused1;
  base::Le32 protected_mode_entry;
  base::Le16 protected_mode_selector;
  base::Le16 unused2;
  base::Le32 long_mode_entry;
  base::Le16 long_mode_selector;
  base::Le16 unused3;
  base::Le32 cr3;
  base::Le32 efer;
  base::Le32 cr0;
  base::Le32 unused4;
  base::Le64 start;  // linear address of the ProcessorStart
  base::Le64 entry;  // pvh_processor_entry
};
static_assert(sizeof(TrampolineData) == 56);
static_assert(base::Wire<TrampolineData>);
static_assert(offsetof(TrampolineData, protected_mode_entry) == 8);
static_assert(offsetof(TrampolineData, long_mode_entry) == 16);
static_assert(offsetof(TrampolineData, cr3) == 24);
static_assert(offsetof(TrampolineData, efer) == 28);
static_assert(offsetof(TrampolineData, cr0) == 32);
static_assert(offsetof(TrampolineData, start) == 40);
static_assert(offsetof(TrampolineData, entry) == 48);

enum ProcessorState : std::uint32_t {
  kProcessorNotWanted = 0,
  kProcessorWanted = 1,
  kProcessorComes = 2,    // it has taken this start, and reads it
  kProcessorArrived = 3,  // it runs on its stack and reads this no more
};

struct ProcessorStart {
  std::atomic<std::uint32_t> state = kProcessorNotWanted;
  std::uint32_t unused = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  void* stack = nullptr;
  ProcessorEntry entry = nullptr;
  void* argument = nullptr;
};
static_assert(offsetof(ProcessorStart, state) == 0);
static_assert(offsetof(ProcessorStart, cr3) == 8);
static_assert(offsetof(ProcessorStart, cr4) == 16);
static_assert(offsetof(ProcessorStart, stack) == 24);

}  // namespace pvh::guest

extern "C" {
extern const std::byte pvh_trampoline[];
extern const std::byte pvh_trampoline_data[];
extern const std::byte pvh_trampoline_end[];
// Where a processor comes in 64-bit mode, with a ProcessorStart in RDI and no stack.
extern const std::byte pvh_processor_entry[];
// Where it goes on, in C++.
[[noreturn]] void pvh_processor_start(pvh::guest::ProcessorStart* start);
}
