// SPDX-License-Identifier: BSD-2-Clause
// Reads everything that a PVH loader hands over, prints it on COM1 line by line, and judges it. It
// stays in 32-bit mode without paging, as it was entered, and trusts EBX alone. The lines and the
// exit values are in kernels/README.md; tests/ parses them.
#include <stdint.h>

#include "abi_offsets.h"
#include "common32/apic.hpp"
#include "common32/command_line.hpp"
#include "common32/console.hpp"
#include "common32/entry_state.hpp"
#include "common32/io.hpp"
#include "common32/uart.hpp"
#include "startinfo32/acpi.hpp"

extern "C" {
void load_own_gdt();
void serial_interrupt_entry();
void serial_interrupt();
[[noreturn]] void triple_fault();
[[noreturn]] void unemulated_instruction();
extern const char unemulated_instruction_at[];
void kernel_main(const pvh::kernels::EntryState* entry);
}

namespace pvh::kernels {
namespace {

constexpr uint16_t kDebugConsole = 0xe9;
constexpr uint16_t kDebugExit = 0xf4;
constexpr uint16_t kKeyboardCommand = 0x64;
constexpr uint8_t kPulseReset = 0xfe;

// What is written to the debug exit. The process then exits with twice the value plus one.
enum class Verdict : uint8_t { kOk = 0x10, kBadMagic = 0x11, kBadPointer = 0x12, kBadRsdp = 0x13 };

// Printing costs; what lies beyond these is counted but not shown.
constexpr uint32_t kShownModules = 16;
constexpr uint32_t kShownMapEntries = 64;
constexpr uint32_t kShownText = 256;
constexpr uint32_t kLongestText = 16u << 20;
constexpr uint32_t kSummedEnds = 512;

Console console;
Verdict verdict = Verdict::kOk;
bool sum_all = false;

void complain(Verdict what) {
  if (verdict == Verdict::kOk) {
    verdict = what;
  }
}

// Whether a kernel without paging can follow this pointer.
bool reachable(uint64_t address, uint64_t size) {
  constexpr uint64_t kEnd = uint64_t{1} << 32;
  return address != 0 && address < kEnd && size <= kEnd - address;
}

uint32_t sum_words(uint32_t address, uint32_t size, uint32_t sum) {
  for (; size >= 4; size -= 4, address += 4) {
    sum = (sum << 1 | sum >> 31) + read32(address);
  }
  if (size != 0) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < size; ++i) {
      last |= uint32_t{read8(address + i)} << (8 * i);
    }
    sum = (sum << 1 | sum >> 31) + last;
  }
  return sum;
}

// Over all bytes, or over the first and the last 512 when there are more than both together and
// nobody asked for all.
uint32_t checksum(uint32_t address, uint32_t size) {
  if (sum_all || size <= 2 * kSummedEnds) {
    return sum_words(address, size, 0);
  }
  const uint32_t head = sum_words(address, kSummedEnds, 0);
  return sum_words(address + size - kSummedEnds, kSummedEnds, head);
}

void print_text(const char* name, uint64_t pointer) {
  if (pointer == 0) {
    return;
  }
  if (!reachable(pointer, 1)) {
    complain(Verdict::kBadPointer);
    return;
  }
  const uint32_t address = static_cast<uint32_t>(pointer);
  uint32_t length = 0;
  while (length < kLongestText && address + length != 0 && read8(address + length) != 0) {
    ++length;
  }
  if (length == kLongestText || address + length == 0) {
    complain(Verdict::kBadPointer);
  }
  console.field("length", length);
  console.put(' ');
  console.text(name);
  console.put('=');
  console.quoted(address, length < kShownText ? length : kShownText);
  if (length > kShownText) {
    console.field("sum", checksum(address, length));
  }
}

void print_reserved(uint64_t value) {
  if (value != 0) {
    console.field("reserved", value);
  }
}

void print_indexed(const char* what, uint32_t index) {
  console.text(what);
  console.put(' ');
  console.decimal(index);
}

