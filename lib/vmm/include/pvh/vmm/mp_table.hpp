// SPDX-License-Identifier: BSD-2-Clause
// The MP table, version 1.4, for guests without ACPI (FreeBSD's and NetBSD's small kernels). A pure
// function.
//
// Guests look for the floating pointer in the first KiB of the EBDA (if the BIOS data area names
// one), in the last KiB of base memory, and from 0xf0000 to 0xfffff; only in the last place do
// Linux, FreeBSD and NetBSD all find it without help from a BIOS data area.
#pragma once

#include <expected>

#include <pvh/base/address.hpp>
#include <pvh/vmm/machine_description.hpp>

namespace pvh::vmm {

// How much room the floating pointer and the table need: 212 bytes, 20 more for each CPU, and 8 for
// each virtio device with an interrupt above 15.
[[nodiscard]] base::ByteSize mp_table_size(const MachineDescription& description);

// The floating pointer, at description.mp_table, and the configuration table right behind it. Up to
// 255 CPUs, and below 1 MiB.
[[nodiscard]] std::expected<Table, TableFault> build_mp_table(
    const MachineDescription& description);

}  // namespace pvh::vmm
