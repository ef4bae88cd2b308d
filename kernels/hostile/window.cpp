// SPDX-License-Identifier: BSD-2-Clause
#include "hostile/window.hpp"

namespace pvh::kernels::hostile {
namespace {

constexpr std::uint64_t kPresentWritable = 3;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kSlot = 2;  // of the top table: linear addresses from 1 TiB on
constexpr std::uint64_t kLinear = kSlot << 39;

alignas(kPage) std::uint64_t third[512];
alignas(kPage) std::uint64_t second[512];
alignas(kPage) std::uint64_t first[512];

volatile std::uint8_t* show(std::uint64_t table) {
  std::uint64_t top = 0;
  asm volatile("movq %%cr3, %0" : "=r"(top));
  third[0] = reinterpret_cast<std::uint64_t>(second) | kPresentWritable;
  second[0] = table | kPresentWritable;
  reinterpret_cast<volatile std::uint64_t*>(top & ~(kPage - 1))[kSlot] =
      reinterpret_cast<std::uint64_t>(third) | kPresentWritable;
  asm volatile("movq %0, %%cr3" : : "r"(top) : "memory");
  return reinterpret_cast<volatile std::uint8_t*>(kLinear);
}

}  // namespace

volatile std::uint8_t* window(std::uint64_t physical) {
  const std::uint64_t page = physical & ~(kPage - 1);
  first[0] = page | kPresentWritable;
  first[1] = (page + kPage) | kPresentWritable;
  return show(reinterpret_cast<std::uint64_t>(first)) + physical % kPage;
}

volatile std::uint8_t* window_by_table_at(std::uint64_t table) {
  return show(table);
}

}  // namespace pvh::kernels::hostile
