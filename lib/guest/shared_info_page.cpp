// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/guest/memory.hpp>

namespace pvh::guest {

std::optional<base::PhysAddr> find_shared_info_page(std::span<const memory_map::Entry> map) {
  constexpr base::PhysAddr kFirst(0x100000);
  constexpr base::PhysAddr kIoApic(0xfec00000);
  base::PhysAddr page = kFirst;
  for (const memory_map::Entry& entry : map) {
    // The map ascends: entries that end below the page leave it where it is, and the first one that
    // begins behind it leaves it free.
    const auto whole = base::Range::from_size(page, base::kPageSize);
    if (!whole || entry.range.first() > whole->last()) {
      break;
    }
    if (entry.range.overlaps(*whole)) {
      const auto next = entry.range.end();
      const auto raised = next ? next->align_up(base::kPageSize) : std::nullopt;
      if (!raised) {
        return std::nullopt;
      }
      page = *raised;
    }
  }
  return page < kIoApic ? std::optional(page) : std::nullopt;
}

}  // namespace pvh::guest
