// SPDX-License-Identifier: BSD-2-Clause
// The Machine of a kernel: the instructions themselves. What is more than an instruction is in
// arch/machine.cpp.
#pragma once

namespace pvh::guest {

// Physical address to pointer: physical memory below `reach` lies at linear address `offset`. The
// boot page tables reach 4 GiB; a kernel that changes to its own gives its own.
struct Translator {
  std::uintptr_t offset = 0;
  std::uint64_t reach = 0;
  // Memory above `reach` is read and written through a window that is moved over it: one page
  // directory entry of the boot page tables. Nothing: it is out of reach.
  std::uint64_t* window_entry = nullptr;
  std::uintptr_t window = 0;  // linear address of what the entry maps
};

class Machine {
 public:
  explicit Machine(const Translator& translator) : translator_(translator) {}

  // Not for two processors at once above the translator's reach: there is one window.
  bool read(base::PhysAddr address, base::MutableBytes out);
  bool write(base::PhysAddr address, base::Bytes bytes);
  std::optional<base::MutableBytes> view(base::Range range);
  std::optional<std::uint32_t> read_mmio32(base::PhysAddr address);
  bool write_mmio32(base::PhysAddr address, std::uint32_t value);

  CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    CpuidResult result;
    asm volatile("cpuid"
                 : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                 : "a"(leaf), "c"(subleaf));
    return result;
  }
  std::uint64_t read_msr(std::uint32_t index) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
    return low | std::uint64_t{high} << 32;
  }
  void write_msr(std::uint32_t index, std::uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(index), "a"(static_cast<std::uint32_t>(value)),
                   "d"(static_cast<std::uint32_t>(value >> 32))
                 : "memory");
  }
  std::uint64_t read_tsc() {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return low | std::uint64_t{high} << 32;
  }

  std::uint8_t in8(std::uint16_t port) {
    std::uint8_t value = 0;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
  }
  std::uint16_t in16(std::uint16_t port) {
    std::uint16_t value = 0;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
  }
  std::uint32_t in32(std::uint16_t port) {
    std::uint32_t value = 0;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
  }
  void out8(std::uint16_t port, std::uint8_t value) {
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
  }
  void out16(std::uint16_t port, std::uint16_t value) {
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
  }
  void out32(std::uint16_t port, std::uint32_t value) {
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
  }

  std::intptr_t hypercall(const xen::Token& token, std::uint32_t number, Word a = 0, Word b = 0,
                          Word c = 0, Word d = 0, Word e = 0);

  void pause() { asm volatile("pause" : : : "memory"); }

 private:
  // The part of memory from `address` that one mapping shows, at most `size` bytes; nothing when
  // nothing is mapped there. Moves the window.
  std::optional<base::MutableBytes> reach(base::PhysAddr address, std::uint64_t size);

  Translator translator_;
  std::uint64_t window_page_ = UINT64_MAX;  // what the window shows
  std::uint64_t space_end_ = 0;             // first address that the processor has not; 0: unknown
};

}  // namespace pvh::guest
