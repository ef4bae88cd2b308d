// SPDX-License-Identifier: BSD-2-Clause
// Each judges the claims of one part of claims.inc.
#pragma once

#include "probe/claims.hpp"
#include "probe/facts.hpp"

namespace pvh::kernels::probe {

void judge_entry(const Facts& facts, Claims& claims);
void judge_start_info(const Facts& facts, Claims& claims);
void judge_map(const Facts& facts, Claims& claims);
void judge_modules(const Facts& facts, Claims& claims);
void judge_command_line(const Facts& facts, Claims& claims);
void judge_acpi(const Facts& facts, Claims& claims);
void judge_xen(const Facts& facts, Claims& claims);
// Writes to free memory, so it comes last.
void judge_runtime(const Facts& facts, Claims& claims);

}  // namespace pvh::kernels::probe
