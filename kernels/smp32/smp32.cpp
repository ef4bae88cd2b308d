// SPDX-License-Identifier: BSD-2-Clause
// Wakes every processor by INIT-SIPI-SIPI through the local APIC, counts them, prints "cpus N" and
// exits with value N by the debug exit. `cpus=N` on the command line says how many to wait for;
// without it, it waits as long as it can bear.
#include <stdint.h>

#include "abi_offsets.h"
#include "common32/apic.hpp"
#include "common32/command_line.hpp"
#include "common32/console.hpp"
#include "common32/entry_state.hpp"
#include "common32/io.hpp"

extern "C" {
extern const char trampoline[];
extern const char trampoline_gdt[];
extern const char trampoline_end[];
extern const char own_gdt_pointer[];
extern volatile uint32_t started_cpus;
void load_own_gdt();
void kernel_main(const pvh::kernels::EntryState* entry);
}

namespace pvh::kernels {
namespace {

// Conventional memory that no boot structure occupies any more once kernel_main has read them.
constexpr uint32_t kTrampolinePage = 0x8000;

constexpr uint16_t kDebugExit = 0xf4;
constexpr uint16_t kKeyboardCommand = 0x64;

// In cycles of the time stamp counter, which runs at 1 to 5 GHz on everything that this meets.
constexpr uint64_t kInitDelay = 20'000'000;
constexpr uint64_t kSipiDelay = 1'000'000;
constexpr uint64_t kCountDelay = 1'000'000'000;

Console console;

uint64_t now() {
  uint32_t low;
  uint32_t high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return uint64_t{high} << 32 | low;
}

// Until `wanted` processors run, or the time is up.
void wait(uint64_t cycles, uint32_t wanted) {
  const uint64_t start = now();
  while (now() - start < cycles && started_cpus + 1 < wanted) {
    asm volatile("pause");
  }
}

void send(uint32_t command) {
  write32(apic::kCommandHigh, 0);
  write32(apic::kCommandLow, command);
  for (uint32_t i = 0; i < 1000 && (read32(apic::kCommandLow) & apic::kDeliveryPending) != 0; ++i) {
  }
}

void place_trampoline() {
  const uint32_t size = static_cast<uint32_t>(trampoline_end - trampoline);
  volatile uint8_t* const page = reinterpret_cast<volatile uint8_t*>(kTrampolinePage);
  for (uint32_t i = 0; i < size; ++i) {
    page[i] = static_cast<uint8_t>(trampoline[i]);
  }
  const uint32_t gdt = static_cast<uint32_t>(trampoline_gdt - trampoline);
  for (uint32_t i = 0; i < 6; ++i) {
    page[gdt + i] = static_cast<uint8_t>(own_gdt_pointer[i]);
  }
}

[[noreturn]] void run(const EntryState& entry) {
  constexpr uint32_t kNoLimit = ~uint32_t{0};
  console.start();
  uint32_t wanted = kNoLimit;
  if (read32(entry.ebx + HVM_START_INFO_MAGIC) == HVM_START_MAGIC) {
    const uint64_t cmdline = read64(entry.ebx + HVM_START_INFO_CMDLINE_PADDR);
    const Option option = find_option(static_cast<uint32_t>(cmdline), "cpus");
    wanted = option.value != 0 ? option.value : kNoLimit;
  }
  load_own_gdt();
  place_trampoline();
  write32(apic::kSpuriousVector, apic::kEnable);
  send(apic::kAllButSelf | apic::kAssert | apic::kInit);
  wait(kInitDelay, kNoLimit);
  send(apic::kAllButSelf | apic::kAssert | apic::kStartUp | kTrampolinePage >> 12);
  wait(kSipiDelay, wanted);
  // A processor that runs already ignores the second one.
  send(apic::kAllButSelf | apic::kAssert | apic::kStartUp | kTrampolinePage >> 12);
  wait(kCountDelay, wanted);
  const uint32_t cpus = started_cpus + 1;
  console.text("cpus ");
  console.decimal(cpus);
  console.put('\n');
  console.flush();
  out8(kDebugExit, static_cast<uint8_t>(cpus));
  out8(kKeyboardCommand, 0xfe);
  halt_for_ever();
}

}  // namespace
}  // namespace pvh::kernels

extern "C" void kernel_main(const pvh::kernels::EntryState* entry) {
  pvh::kernels::run(*entry);
}
