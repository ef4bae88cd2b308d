// SPDX-License-Identifier: BSD-2-Clause
// start_info.h: the memory map, as it was handed over. map/ram-is-there is judged in runtime.cpp,
// which knows what may be written to.
#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

using Map = std::span<const memory_map::RawEntry>;

constexpr std::uint64_t kPage = base::kPageSize.value();
constexpr base::Range kLegacyHole =
    *base::Range::from_last(base::PhysAddr(0xa0000), base::PhysAddr(0xfffff));

// ACPI's, and Xen's own out of the range that ACPI leaves to OEMs.
bool is_known(std::uint32_t type) {
  constexpr std::uint32_t kFirstOfXen = 0xf000'0001;  // XEN_HVM_MEMMAP_TYPE_SHARED_INFO
  constexpr std::uint32_t kLastOfXen = 0xf000'0004;   // XEN_HVM_MEMMAP_TYPE_FOREIGN_REG
  return (type >= abi::XEN_HVM_MEMMAP_TYPE_RAM && type <= abi::XEN_HVM_MEMMAP_TYPE_PMEM) ||
         (type >= kFirstOfXen && type <= kLastOfXen);
}

bool wraps(const memory_map::RawEntry& entry) {
  return entry.size != 0 && !range_of(entry);
}

Line words(std::uint64_t index, const memory_map::RawEntry& entry) {
  return Line()
      .text("entry "sv)
      .decimal(index)
      .text(": "sv)
      .hex(entry.addr)
      .text(" +"sv)
      .hex(entry.size)
      .text(" type "sv)
      .decimal(entry.type);
}

void judge_entries(Map map, Claims& claims) {
  Finding types;
  Finding wrap;
  for (std::size_t i = 0; i < map.size(); ++i) {
    if (!is_known(map[i].type)) {
      types.complain(words(i, map[i]));
    }
    if (wraps(map[i])) {
      wrap.complain(words(i, map[i]));
    }
  }
  claims.judge(Claim::kMapTypes, types);
  claims.judge(Claim::kMapWrap, wrap);
}

void judge_table(const Facts& facts, Claims& claims) {
  const abi::hvm_start_info& info = facts.info();
  const std::uint32_t count = facts.has_map_fields() ? info.memmap_entries.get() : 0;
  if (count == 0) {
    constexpr std::string_view kWhy = "there is no table"sv;
    claims.skip(Claim::kMapReadable, kWhy);
    claims.skip(Claim::kMapReserved, kWhy);
    if (facts.has_map_fields()) {
      claims.note(Note::kNoteNoMap, Line().text("memmap_entries is 0"sv));
    }
    return;
  }
  const bool readable = facts.map_entry(0).has_value() && facts.map_entry(count - 1).has_value();
  claims.judge(Claim::kMapReadable, readable,
               Line().text("memmap_paddr is "sv).hex(info.memmap_paddr.get()));
  Finding reserved;
  for (std::uint32_t i = 0; readable && i < count; ++i) {
    const auto entry = facts.map_entry(i);
    if (entry && entry->reserved.get() != 0) {
      reserved.complain(Line().text("entry "sv).decimal(i).text(": "sv).hex(entry->reserved.get()));
    }
  }
  claims.judge(Claim::kMapReserved, reserved);
}

void note_pair(Map map, std::size_t first, std::size_t second, Claims& claims) {
  const auto a = range_of(map[first]);
  const auto b = range_of(map[second]);
  if (!a || !b) {
    return;
  }
  const Line pair = Line()
                        .text("entries "sv)
                        .decimal(first)
                        .text(" and "sv)
                        .decimal(second)
                        .text(", at "sv)
                        .hex(map[second].addr);
  if (a->overlaps(*b)) {
    claims.note(Note::kNoteOverlap, pair);
  }
  if (map[first].type == map[second].type && (a->end() == b->first() || b->end() == a->first())) {
    claims.note(Note::kNoteUnmerged, pair);
  }
  if (second == first + 1 && b->first() < a->first()) {
    claims.note(Note::kNoteUnsorted, pair);
  }
}

void note_shape(Map map, Claims& claims) {
  for (std::size_t i = 0; i < map.size(); ++i) {
    const memory_map::RawEntry& entry = map[i];
    const auto range = range_of(entry);
    if (entry.size == 0) {
      claims.note(Note::kNoteEmptyEntry, words(i, entry));
    }
    if (entry.type == abi::XEN_HVM_MEMMAP_TYPE_RAM && range) {
      if (entry.addr % kPage != 0 || entry.size % kPage != 0) {
        claims.note(Note::kNoteUnalignedRam, words(i, entry));
      }
      if (range->overlaps(kLegacyHole)) {
        claims.note(Note::kNoteLegacyRam, words(i, entry));
      }
    }
    for (std::size_t j = i + 1; j < map.size(); ++j) {
      note_pair(map, i, j, claims);
    }
  }
}

void note_boot_data(const Facts& facts, Map map, Claims& claims) {
  for (const Piece& piece : facts.pieces()) {
    if (!piece.is_boot_data) {
      continue;
    }
    const Coverage where = coverage(map, piece.range);
    const Line what = Line().text(piece.name).text(" at "sv).hex(piece.range.first().value());
    if (where.all_ram) {
      claims.note(Note::kNoteNoReserved, what);
    }
    if (where.none) {
      claims.note(Note::kNoteInHole, what);
    }
  }
}

}  // namespace

void judge_map(const Facts& facts, Claims& claims) {
  const Map map = facts.boot().raw_memory_map();
  judge_table(facts, claims);
  judge_entries(map, claims);
  claims.judge(Claim::kMapImage, coverage(map, facts.image()).all_ram,
               Line().text("the image is at "sv).hex(facts.image().first().value()));
  note_shape(map, claims);
  note_boot_data(facts, map, claims);
}

}  // namespace pvh::kernels::probe