void print_modules(uint64_t list, uint32_t count) {
  if (count == 0) {
    return;
  }
  if (!reachable(list, uint64_t{count} * HVM_MODLIST_SIZE)) {
    complain(Verdict::kBadPointer);
    return;
  }
  for (uint32_t i = 0; i < count && i < kShownModules; ++i) {
    const uint32_t entry = static_cast<uint32_t>(list) + i * HVM_MODLIST_SIZE;
    const uint64_t paddr = read64(entry + HVM_MODLIST_PADDR);
    const uint64_t size = read64(entry + HVM_MODLIST_SIZE_FIELD);
    const uint64_t cmdline = read64(entry + HVM_MODLIST_CMDLINE_PADDR);
    print_indexed("module", i);
    console.field("paddr", paddr);
    console.field("size", size);
    print_reserved(read64(entry + HVM_MODLIST_RESERVED));
    if (reachable(paddr, size) && size >> 32 == 0) {
      console.field("sum", checksum(static_cast<uint32_t>(paddr), static_cast<uint32_t>(size)));
    } else {
      complain(Verdict::kBadPointer);
    }
    console.field("cmdline", cmdline);
    print_text("text", cmdline);
    console.put('\n');
  }
}

void print_memory_map(uint64_t table, uint32_t count) {
  if (count == 0) {
    return;
  }
  if (!reachable(table, uint64_t{count} * HVM_MEMMAP_ENTRY_SIZE)) {
    complain(Verdict::kBadPointer);
    return;
  }
  for (uint32_t i = 0; i < count && i < kShownMapEntries; ++i) {
    const uint32_t entry = static_cast<uint32_t>(table) + i * HVM_MEMMAP_ENTRY_SIZE;
    print_indexed("memmap", i);
    console.field("addr", read64(entry + HVM_MEMMAP_ADDR));
    console.field("size", read64(entry + HVM_MEMMAP_SIZE_FIELD));
    console.field("type", read32(entry + HVM_MEMMAP_TYPE));
    print_reserved(read32(entry + HVM_MEMMAP_RESERVED));
    console.put('\n');
  }
}

bool sums_to_zero(uint32_t address, uint32_t size) {
  uint8_t sum = 0;
  for (uint32_t i = 0; i < size; ++i) {
    sum = static_cast<uint8_t>(sum + read8(address + i));
  }
  return sum == 0;
}

// ACPI 6.5 table 5.3: the first 20 bytes sum to zero, from revision 2 on all 36 do too.
void print_rsdp(uint64_t pointer) {
  constexpr uint64_t kSignature = 0x2052'5450'2044'5352;  // "RSD PTR "
  constexpr uint32_t kRevision = 15, kRsdt = 16, kLength = 20, kXsdt = 24;
  constexpr uint32_t kSizeRevision0 = 20, kSizeRevision2 = 36;
  if (pointer == 0) {
    return;
  }
  if (!reachable(pointer, kSizeRevision2)) {
    complain(Verdict::kBadPointer);
    return;
  }
  const uint32_t rsdp = static_cast<uint32_t>(pointer);
  const uint8_t revision = read8(rsdp + kRevision);
  const bool signature = read64(rsdp) == kSignature;
  const bool sum = sums_to_zero(rsdp, kSizeRevision0) &&
                   (revision < 2 || (read32(rsdp + kLength) == kSizeRevision2 &&
                                     sums_to_zero(rsdp, kSizeRevision2)));
  console.text(signature ? "rsdp signature=ok" : "rsdp signature=bad");
  console.text(sum ? " checksum=ok" : " checksum=bad");
  console.field("revision", revision);
  console.field("rsdt", read32(rsdp + kRsdt));
  if (revision >= 2) {
    console.field("xsdt", read64(rsdp + kXsdt));
  }
  console.put('\n');
  if (!signature || !sum) {
    complain(Verdict::kBadRsdp);
  }
}

void print_entry_state(const EntryState& entry) {
  console.text("regs");
  console.field("eax", entry.eax);
  console.field("ebx", entry.ebx);
  console.field("ecx", entry.ecx);
  console.field("edx", entry.edx);
  console.field("esi", entry.esi);
  console.field("edi", entry.edi);
  console.field("ebp", entry.ebp);
  console.field("esp", entry.esp);
  console.field("eflags", entry.eflags);
  console.field("cr0", entry.cr0);
  console.field("cr3", entry.cr3);
  console.field("cr4", entry.cr4);
  console.text("\nsegments");
  console.field("cs", entry.cs);
  console.field("ds", entry.ds);
  console.field("es", entry.es);
  console.field("fs", entry.fs);
  console.field("gs", entry.gs);
  console.field("ss", entry.ss);
  console.field("tr", entry.tr);
  console.field("ldtr", entry.ldtr);
  console.text("\ntables");
  console.field("gdt_base", uint32_t{entry.gdtr_base_high} << 16 | entry.gdtr_base_low);
  console.field("gdt_limit", entry.gdtr_limit);
  console.field("idt_base", uint32_t{entry.idtr_base_high} << 16 | entry.idtr_base_low);
  console.field("idt_limit", entry.idtr_limit);
  console.put('\n');
}

