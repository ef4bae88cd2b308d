// SPDX-License-Identifier: BSD-2-Clause
// The claim: every call of xen.hpp answers on a real Xen as it is documented. `cpus=N` on the
// command line is how many processors there should be, `end=poweroff|reboot|crash` how it ends when
// all claims hold; otherwise it crashes.
#include <pvh/guest/pvh.hpp>

#include "xen-calls/calls.hpp"

namespace {

using pvh::guest::xen::ShutdownReason;
using std::string_view_literals::operator""sv;

ShutdownReason asked_end(std::string_view command_line) {
  const auto end = pvh::guest::find_argument(command_line, "end"sv);
  if (end && end->value == "reboot"sv) {
    return ShutdownReason::kReboot;
  }
  return end && end->value == "crash"sv ? ShutdownReason::kCrash : ShutdownReason::kPowerOff;
}

std::uint32_t asked_processors(std::string_view command_line) {
  const auto cpus = pvh::guest::find_argument(command_line, "cpus"sv);
  const auto number = cpus && cpus->value ? pvh::guest::parse_number(*cpus->value) : std::nullopt;
  return static_cast<std::uint32_t>(number.value_or(1));
}

}  // namespace

void pvh_main(pvh::guest::Boot& boot) {
  if (!boot.xen()) {
    pvh::guest::print("1..0 # skipped: not on Xen\n"sv);
    pvh::guest::reset(boot);
  }
  const bool hold = pvh::kernels::try_every_call(
      {.machine = boot.machine(),
       .hypervisors = boot.hypervisors(),
       .token = *boot.xen(),
       .map = boot.memory_map(),
       .is_hardware_domain = (boot.start_info().flags & pvh::abi::SIF_INITDOMAIN) != 0,
       .processors = asked_processors(boot.command_line())});
  pvh::guest::console().flush();
  pvh::guest::xen::shutdown(boot.machine(), *boot.xen(),
                            hold ? asked_end(boot.command_line()) : ShutdownReason::kCrash);
  pvh::guest::print("Bail out! shutdown came back\n"sv);
  pvh::guest::halt_forever();
}
