// SPDX-License-Identifier: BSD-2-Clause
// sys/dev/virtio/mmio: the devices, from the DSDT or from the command line.
#pragma once

#include "bsd-walk/acpi.hpp"

namespace pvh::kernels::bsd {

// `inputs` of the I/O APICs, by whichever table describes them; 0 when none does, and FreeBSD is
// left to the 8259s.
void walk_virtio(const Acpi& acpi, const Environment& environment, std::uint32_t inputs);

}  // namespace pvh::kernels::bsd