struct Handed {
  uint32_t cmdline;  // 0: none
  uint64_t rsdp;     // likewise
};

// Prints all of it, and gives what is still needed.
Handed report(const EntryState& entry) {
  const uint32_t info = entry.ebx;
  print_entry_state(entry);
  const uint32_t magic =
      reachable(info, HVM_START_INFO_SIZE_V0) ? read32(info + HVM_START_INFO_MAGIC) : 0;
  console.text("start_info");
  console.field("paddr", info);
  console.field("magic", magic);
  if (magic != HVM_START_MAGIC) {
    console.put('\n');
    complain(Verdict::kBadMagic);
    return {0, 0};
  }
  const uint32_t version = read32(info + HVM_START_INFO_VERSION);
  const uint32_t nr_modules = read32(info + HVM_START_INFO_NR_MODULES);
  const uint64_t modlist = read64(info + HVM_START_INFO_MODLIST_PADDR);
  const uint64_t cmdline = read64(info + HVM_START_INFO_CMDLINE_PADDR);
  const uint64_t rsdp = read64(info + HVM_START_INFO_RSDP_PADDR);
  console.field("version", version);
  console.field("flags", read32(info + HVM_START_INFO_FLAGS));
  console.field("nr_modules", nr_modules);
  console.field("modlist", modlist);
  console.field("cmdline", cmdline);
  console.field("rsdp", rsdp);
  uint64_t memmap = 0;
  uint32_t memmap_entries = 0;
  // Version 0 ends here: what follows in memory is somebody else's.
  if (version >= 1) {
    memmap = read64(info + HVM_START_INFO_MEMMAP_PADDR);
    memmap_entries = read32(info + HVM_START_INFO_MEMMAP_ENTRIES);
    console.field("memmap", memmap);
    console.field("entries", memmap_entries);
    print_reserved(read32(info + HVM_START_INFO_RESERVED));
  }
  console.text("\ncmdline");
  print_text("text", cmdline);
  console.put('\n');
  sum_all = reachable(cmdline, 1) && find_option(static_cast<uint32_t>(cmdline), "sum-all").present;
  print_modules(modlist, nr_modules);
  print_memory_map(memmap, memmap_entries);
  print_rsdp(rsdp);
  return {reachable(cmdline, 1) ? static_cast<uint32_t>(cmdline) : 0,
          verdict == Verdict::kOk ? rsdp : 0};
}

const char* name_of(Verdict value) {
  switch (value) {
    case Verdict::kOk:
      return "verdict ok\n";
    case Verdict::kBadMagic:
      return "verdict bad-magic\n";
    case Verdict::kBadPointer:
      return "verdict bad-pointer\n";
    case Verdict::kBadRsdp:
      return "verdict bad-rsdp\n";
  }
  return "verdict unknown\n";
}

// Lines of 64 bytes that count, so that a lost or repeated byte shows.
void flood(uint32_t bytes) {
  for (uint32_t line = 0; line < bytes / 64; ++line) {
    console.text("flood ");
    for (uint32_t shift = 32; shift != 0; shift -= 4) {
      console.put("0123456789abcdef"[line >> (shift - 4) & 0xf]);
    }
    console.text(" ................................................\n");
  }
  console.flush();
}

void echo(char c) {
  console.put(c);
  console.flush();
}

void echo_by_polling() {
  console.text("echo\n");
  console.flush();
  for (char c = 0; c != 'q';) {
    if ((in8(uart::kLineStatus) & uart::kDataReady) != 0) {
      c = static_cast<char>(in8(uart::kData));
      echo(c);
    }
  }
}

volatile bool quit_seen = false;

constexpr uint16_t kPic1Command = 0x20, kPic1Data = 0x21, kPic2Command = 0xa0, kPic2Data = 0xa1;
constexpr uint8_t kEndOfInterrupt = 0x20;
constexpr uint8_t kSerialIrq = 4;
constexpr uint8_t kFirstVector = 0x20;

