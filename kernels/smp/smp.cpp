// SPDX-License-Identifier: BSD-2-Clause
// Starts every other processor, each in 64-bit mode on a stack of its own, and lets it say who it
// is. `cpus=N` on the command line is how many there must be.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <pvh/guest/pvh.hpp>
#include <pvh/guest/xen.hpp>

namespace {

using namespace pvh::guest;
using std::string_view_literals::operator""sv;

constexpr std::size_t kMost = 64;
constexpr std::size_t kStackSize = 4096;
constexpr std::uint8_t kOk = 0x10;
constexpr std::uint8_t kFailed = 0x11;

// What a processor tells of itself.
struct Report {
  Boot* boot = nullptr;
  std::uint32_t id = 0;      // of the APIC, on Xen the vCPU's number
  std::uintptr_t stack = 0;  // where its stack is
  std::uint16_t code = 0;    // CS
  std::atomic<bool> written = false;
};

alignas(16) std::byte stacks[kMost][kStackSize];
Report reports[kMost];
Processor processors[kMost];
std::atomic<std::uint32_t> running = 1;

void print_number(std::uint64_t value, unsigned base) {
  char digits[20];
  std::size_t at = sizeof(digits);
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  print(std::string_view(digits + at, sizeof(digits) - at));
}

// By CPUID: its own, and not what anybody told it.
std::uint32_t own_id(Boot& boot) {
  Machine& machine = boot.machine();
  if (boot.xen()) {
    return xen::vcpu_id(machine, *boot.xen()).value_or(UINT32_MAX);
  }
  constexpr std::uint32_t kTopology = 0xb;
  if (machine.cpuid(0).eax >= kTopology && machine.cpuid(kTopology).ebx != 0) {
    return machine.cpuid(kTopology).edx;
  }
  return machine.cpuid(1).ebx >> 24;
}

void report(void* argument) {
  Report& mine = *static_cast<Report*>(argument);
  mine.stack = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  asm volatile("mov %%cs, %0" : "=r"(mine.code));
  mine.id = own_id(*mine.boot);
  running.fetch_add(1);
  mine.written.store(true);
}

std::string_view describe(StartError error) {
  switch (error) {
    case StartError::kNoLowPage:
      return "no low page"sv;
    case StartError::kNoLocalApic:
      return "no local APIC"sv;
    case StartError::kNoAnswer:
      return "no answer"sv;
    case StartError::kXenRefused:
      return "Xen refused"sv;
    case StartError::kUnsupported:
      return "unsupported"sv;
  }
  return "unknown"sv;
}

// Whether it is who was meant, on its own stack.
bool check(const Report& report, std::uint32_t expected, const std::byte* stack) {
  const auto first = reinterpret_cast<std::uintptr_t>(stack);
  print("id "sv);
  print_number(report.id, 10);
  print(" cs 0x"sv);
  print_number(report.code, 16);
  const bool right_id = report.id == expected;
  const bool right_stack = report.stack >= first && report.stack < first + kStackSize;
  print(right_id ? ""sv : " which is not who was started"sv);
  print(right_stack ? "\n"sv : " on a stack that is not its own\n"sv);
  return right_id && right_stack;
}

bool start(ProcessorStarter& starter, Boot& boot, std::size_t index) {
  const Processor& processor = processors[index];
  Report& mine = reports[index];
  mine.boot = &boot;
  print("processor apic "sv);
  if (processor.apic_id == kUnknownApicId) {
    print("unknown"sv);
  } else {
    print_number(processor.apic_id, 10);
  }
  print(" uid "sv);
  print_number(processor.uid, 10);
  print(": "sv);
  const auto started = starter.start(processor, report, &mine, stacks[index] + kStackSize);
  if (!started) {
    print(describe(started.error()));
    print("\n"sv);
    return false;
  }
  while (!mine.written.load()) {
    boot.machine().pause();
  }
  return check(mine, boot.xen() ? processor.uid : processor.apic_id, stacks[index]);
}

bool start_all(Boot& boot) {
  const OtherProcessors others = other_processors(boot, processors);
  bool ok = others.needed == others.processors.size();
  ProcessorStarter starter(boot);
  for (std::size_t i = 0; i < others.processors.size(); ++i) {
    ok = start(starter, boot, i) && ok;
  }
  return ok && running.load() == others.processors.size() + 1;
}

}  // namespace

void pvh_main(Boot& boot) {
  bool ok = start_all(boot);
  print("cpus "sv);
  print_number(running.load(), 10);
  print("\n"sv);
  if (const auto expected = find_argument(boot.command_line(), "cpus"sv)) {
    const auto number = parse_number(expected->value.value_or(""sv));
    if (number != running.load()) {
      print("not as many as cpus= says\n"sv);
      ok = false;
    }
  }
  print(ok ? "verdict ok\n"sv : "verdict failed\n"sv);
  console().flush();
  if (!boot.xen()) {
    debug_exit(boot.machine(), ok ? kOk : kFailed);
  }
  if (ok) {
    power_off(boot);
  }
  crash(boot, "not every processor runs"sv);
}
