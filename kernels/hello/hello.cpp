// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/pvh.hpp>

void pvh_main(pvh::guest::Boot& /*boot*/) {
  pvh::guest::Machine machine({});
  for (const char c : std::string_view("hello from PVH\n")) {
    machine.out8(0xe9, static_cast<std::uint8_t>(c));
    machine.out8(0x3f8, static_cast<std::uint8_t>(c));
  }
  machine.out8(0xf4, 0x10);
}
