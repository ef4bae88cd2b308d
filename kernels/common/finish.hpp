// SPDX-License-Identifier: BSD-2-Clause
// The end of a kernel that has a verdict, by what each machine has to tell one.
#pragma once

#include <cstdint>

#include <pvh/guest/pvh.hpp>

namespace pvh::kernels {

// What is written to the debug exit: QEMU's process, or ours, ends with 2 * value + 1.
enum class Verdict : std::uint8_t { kGood = 0x10, kBad = 0x11 };

// On Xen a good one powers off and a bad one crashes; elsewhere the debug exit tells, and where
// nobody listens to it the machine is reset.
[[noreturn]] inline void finish(guest::Boot& boot, Verdict verdict) {
  using std::string_view_literals::operator""sv;
  guest::console().flush();
  if (boot.xen()) {
    if (verdict == Verdict::kGood) {
      guest::power_off(boot);
    }
    guest::crash(boot, "the verdict is bad"sv);
  }
  guest::debug_exit(boot.machine(), static_cast<std::uint8_t>(verdict));
  guest::reset(boot);
}

}  // namespace pvh::kernels
