// SPDX-License-Identifier: BSD-2-Clause
// The smallest kernel on the runtime: says where it is, and ends.
#include <pvh/guest/pvh.hpp>

// It takes no memory, so nothing can come to lie over the firmware's tables.
PVH_WITHOUT_ACPI()
PVH_WITHOUT_MP_TABLE()

namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint8_t kOk = 0x10;

std::string_view host(const pvh::guest::Boot& boot) {
  // The last block of leaves is the hypervisor's own; one before it may be a compatible face.
  const auto all = boot.hypervisors().all();
  return all.empty() ? "no hypervisor"sv : to_string(all.back().kind);
}

}  // namespace

void pvh_main(pvh::guest::Boot& boot) {
  const char version = static_cast<char>('0' + (boot.start_info().version & 7));
  pvh::guest::print("hello from PVH: start_info version "sv);
  pvh::guest::print({&version, 1});
  pvh::guest::print(" on "sv);
  pvh::guest::print(host(boot));
  pvh::guest::print("\n"sv);
  pvh::guest::console().flush();
  pvh::guest::debug_exit(boot.machine(), kOk);
  // Nobody listens there on Xen, which is asked to switch off, and on other monitors: those end by
  // a reset.
  pvh::guest::try_power_off(boot.machine(), pvh::guest::stop_ways(boot));
  pvh::guest::reset(boot);
}
