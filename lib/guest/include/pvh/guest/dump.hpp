// SPDX-License-Identifier: BSD-2-Clause
// The whole boot environment in words: what people write by hand today when a kernel does not come
// up. Lines end with '\n'; `sink` is called with one line each.
#pragma once

#include <string_view>

#include <pvh/guest/boot.hpp>

namespace pvh::guest {

using LineSink = void (*)(void* context, std::string_view line);

// Hypervisors, start_info, command line, modules, the map as handed over and as normalised,
// reservations, free RAM, RSDP, diagnostics.
void dump(const Boot& boot, LineSink sink, void* context);

// For a boot that failed: the error, start_info's address and its dwords, the hypervisors.
void dump_failure(Machine& machine, base::PhysAddr start_info, const BootError& error,
                  const Hypervisors& hypervisors, LineSink sink, void* context);

}  // namespace pvh::guest
