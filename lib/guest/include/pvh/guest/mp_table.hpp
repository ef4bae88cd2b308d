// SPDX-License-Identifier: BSD-2-Clause
// The MP table, by which processors were described before ACPI. Nothing here uses it, but kernels
// do (FreeBSD's and NetBSD's small ones), and Cloud Hypervisor leaves it at the end of base memory
// in what its map calls RAM. Structures are in pvh/abi/mp_table.hpp.
#pragma once

#include <optional>

#include <pvh/base/address.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::guest {

struct MpTable {
  base::Range pointer;
  std::optional<base::Range> table;  // what it points at, if that has the right signature
};

// The first floating pointer with a right sum in the EBDA's first KiB or in the last KiB of base
// memory. Alone in its source: PVH_WITHOUT_MP_TABLE puts another in its place. The third place that
// readers know, 0xf0000-0xfffff, is never RAM.
[[nodiscard]] std::optional<MpTable> find_mp_table(Machine& machine);

}  // namespace pvh::guest
