// SPDX-License-Identifier: BSD-2-Clause
// What both dumps print. (Private to this library.)
#pragma once

#include <pvh/guest/dump.hpp>

namespace pvh::guest::internal {

void dump_hypervisors(const Hypervisors& hypervisors, LineSink sink, void* context);

}  // namespace pvh::guest::internal
