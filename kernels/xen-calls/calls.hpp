// SPDX-License-Identifier: BSD-2-Clause
// Every call of pvh/guest/xen.hpp on a real Xen, each held against what its comment says.
#pragma once

#include <cstdint>
#include <span>

#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/machine.hpp>
#include <pvh/guest/xen.hpp>
#include <pvh/memory_map/map.hpp>

namespace pvh::kernels {

struct Domain {
  guest::Machine& machine;
  const guest::Hypervisors& hypervisors;
  const guest::xen::Token& token;
  std::span<const memory_map::Entry> map;
  bool is_hardware_domain;
  std::uint32_t processors;  // how many there should be
};

// Prints a line for each claim and the plan, in TAP. True: all hold. Whoever calls it sees to the
// last call, shutdown. The kernel must be mapped at its physical addresses.
[[nodiscard]] bool try_every_call(const Domain& domain);

}  // namespace pvh::kernels
