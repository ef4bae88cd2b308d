// SPDX-License-Identifier: BSD-2-Clause
// Physical addresses that are not memory, and what a processor can be made to do with them.
#include <iterator>

#include "hostile/attacks.hpp"
#include "hostile/attempt.hpp"
#include "hostile/window.hpp"

namespace pvh::kernels::hostile {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint64_t kLocalApic = 0xfee00000;

template <typename T>
void touch_as(volatile std::uint8_t* at, Random& random) {
  auto* const place = reinterpret_cast<volatile T*>(at);
  if (random.one_in(2)) {
    *place = static_cast<T>(random.next());
  } else {
    static_cast<void>(*place);
  }
}

void touch(volatile std::uint8_t* at, Random& random) {
  switch (random.below(4)) {
    case 0:
      return touch_as<std::uint8_t>(at, random);
    case 1:
      return touch_as<std::uint16_t>(at, random);
    case 2:
      return touch_as<std::uint32_t>(at, random);
    default:
      return touch_as<std::uint64_t>(at, random);
  }
}

void random_memory(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(6000); ++i) {
    const std::uint64_t address = guest.bad_address();
    if (address >> 12 == kLocalApic >> 12) {
      continue;  // processor_attacks.cpp
    }
    static_cast<void>(attempt([&] { touch(window(address), guest.random); }));
  }
}

void scan_memory(Attacker&) {
  // Every power of two and its neighbours: also the bits that the processor has not.
  for (unsigned bit = 20; bit < 64; ++bit) {
    for (const std::uint64_t address :
         {std::uint64_t{1} << bit, (std::uint64_t{1} << bit) - 8, (std::uint64_t{1} << bit) - 4}) {
      static_cast<void>(attempt([&] { static_cast<void>(*window(address)); }));
    }
  }
}

// Instructions that an emulator may not know, or may know half, on an address that is not memory.
void instruction(std::uint32_t which, volatile std::uint8_t* at, std::uint64_t arena) {
  auto address = reinterpret_cast<std::uint64_t>(at);
  std::uint64_t other = arena;
  std::uint64_t count = 24;
  switch (which) {
    case 0:
      asm volatile("rep movsb" : "+D"(other), "+S"(address), "+c"(count) : : "memory");
      break;
    case 1:
      asm volatile("rep movsb" : "+D"(address), "+S"(other), "+c"(count) : : "memory");
      break;
    case 2:
      other = address;
      asm volatile("rep movsl" : "+D"(address), "+S"(other), "+c"(count) : : "memory");
      break;
    case 3:
      asm volatile("rep stosq" : "+D"(address), "+c"(count) : "a"(0) : "memory");
      break;
    case 4:
      asm volatile("lock cmpxchgq %%rcx, (%0)" : : "r"(address) : "rax", "memory", "cc");
      break;
    case 5:
      asm volatile("lock cmpxchg16b (%0)" : : "r"(address & ~15ull) : "rax", "rdx", "memory", "cc");
      break;
    case 6:
      asm volatile("lock xaddl %%ecx, (%0)" : : "r"(address) : "rcx", "memory", "cc");
      break;
    case 7:
      asm volatile("pushq (%0); popq %%rax" : : "r"(address) : "rax", "memory");
      break;
    case 8:
      asm volatile("pushq %%rax; popq (%0)" : : "r"(address) : "memory");
      break;
    case 9:
      asm volatile("btsl %1, (%0)" : : "r"(address), "r"(4097 * 8) : "memory", "cc");
      break;
    case 10:
      asm volatile("movups (%0), %%xmm0; movups %%xmm0, (%0)" : : "r"(address) : "memory");
      break;
    case 11:
      asm volatile("fxsave (%0)" : : "r"(address & ~63ull) : "memory");
      break;
    case 12:
      asm volatile("fldl (%0)" : : "r"(address) : "memory");
      break;
    case 13:
      asm volatile("sgdt (%0)" : : "r"(address) : "memory");
      break;
    case 14:
      asm volatile("clflush (%0); invlpg (%0)" : : "r"(address) : "memory");
      break;
    case 15:
      asm volatile("movbe (%0), %%eax" : : "r"(address) : "rax", "memory");
      break;
    case 16:
      asm volatile("repe cmpsb" : "+D"(address), "+S"(other), "+c"(count) : : "memory", "cc");
      break;
    case 17:
      asm volatile("divq (%0)" : : "r"(address), "a"(1), "d"(0) : "memory", "cc");
      break;
    case 18:
      asm volatile("enter $64, $0; leave" : : : "memory");
      asm volatile("xchgq %%rsp, %0; pushq %%rax; xchgq %%rsp, %0" : "+r"(address) : : "memory");
      break;
    case 19:
      asm volatile("movntil %%eax, (%0)" : : "r"(address) : "memory");
      break;
    case 20:
      asm volatile("verw (%0)" : : "r"(address) : "memory", "cc");
      break;
    case 21:
      asm volatile("xchgq %%rsp, %0; int3; xchgq %%rsp, %0" : "+r"(address) : : "memory");
      break;
    default:
      break;
  }
}

void enable_sse() {
  std::uint64_t cr4 = 0;
  asm volatile("movq %%cr4, %0" : "=r"(cr4));
  asm volatile("movq %0, %%cr4" : : "r"(cr4 | 3u << 9));
}

// Number 1 is the first; 0 is all, one after the other, at a device's configuration, at a hole and
// over its edge.
void instructions(Attacker& guest) {
  enable_sse();
  const std::uint64_t device = guest.devices.empty() ? 0xfec00000 : guest.devices[0].registers();
  for (const std::uint64_t place : {device + 0x100, device + 0xffc, std::uint64_t{0xe0000000}}) {
    for (std::uint32_t which = 0; which < 22; ++which) {
      if (guest.number == 0 || guest.number == which + 1) {
        static_cast<void>(attempt([&] { instruction(which, window(place), guest.arena); }));
      }
    }
  }
}

// Page tables that are read from where nothing is, or where each read is a device's answer.
void tables_in_devices(Attacker& guest) {
  for (std::uint32_t i = 0; i < guest.times(300); ++i) {
    const std::uint64_t table =
        guest.bad_address() & ~std::uint64_t{0xfff} & ((std::uint64_t{1} << 40) - 1);
    static_cast<void>(attempt([&] {
      volatile std::uint8_t* const at = window_by_table_at(table);
      if (guest.random.one_in(2)) {
        *at = 1;
      } else {
        static_cast<void>(*at);
      }
    }));
  }
}

constexpr Attack kAttacks[] = {{"random-memory"sv, random_memory},
                               {"scan-memory"sv, scan_memory},
                               {"instructions"sv, instructions},
                               {"tables-in-devices"sv, tables_in_devices}};

}  // namespace

std::span<const Attack> memory_attacks() {
  return kAttacks;
}

}  // namespace pvh::kernels::hostile
