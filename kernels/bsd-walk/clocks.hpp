// SPDX-License-Identifier: BSD-2-Clause
// The hypervisor, and what there is to tell the time by.
#pragma once

namespace pvh::kernels::bsd {

void walk_clocks();

}  // namespace pvh::kernels::bsd
