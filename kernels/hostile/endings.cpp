// SPDX-License-Identifier: BSD-2-Clause
// The ways out of which the monitor must find one itself.
#include <iterator>

#include "hostile/attacks.hpp"
#include "hostile/attempt.hpp"
#include "hostile/window.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

void triple_fault(Attacker&) {
  const TablePointer nothing{0, 0};
  asm volatile("lidt %0; int3" : : "m"(nothing));
}

// An IDT that is read from where nothing is.
void idt_in_a_hole(Attacker&) {
  const TablePointer hole{0xfff, 0xe0000000};
  asm volatile("lidt %0; int3" : : "m"(hole));
}

void spin(Attacker&) {
  asm volatile("cli");
  for (;;) {
    asm volatile("" : : : "memory");
  }
}

void halt(Attacker&) {
  for (;;) {
    asm volatile("cli; hlt");
  }
}

void run_a_device(Attacker& guest) {
  const std::uint64_t device = guest.devices.empty() ? 0xfec00000 : guest.devices[0].registers();
  reinterpret_cast<void (*)()>(device)();
}

void run_a_hole(Attacker&) {
  reinterpret_cast<void (*)()>(0xe0000000)();
}

// With requests on their way to every device: those that come back must not land in the next life.
void reset(Attacker& guest) {
  auto* const queues = reinterpret_cast<Queue*>(guest.arena);
  const std::uint64_t buffer = guest.arena + 0x10000;
  for (const Device& device : guest.devices) {
    device.bring_up(~std::uint64_t{0}, queues);
    const Buffer chain[] = {
        {buffer, 16, false}, {buffer + 4096, 65536, true}, {buffer + 16, 1, true}};
    for (std::uint32_t index = 0; index < device.queues(); ++index) {
      for (int many = 0; many < 8; ++many) {
        offer(queues[index], chain);
      }
      device.ring(index);
    }
  }
  guest::reset(guest.boot);
}

void power_off(Attacker& guest) {
  guest::power_off(guest.boot);
}

void exit_at_once(void* boot) {
  guest::debug_exit(static_cast<guest::Boot*>(boot)->machine(), 0x10);
}

// Every processor ends the machine at the same moment.
void everybody_ends(Attacker& guest) {
  static guest::Processor processors[7];
  static std::uint8_t stacks[std::size(processors)][4096] __attribute__((aligned(16)));
  guest::ProcessorStarter starter(guest.boot);
  std::size_t count = 0;
  for (const guest::Processor& processor :
       guest::other_processors(guest.boot, processors).processors) {
    static_cast<void>(
        starter.start(processor, exit_at_once, &guest.boot, stacks[count] + sizeof(stacks[count])));
    ++count;
  }
  exit_at_once(&guest.boot);
}

constexpr Attack kEndings[] = {{"triple-fault"sv, triple_fault},
                               {"idt-in-a-hole"sv, idt_in_a_hole},
                               {"spin"sv, spin},
                               {"halt"sv, halt},
                               {"run-a-device"sv, run_a_device},
                               {"run-a-hole"sv, run_a_hole},
                               {"reset"sv, reset},
                               {"power-off"sv, power_off},
                               {"everybody-ends"sv, everybody_ends}};

}  // namespace

std::span<const Attack> endings() {
  return kEndings;
}

}  // namespace pvh::kernels::hostile
