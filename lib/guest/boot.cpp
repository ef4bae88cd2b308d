// SPDX-License-Identifier: BSD-2-Clause
// What a kernel does with a Boot that it has; capture.cpp makes it.
#include <algorithm>

#include <pvh/base/checked.hpp>
#include <pvh/guest/boot.hpp>

namespace pvh::guest {

std::size_t Boot::room() const {
  // As many as subtract() can take.
  const std::size_t used = acquired_.map.size();
  const std::size_t scratch = storage_.scratch.size() - std::min(storage_.scratch.size(), used);
  return std::min(std::min(storage_.reservations.size(), storage_.ranges.size()), scratch);
}

bool Boot::note(base::Range range, ReservationKind kind, std::uint32_t index) {
  const std::size_t count = reservations_.size();
  if (count >= room()) {
    return false;
  }
  storage_.reservations[count] = {range, kind, index};
  reservations_ = storage_.reservations.first(count + 1);
  return true;
}

std::span<const memory_map::Entry> Boot::free() const {
  if (!free_is_current_) {
    subtract();
  }
  return free_;
}

void Boot::subtract() const {
  const auto ranges = storage_.ranges.first(reservations_.size());
  std::transform(reservations_.begin(), reservations_.end(), ranges.begin(),
                 [](const Reservation& each) { return each.range; });
  memory_map::Report report;
  const auto rest =
      memory_map::subtract(acquired_.map, ranges, storage_.free, storage_.scratch, {}, report);
  // It cannot fail within room(); if it did, nothing would be free.
  free_ = rest ? *rest : std::span<memory_map::Entry>();
  free_is_current_ = true;
}

// Takes a part of one entry out of free_; false when that makes two of one and there is no room for
// them.
bool Boot::carve(base::Range range) {
  for (std::size_t i = 0; i < free_.size(); ++i) {
    const base::Range whole = free_[i].range;
    if (!whole.contains(range)) {
      continue;
    }
    const auto below = base::Range::from_end(whole.first(), range.first());
    const auto end = range.end();
    const auto above = end ? base::Range::from_last(*end, whole.last()) : std::nullopt;
    const auto place = free_.begin() + static_cast<std::ptrdiff_t>(i);
    if (below && above) {
      if (free_.size() == storage_.free.size()) {
        return false;
      }
      free_ = storage_.free.first(free_.size() + 1);
      std::move_backward(place, free_.end() - 1, free_.end());
      free_[i].range = *below;
      free_[i + 1].range = *above;
    } else if (below || above) {
      free_[i].range = below ? *below : *above;
    } else {
      std::move(place + 1, free_.end(), place);
      free_ = free_.first(free_.size() - 1);
    }
    return true;
  }
  return false;
}

// One note for each run of touching allocations.
bool Boot::note_allocated(base::Range range) {
  Reservation* below = nullptr;
  Reservation* above = nullptr;
  for (Reservation& each : reservations_) {
    if (each.kind != ReservationKind::kAllocated) {
      continue;
    }
    if (each.range.end() == range.first()) {
      below = &each;
    } else if (range.end() == each.range.first()) {
      above = &each;
    }
  }
  if (below == nullptr && above == nullptr) {
    return note(range, ReservationKind::kAllocated, 0);
  }
  const base::PhysAddr first = below != nullptr ? below->range.first() : range.first();
  const base::PhysAddr last = above != nullptr ? above->range.last() : range.last();
  const auto joined = base::Range::from_last(first, last);
  if (!joined) {
    return false;
  }
  (below != nullptr ? below : above)->range = *joined;
  if (below != nullptr && above != nullptr) {
    *above = reservations_.back();
    reservations_ = reservations_.first(reservations_.size() - 1);
  }
  return true;
}

std::optional<base::Range> Boot::allocate(const memory_map::FindOptions& options) {
  memory_map::FindOptions whole_pages = options;
  const auto size = options.size.align_up(base::kPageSize);
  if (!size || !base::is_power_of_two(options.alignment.value())) {
    return std::nullopt;
  }
  whole_pages.size = *size;
  whole_pages.alignment = std::max(options.alignment, base::kPageSize);
  const auto found = memory_map::find_free(free(), whole_pages);
  if (!found || !carve(*found)) {
    return std::nullopt;
  }
  if (!note_allocated(*found)) {
    free_is_current_ = false;  // undoes it
    return std::nullopt;
  }
  return found;
}

std::optional<base::Range> Boot::allocate_low_page() {
  const auto page = memory_map::find_free_low_page(free());
  return page ? allocate({.size = base::kPageSize, .within = page}) : std::nullopt;
}

bool Boot::reserve(base::Range range, ReservationKind kind, std::uint32_t index) {
  if (!note(range, kind, index)) {
    return false;
  }
  free_is_current_ = false;
  return true;
}

bool Boot::forget(ReservationKind kind, std::optional<std::uint32_t> index) {
  const auto kept =
      std::remove_if(reservations_.begin(), reservations_.end(), [&](const Reservation& each) {
        return each.kind == kind && (!index || each.index == *index);
      });
  const bool found = kept != reservations_.end();
  reservations_ = std::span(reservations_.begin(), kept);
  return found;
}

void Boot::release_boot_data() {
  forget(ReservationKind::kStartInfo, std::nullopt);
  forget(ReservationKind::kMemoryMap, std::nullopt);
  forget(ReservationKind::kModuleList, std::nullopt);
  free_is_current_ = false;
}

bool Boot::release(ReservationKind kind, std::optional<std::uint32_t> index) {
  if (kind == ReservationKind::kImage || !forget(kind, index)) {
    return false;
  }
  // No text may be left that lies in free memory.
  if (kind == ReservationKind::kCommandLine) {
    command_line_ = kNoText;
  }
  if (kind == ReservationKind::kModuleCommandLine) {
    for (Module& module : modules_) {
      if (!index || module.index == *index) {
        module.command_line = kNoText;
      }
    }
  }
  free_is_current_ = false;
  return true;
}

std::string_view to_string(ReservationKind kind) {
  using std::string_view_literals::operator""sv;
  switch (kind) {
    case ReservationKind::kImage:
      return "image"sv;
    case ReservationKind::kStartInfo:
      return "start_info"sv;
    case ReservationKind::kMemoryMap:
      return "memory map"sv;
    case ReservationKind::kModuleList:
      return "module list"sv;
    case ReservationKind::kCommandLine:
      return "command line"sv;
    case ReservationKind::kModule:
      return "module"sv;
    case ReservationKind::kModuleCommandLine:
      return "module's command line"sv;
    case ReservationKind::kAcpi:
      return "ACPI"sv;
    case ReservationKind::kMpTable:
      return "MP table"sv;
    case ReservationKind::kXen:
      return "Xen"sv;
    case ReservationKind::kAllocated:
      return "allocated"sv;
  }
  return "unknown"sv;
}

}  // namespace pvh::guest
