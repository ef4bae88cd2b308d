// SPDX-License-Identifier: BSD-2-Clause
// The runtime's own storage. Alone in its object: PVH_STORAGE replaces it.
#include <pvh/guest/pvh.hpp>

PVH_STORAGE(pvh::guest::kDefaultMapEntries, pvh::guest::kDefaultModules)
