// SPDX-License-Identifier: BSD-2-Clause
// Instructions, and physical memory through the two maps that FreeBSD has at boot.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <pvh/base/bytes.hpp>
#include <pvh/base/little_endian.hpp>

namespace pvh::kernels::bsd {

inline constexpr std::uint64_t kMiB = 1u << 20;
inline constexpr std::uint64_t kGiB = 1u << 30;
inline constexpr std::uint64_t kPage = 4096;

// sys/amd64/include/vmparam.h: where locore shows the first GiB. What lies above is not there; the
// tables alias it to something else, without a fault.
inline constexpr std::uint64_t kKernBase = 0xffffffff80000000;
inline constexpr std::uint64_t kBootReach = kGiB;

// Likewise: the direct map, which pmap_bootstrap() makes. Here it has the first 4 GiB, which is
// where tables and devices are.
inline constexpr std::uint64_t kDirectMap = 0xfffff80000000000;
inline constexpr std::uint64_t kDirectReach = 4 * kGiB;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
  return (value + to - 1) & ~(to - 1);
}

constexpr bool within(std::uint64_t reach, std::uint64_t address, std::uint64_t size) {
  return address < reach && size <= reach - address;
}

// Copies byte by byte: nothing here promises alignment.
template <base::Wire T>
T load(std::uint64_t virtual_address) {
  const auto* from = reinterpret_cast<const volatile std::byte*>(virtual_address);
  std::array<std::byte, sizeof(T)> bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[i] = from[i];
  }
  return std::bit_cast<T>(bytes);
}

// Before pmap_bootstrap(): paddr + KERNBASE.
template <base::Wire T>
T boot_read(std::uint64_t address) {
  return load<T>(address + kKernBase);
}

// After it: PHYS_TO_DMAP().
template <base::Wire T>
T read(std::uint64_t address) {
  return load<T>(address + kDirectMap);
}

// sys/amd64/amd64/pmap.c, pmap_bootstrap(): tables of the kernel's own. Afterwards there is nothing
// at 0, nor anywhere but at KERNBASE and in the direct map.
void bootstrap_pmap();

inline std::uint32_t read_register(std::uint64_t address) {
  return *reinterpret_cast<const volatile std::uint32_t*>(address + kDirectMap);
}

inline void write_register(std::uint64_t address, std::uint32_t value) {
  *reinterpret_cast<volatile std::uint32_t*>(address + kDirectMap) = value;
}

inline void out8(std::uint16_t port, std::uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

inline void out16(std::uint16_t port, std::uint16_t value) {
  asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

inline std::uint8_t in8(std::uint16_t port) {
  std::uint8_t value = 0;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}

struct Cpuid {
  std::uint32_t eax, ebx, ecx, edx;
};

inline Cpuid cpuid(std::uint32_t leaf) {
  Cpuid result{};
  asm volatile("cpuid"
               : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
               : "a"(leaf), "c"(0));
  return result;
}

inline std::uint64_t read_msr(std::uint32_t number) {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
  return std::uint64_t{high} << 32 | low;
}

inline std::uint64_t read_tsc() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return std::uint64_t{high} << 32 | low;
}

}  // namespace pvh::kernels::bsd
