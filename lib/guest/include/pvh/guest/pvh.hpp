// SPDX-License-Identifier: BSD-2-Clause
// What a kernel includes. It defines pvh_main(); the runtime enters by the PVH note, switches to
// 64-bit mode (or stays in 32-bit mode in a 32-bit kernel) with its own stack, GDT and IDT and the
// first 4 GiB mapped, captures the boot environment, and calls it. A boot that fails is told on the
// console and the machine is stopped. When pvh_main returns, the machine is reset.
#pragma once

#include <cstdint>
#include <string_view>

#include <pvh/guest/boot.hpp>
#include <pvh/guest/command_line.hpp>
#include <pvh/guest/console.hpp>
#include <pvh/guest/dump.hpp>
#include <pvh/guest/mp_table.hpp>
#include <pvh/guest/smp.hpp>
#include <pvh/guest/stop.hpp>

// The kernel's. The Boot lives as long as the kernel. In C the same function has the prototype in
// pvh.h.
extern "C" void pvh_main(pvh::guest::Boot& boot);

namespace pvh::guest {

// The early console: started before capture, so that a failed boot can be told.
[[nodiscard]] Console& console();

// How this machine can be stopped, as far as it is known.
[[nodiscard]] StopWays stop_ways(Boot& boot);

// These do not return: when nothing ends the machine, it halts.
[[noreturn]] void power_off(Boot& boot);
[[noreturn]] void reset(Boot& boot);
[[noreturn]] void crash(Boot& boot, std::string_view why);
[[noreturn]] void halt_forever();

// Shorthand for console().write().
void print(std::string_view text);

}  // namespace pvh::guest

// Where capture() keeps what it finds; the runtime's own has room for kDefaultMapEntries and
// kDefaultModules.
[[nodiscard]] pvh::guest::Storage pvh_storage();

// More room, or less: once, at namespace scope, in one source of the kernel. Not cleared at the
// entry, since all of it is written before it is read.
#define PVH_STORAGE(entries, modules)                                                       \
  [[gnu::section(".bss.pvh_noinit")]] static ::pvh::guest::StorageFor<(entries), (modules)> \
      pvh_storage_arrays{};                                                                 \
  ::pvh::guest::Storage pvh_storage() {                                                     \
    return ::pvh::guest::storage_of(pvh_storage_arrays);                                    \
  }

// Leaves ACPI out of the kernel (some KiB): its tables are neither found nor reserved, and nothing
// is stopped by them. Only for a kernel that takes no memory where they may lie. Once, at namespace
// scope.
#define PVH_WITHOUT_ACPI()                                                              \
  ::pvh::guest::AcpiFound pvh::guest::find_acpi(Machine&, const StartInfo&, bool,       \
                                                std::span<base::Range>, Diagnostics&) { \
    return {};                                                                          \
  }                                                                                     \
  ::pvh::guest::StopWays pvh::guest::stop_ways(Boot& boot) {                            \
    return {.xen = boot.xen(), .acpi = std::nullopt};                                   \
  }

// Leaves the search for an MP table out of the kernel: where there is one, it is not reserved.
// Firecracker's and Cloud Hypervisor's lies in or behind the RAM below 640 KiB, so this is only for
// a kernel that takes no memory there. Once, at namespace scope.
#define PVH_WITHOUT_MP_TABLE()                                               \
  std::optional<::pvh::guest::MpTable> pvh::guest::find_mp_table(Machine&) { \
    return std::nullopt;                                                     \
  }
