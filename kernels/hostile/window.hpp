// SPDX-License-Identifier: BSD-2-Clause
// Any physical address as memory: two pages of a linear address space of their own, which are
// moved. Unlike the runtime's it asks nobody whether there is anything.
#pragma once

#include <cstdint>

namespace pvh::kernels::hostile {

// What the page at `physical` and the one behind it are at; `physical` may be any number, also one
// that the processor has too few bits for.
[[nodiscard]] volatile std::uint8_t* window(std::uint64_t physical);

// The same, but the table that maps the pages is itself read from `table`: wherever that is.
[[nodiscard]] volatile std::uint8_t* window_by_table_at(std::uint64_t table);

}  // namespace pvh::kernels::hostile
