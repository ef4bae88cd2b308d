// SPDX-License-Identifier: BSD-2-Clause
// Alone in its object: PVH_WITHOUT_ACPI replaces it.
#include <pvh/guest/pvh.hpp>

namespace pvh::guest {

StopWays stop_ways(Boot& boot) {
  StopWays ways{.xen = boot.xen(), .acpi = std::nullopt};
  if (boot.rsdp()) {
    Diagnostics unread;
    ways.acpi = acpi_power(boot.machine(), *boot.rsdp(), unread);
  }
  return ways;
}

}  // namespace pvh::guest
