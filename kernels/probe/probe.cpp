// SPDX-License-Identifier: BSD-2-Clause
// Judges whoever booted it by the PVH specification, claim by claim (claims.inc), and the runtime
// by its own word. The verdict is printed and is the way in which the kernel ends.
#include "common/finish.hpp"
#include "probe/judges.hpp"

namespace {

// Too large for the stack, and made by pvh_main, not before it.
alignas(pvh::kernels::probe::Facts) std::byte facts_memory[sizeof(pvh::kernels::probe::Facts)];

}  // namespace

void pvh_main(pvh::guest::Boot& boot) {
  using namespace pvh::kernels::probe;
  const Facts& facts = *new (facts_memory) Facts(boot);
  Claims claims(pvh::guest::console());
  judge_entry(facts, claims);
  judge_start_info(facts, claims);
  judge_map(facts, claims);
  judge_modules(facts, claims);
  judge_command_line(facts, claims);
  judge_acpi(facts, claims);
  judge_xen(facts, claims);
  judge_runtime(facts, claims);
  const bool conforming = claims.finish();
  pvh::kernels::finish(boot,
                       conforming ? pvh::kernels::Verdict::kGood : pvh::kernels::Verdict::kBad);
}
