// SPDX-License-Identifier: BSD-2-Clause
// Verdicts in TAP, a line for each claim in claims.inc, as kernels/probe writes them:
//
//   ok 1 - locore/long-mode
//   not ok 20 - hypervisor/known # "TCGTCGTCGTCG" is none of FreeBSD's
//   ok 31 - mptable/found # SKIP ACPI describes the processors
//   1..47
//   verdict deviating 1
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <pvh/memory_map/print.hpp>

namespace pvh::kernels::bsd {

using memory_map::Line;
using std::string_view_literals::operator""sv;

#define CLAIM(enumerator, id, source, text) enumerator,
enum class Claim : std::uint8_t {
#include "bsd-walk/claims.inc"
};
#undef CLAIM

// `why` is told when it does not hold.
void judge(Claim claim, bool holds, const Line& why);
// There is nothing here to judge it by.
void skip(Claim claim, std::string_view why);
// What a reader may want to know and nobody judges.
void note(const Line& what);

// The plan and the verdict; what nobody judged is a deviation. True: conforming.
bool finish_claims();

}  // namespace pvh::kernels::bsd
