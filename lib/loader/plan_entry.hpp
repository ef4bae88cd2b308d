// SPDX-License-Identifier: BSD-2-Clause
// The registers of a shape, but for EIP and EBX, which the plan knows. (Private to the loader.)
#pragma once

#include <pvh/base/address.hpp>
#include <pvh/loader/entry_state.hpp>

#include "shape.hpp"

namespace pvh::loader::internal {

// `gdt` is where the plan has put it, if it did.
[[nodiscard]] EntryState entry_state(const ShapeFacts& shape, bool poison,
                                     std::optional<base::PhysAddr> gdt);

}  // namespace pvh::loader::internal
