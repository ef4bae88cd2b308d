// SPDX-License-Identifier: BSD-2-Clause
// Runs in the highest 2 GiB of addresses, without an identity map since before start_info was read.
#include <pvh/guest/pvh.hpp>

namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint8_t kOk = 0x10;
constexpr std::uint8_t kLow = 0x11;       // linked below
constexpr std::uint8_t kIdentity = 0x12;  // the lowest slot of the top page table is in use
constexpr std::uint8_t kNoMemory = 0x13;  // no module, or it cannot be read

pvh::base::PhysAddr top_page_table() {
  std::uint64_t cr3 = 0;
  asm volatile("movq %%cr3, %0" : "=r"(cr3));
  return pvh::base::PhysAddr(cr3 & ~std::uint64_t{0xfff});
}

std::uint8_t verdict(pvh::guest::Boot& boot) {
  if (reinterpret_cast<std::uintptr_t>(&verdict) < 0xffffffff80000000) {
    return kLow;
  }
  std::array<std::byte, 8> slot;
  if (!boot.machine().read(top_page_table(), slot) || slot != std::array<std::byte, 8>{}) {
    return kIdentity;
  }
  for (const pvh::guest::Module& module : boot.modules()) {
    const auto bytes = boot.machine().view(*module.range);
    if (!bytes) {
      return kNoMemory;
    }
    pvh::guest::print("module: "sv);
    pvh::guest::print({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  }
  return kOk;
}

}  // namespace

void pvh_main(pvh::guest::Boot& boot) {
  pvh::guest::print("higher-half: "sv);
  pvh::guest::print(boot.command_line());
  pvh::guest::print("\n"sv);
  const std::uint8_t value = verdict(boot);
  pvh::guest::console().flush();
  pvh::guest::debug_exit(boot.machine(), value);
}
