// SPDX-License-Identifier: BSD-2-Clause
// Text for when nothing can be trusted any more, Console included: to port 0xe9 and COM1, blindly
// but never waiting for ever.
#pragma once

#include <cstdint>
#include <string_view>

namespace pvh::guest::arch {

void raw_print(std::string_view text);
void raw_print_number(std::uintptr_t value, unsigned base);  // to base 10 or 16

}  // namespace pvh::guest::arch
