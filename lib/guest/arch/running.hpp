// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <pvh/guest/stop.hpp>

namespace pvh::guest::arch {

// What is known of stopping without a Boot at hand. Without ACPI: its tables are not looked at in a
// machine that has gone wrong.
[[nodiscard]] StopWays running_ways();

}  // namespace pvh::guest::arch
