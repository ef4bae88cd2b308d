// SPDX-License-Identifier: BSD-2-Clause
// Physical memory as a kernel reaches it.
#include <pvh/base/checked.hpp>
#include <pvh/guest/machine.hpp>

#include "link_symbols.hpp"

namespace pvh::guest {
namespace {

// The page below the boot stack is not mapped.
bool touches_guard([[maybe_unused]] std::uint64_t address, [[maybe_unused]] std::uint64_t size) {
#ifdef __x86_64__
  const std::uint64_t guard = arch::number(pvh_guard_physical);
  return address < guard + base::kPageSize.value() && guard < address + size;
#else
  return false;
#endif
}

void copy_bytes(void* to, const void* from, std::size_t size) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

}  // namespace

std::optional<base::MutableBytes> Machine::reach(base::PhysAddr address, std::uint64_t size) {
  const std::uint64_t first = address.value();
  if (first < translator_.reach) {
    const std::uint64_t left = translator_.reach - first;
    size = size < left ? size : left;
    if (touches_guard(first, size)) {
      return std::nullopt;
    }
    return base::MutableBytes(
        reinterpret_cast<std::byte*>(translator_.offset + static_cast<std::uintptr_t>(first)),
        static_cast<std::size_t>(size));
  }
#ifdef __x86_64__
  constexpr std::uint64_t kWindowSize = std::uint64_t{2} << 20;
  constexpr std::uint64_t kPresentWritableLarge = 0x83;
  if (translator_.window_entry == nullptr) {
    return std::nullopt;
  }
  if (space_end_ == 0) {
    // A page table entry with more bits than the processor has is a fault.
    const bool known = cpuid(0x80000000).eax >= 0x80000008;
    space_end_ = std::uint64_t{1} << (known ? cpuid(0x80000008).eax & 0xff : 36);
  }
  if (first >= space_end_) {
    return std::nullopt;
  }
  const std::uint64_t page = first & ~(kWindowSize - 1);
  if (page != window_page_) {
    *static_cast<volatile std::uint64_t*>(translator_.window_entry) = page | kPresentWritableLarge;
    asm volatile("invlpg (%0)" : : "r"(translator_.window) : "memory");
    window_page_ = page;
  }
  const std::uint64_t left = page + kWindowSize - first;
  return base::MutableBytes(reinterpret_cast<std::byte*>(translator_.window + (first - page)),
                            size < left ? size : left);
#else
  return std::nullopt;
#endif
}

bool Machine::read(base::PhysAddr address, base::MutableBytes out) {
  while (!out.empty()) {
    const auto part = reach(address, out.size());
    if (!part) {
      return false;
    }
    copy_bytes(out.data(), part->data(), part->size());
    out = out.subspan(part->size());
    address = base::PhysAddr(address.value() + part->size());
    if (address.value() == 0) {
      return out.empty();  // the top of the address space
    }
  }
  return true;
}

bool Machine::write(base::PhysAddr address, base::Bytes bytes) {
  while (!bytes.empty()) {
    const auto part = reach(address, bytes.size());
    if (!part) {
      return false;
    }
    copy_bytes(part->data(), bytes.data(), part->size());
    bytes = bytes.subspan(part->size());
    address = base::PhysAddr(address.value() + part->size());
    if (address.value() == 0) {
      return bytes.empty();  // the top of the address space
    }
  }
  return true;
}

std::optional<base::MutableBytes> Machine::view(base::Range range) {
  if (range.last().value() >= translator_.reach) {
    return std::nullopt;
  }
  return reach(range.first(), range.size().value());
}

std::optional<std::uint32_t> Machine::read_mmio32(base::PhysAddr address) {
  const auto part = reach(address, sizeof(std::uint32_t));
  if (!part || part->size() != sizeof(std::uint32_t)) {
    return std::nullopt;
  }
  // One MOV: what a hypervisor's emulator surely knows.
  std::uint32_t value = 0;
  asm volatile("movl %1, %0"
               : "=r"(value)
               : "m"(*reinterpret_cast<volatile std::uint32_t*>(part->data()))
               : "memory");
  return value;
}

bool Machine::write_mmio32(base::PhysAddr address, std::uint32_t value) {
  const auto part = reach(address, sizeof(std::uint32_t));
  if (!part || part->size() != sizeof(std::uint32_t)) {
    return false;
  }
  asm volatile("movl %1, %0"
               : "=m"(*reinterpret_cast<volatile std::uint32_t*>(part->data()))
               : "r"(value)
               : "memory");
  return true;
}

}  // namespace pvh::guest
