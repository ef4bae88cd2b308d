// SPDX-License-Identifier: BSD-2-Clause
#include "layout.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <set>
#include <utility>

#include <pvh/memory_map/normalize.hpp>

namespace pvh::loader::internal {

using base::ByteSize;
using base::PhysAddr;
using base::Range;
using memory_map::Entry;
using memory_map::Type;

std::vector<Entry> normalized(std::span<const memory_map::RawEntry> map) {
  std::vector<Entry> out(memory_map::output_size(map.size()));
  std::vector<memory_map::Scratch> scratch(memory_map::scratch_size(map.size()));
  memory_map::Report report;
  const auto normal = memory_map::normalize(
      map, out, scratch, {.withhold_page_zero = false, .withhold_legacy_hole = false}, report);
  if (!normal) {
    std::abort();  // both spans are as large as normalize() asks for
  }
  return {normal->begin(), normal->end()};
}

std::vector<Entry> Layout::ram_of(std::span<const memory_map::RawEntry> map) {
  const std::vector<Entry> normal = normalized(map);
  std::vector<Entry> ram;
  std::ranges::copy_if(normal, std::back_inserter(ram),
                       [](const Entry& entry) { return entry.type == Type::kRam; });
  return ram;
}

std::vector<Entry> Layout::ram_of(std::span<const Range> ranges) {
  std::vector<memory_map::RawEntry> map;
  for (const Range& range : ranges) {
    map.push_back(to_raw(Entry{range, Type::kRam}));
  }
  return ram_of(map);
}

std::optional<Range> Layout::find(ByteSize size, ByteSize alignment, Range within) const {
  return memory_map::find_free(free_, {.size = size, .alignment = alignment, .within = within});
}

const Piece* Layout::in_the_way(Range range) const {
  const auto found = std::ranges::find_if(
      pieces_, [&](const Piece& piece) { return piece.range.overlaps(range); });
  return found != pieces_.end() ? &*found : nullptr;
}

// Splits the one free entry that holds the range. (subtract() would make the whole list anew for
// each of thousands of modules.)
void Layout::take(Range range) {
  const Entry* entry = memory_map::lookup(free_, range.first());
  if (entry == nullptr || !entry->range.contains(range)) {
    return;
  }
  const auto at = free_.begin() + (entry - free_.data());
  const Range whole = at->range;
  const auto before = Range::from_end(whole.first(), range.first());
  const auto end = range.end();
  const auto after = end ? Range::from_last(*end, whole.last()) : std::nullopt;
  if (before && after) {
    *at = {*before, Type::kRam};
    free_.insert(at + 1, {*after, Type::kRam});
  } else if (before || after) {
    *at = {before ? *before : *after, Type::kRam};
  } else {
    free_.erase(at);
  }
}

std::size_t Layout::add(PieceKind kind, std::string name, Range range, base::Bytes content) {
  take(range);
  pieces_.push_back(
      {.kind = kind, .name = std::move(name), .range = range, .content = content, .owned = {}});
  return pieces_.size() - 1;
}

void Layout::fill(std::size_t piece, std::vector<std::byte> content) {
  pieces_[piece].owned = std::move(content);
  pieces_[piece].content = pieces_[piece].owned;
}

std::vector<Range> Layout::free_beside_boot_data() const {
  std::set<PhysAddr> pages;
  for (const Piece& piece : pieces_) {
    const bool boot_data = piece.kind != PieceKind::kSegment && piece.kind != PieceKind::kModule &&
                           piece.kind != PieceKind::kTable;
    if (boot_data) {
      // Only the first and the last page of a piece can have something else in them.
      pages.insert(*piece.range.first().align_down(base::kPageSize));
      pages.insert(*piece.range.last().align_down(base::kPageSize));
    }
  }
  pages.erase(PhysAddr(0));
  std::vector<Range> found;
  auto entry = free_.begin();
  for (const PhysAddr first : pages) {
    const Range page = *Range::from_size(first, base::kPageSize);
    entry = std::ranges::find_if(entry, free_.end(),
                                 [&](const Entry& e) { return e.range.last() >= first; });
    for (auto i = entry; i != free_.end() && i->range.first() <= page.last(); ++i) {
      found.push_back(*i->range.intersection(page));
    }
  }
  return found;
}

std::vector<Piece> Layout::take_pieces() && {
  std::ranges::sort(pieces_, {}, &Piece::range);
  return std::move(pieces_);
}

}  // namespace pvh::loader::internal
