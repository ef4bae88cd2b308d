// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/entry_state.hpp>

#include "link_symbols.hpp"

namespace pvh::guest {

const EntryState& entry_state() {
  // It is linked at its physical address; a higher-half kernel sees it only above.
  return *reinterpret_cast<const EntryState*>(arch::virtual_offset() +
                                              arch::number(pvh_entry_state));
}

}  // namespace pvh::guest
