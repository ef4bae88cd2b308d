// SPDX-License-Identifier: BSD-2-Clause
// sys/amd64/amd64/pmap.c, create_pagetables() and pmap_bootstrap(), as much as is looked through.
#include "bsd-walk/machine.hpp"

namespace pvh::kernels::bsd {

namespace {

constexpr std::uint64_t kPresentWritable = 0x3;
constexpr std::uint64_t kLarge = 0x80;
constexpr std::uint64_t kLargePage = 2 * kMiB;
constexpr std::size_t kSlots = 512;

using Table = std::uint64_t[kSlots];

alignas(kPage) Table pml4;
alignas(kPage) Table kernel_pdp;
alignas(kPage) Table direct_pdp;
alignas(kPage) std::uint64_t directories[kDirectReach / kLargePage];

std::uint64_t physical(const void* where) {
  return reinterpret_cast<std::uint64_t>(where) - kKernBase;
}

constexpr std::size_t slot(std::uint64_t address, unsigned shift) {
  return address >> shift & (kSlots - 1);
}

}  // namespace

void bootstrap_pmap() {
  for (std::size_t i = 0; i < kDirectReach / kLargePage; ++i) {
    directories[i] = i * kLargePage | kLarge | kPresentWritable;
  }
  for (std::size_t i = 0; i < kDirectReach / kGiB; ++i) {
    direct_pdp[i] = physical(&directories[i * kSlots]) | kPresentWritable;
  }
  kernel_pdp[slot(kKernBase, 30)] = direct_pdp[0];
  pml4[slot(kKernBase, 39)] = physical(kernel_pdp) | kPresentWritable;
  pml4[slot(kDirectMap, 39)] = physical(direct_pdp) | kPresentWritable;
  asm volatile("movq %0, %%cr3" : : "r"(physical(pml4)) : "memory");
}

}  // namespace pvh::kernels::bsd