// The 8259A pair (Intel's data sheet): ICW1 edge and cascade, ICW2 vector, ICW3 wiring, ICW4 8086
// mode.
void start_pics() {
  out8(kPic1Command, 0x11);
  out8(kPic1Data, kFirstVector);
  out8(kPic1Data, 0x04);
  out8(kPic1Data, 0x01);
  out8(kPic2Command, 0x11);
  out8(kPic2Data, kFirstVector + 8);
  out8(kPic2Data, 0x02);
  out8(kPic2Data, 0x01);
  out8(kPic1Data, static_cast<uint8_t>(~(1u << kSerialIrq)));
  out8(kPic2Data, 0xff);
  // Not every loader leaves the local APIC letting them through.
  write32(apic::kSpuriousVector, apic::kEnable);
  write32(apic::kLocalInterrupt0, apic::kExternalInterrupt);
}

void echo_by_interrupt() {
  constexpr uint32_t kGates = kFirstVector + kSerialIrq + 1;
  static uint64_t idt[kGates];
  struct [[gnu::packed]] {
    uint16_t limit;
    uint32_t base;
  } const pointer = {sizeof(idt) - 1, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(idt))};
  const uint32_t handler =
      static_cast<uint32_t>(reinterpret_cast<uintptr_t>(&serial_interrupt_entry));
  constexpr uint64_t kInterruptGate = uint64_t{0x8e00} << 32;
  constexpr uint64_t kCodeSelector = uint64_t{0x08} << 16;
  idt[kGates - 1] =
      uint64_t{handler & 0xffff} | kCodeSelector | kInterruptGate | uint64_t{handler >> 16} << 48;
  load_own_gdt();
  asm volatile("lidt %0" : : "m"(pointer));
  start_pics();
  console.text("echo-irq\n");
  console.flush();
  out8(uart::kInterruptEnable, uart::kReceiveInterrupt);
  while (!quit_seen) {
    // STI delays interrupts by one instruction: none can slip in between it and HLT.
    asm volatile("sti; hlt; cli" : : : "memory");
  }
  out8(uart::kInterruptEnable, 0);
}

[[noreturn]] void finish(uint8_t value) {
  out8(kDebugExit, value);
  // Nobody listens there: ask for a reset.
  out8(kKeyboardCommand, kPulseReset);
  halt_for_ever();
}

[[noreturn]] void run(const EntryState& entry) {
  console.start();
  const auto [cmdline, rsdp] = report(entry);
  console.text(name_of(verdict));
  if (find_option(cmdline, "badinsn").present) {
    console.text("badinsn");
    console.field("rip", reinterpret_cast<uintptr_t>(unemulated_instruction_at));
    console.put('\n');
  }
  console.flush();

  if (find_option(cmdline, "debug-console").present) {
    constexpr char kText[] = "debug console\n";
    out8_string(kDebugConsole, kText, sizeof(kText) - 1);
  }
  if (const Option option = find_option(cmdline, "flood"); option.present) {
    flood(option.value != 0 ? option.value : 1u << 20);
  }
  if (find_option(cmdline, "echo").present) {
    echo_by_polling();
  }
  if (find_option(cmdline, "echo-irq").present) {
    echo_by_interrupt();
  }
  if (find_option(cmdline, "reset").present) {
    out8(kKeyboardCommand, kPulseReset);
    halt_for_ever();
  }
  if (find_option(cmdline, "poweroff").present && acpi::power_off(rsdp)) {
    halt_for_ever();
  }
  if (find_option(cmdline, "acpi-reset").present && acpi::reset(rsdp)) {
    halt_for_ever();
  }
  if (find_option(cmdline, "triple").present) {
    triple_fault();
  }
  if (find_option(cmdline, "badinsn").present) {
    unemulated_instruction();
  }
  if (find_option(cmdline, "hang").present) {
    for (;;) {
      asm volatile("");
    }
  }
  if (find_option(cmdline, "hlt").present) {
    halt_for_ever();
  }
  const Option exit = find_option(cmdline, "exit");
  finish(exit.present ? static_cast<uint8_t>(exit.value) : static_cast<uint8_t>(verdict));
}

}  // namespace
}  // namespace pvh::kernels

extern "C" void serial_interrupt() {
  using namespace pvh::kernels;
  while ((in8(uart::kLineStatus) & uart::kDataReady) != 0) {
    const char c = static_cast<char>(in8(uart::kData));
    echo(c);
    if (c == 'q') {
      quit_seen = true;
    }
  }
  out8(kPic1Command, kEndOfInterrupt);
}

extern "C" void kernel_main(const pvh::kernels::EntryState* entry) {
  pvh::kernels::run(*entry);
}
