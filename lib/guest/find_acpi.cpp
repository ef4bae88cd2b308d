// SPDX-License-Identifier: BSD-2-Clause
// Alone in its source: PVH_WITHOUT_ACPI in pvh.hpp puts another one in its place.
#include <pvh/guest/acpi.hpp>

namespace pvh::guest {

AcpiFound find_acpi(Machine& machine, const StartInfo& info, bool on_xen,
                    std::span<base::Range> out, Diagnostics& diagnostics) {
  AcpiFound found;
  found.rsdp = find_rsdp(machine, info.rsdp, !on_xen, diagnostics);
  if (found.rsdp) {
    found.ranges = acpi_ranges(machine, *found.rsdp, out, diagnostics);
  }
  return found;
}

}  // namespace pvh::guest
