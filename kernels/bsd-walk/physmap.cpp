// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/physmap.hpp"

#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"

namespace pvh::kernels::bsd {

namespace {

constexpr std::size_t kEntries = 2 * (63 - 1);  // PHYS_AVAIL_ENTRIES, from VM_PHYSSEG_MAX
constexpr std::uint64_t kBaseMemory = 0xa0000;
constexpr std::uint64_t kMissing =
    2 * kMiB;  // of what was asked for: the holes below 1 MiB, tables

// Kernel environment, page tables, message buffer, the boot processor's stacks: the order of what
// is taken without a look at the map.
constexpr std::uint64_t kEarly = kMiB;

struct Physmap {
  std::uint64_t at[kEntries + 2] = {};
  std::size_t index = 0;  // of the next free slot, as in FreeBSD

  // add_physmap_entry(). False: giving up.
  bool add(std::uint64_t base, std::uint64_t length, bool& overlaps);
  [[nodiscard]] bool contains(std::uint64_t base, std::uint64_t length) const;
};

bool Physmap::add(std::uint64_t base, std::uint64_t length, bool& overlaps) {
  if (length == 0) {
    return true;
  }
  std::size_t insert = index;
  for (std::size_t i = 0; i < index; i += 2) {
    if (base < at[i + 1]) {
      if (base + length <= at[i]) {
        insert = i;
        break;
      }
      overlaps = true;
      return true;
    }
  }
  if (insert < index && base + length == at[insert]) {
    at[insert] = base;
    return true;
  }
  if (insert > 0 && base == at[insert - 1]) {
    at[insert - 1] += length;
    return true;
  }
  index += 2;
  if (index == kEntries) {
    return false;
  }
  for (std::size_t i = index - 2; i > insert; i -= 2) {
    at[i] = at[i - 2];
    at[i + 1] = at[i - 1];
  }
  at[insert] = base;
  at[insert + 1] = base + length;
  return true;
}

bool Physmap::contains(std::uint64_t base, std::uint64_t length) const {
  for (std::size_t i = 0; i < index; i += 2) {
    if (base >= at[i] && base + length <= at[i + 1]) {
      return true;
    }
  }
  return false;
}

abi::hvm_memmap_table_entry entry(const Boot& boot, std::uint32_t i) {
  return boot_read<abi::hvm_memmap_table_entry>(boot.info.memmap_paddr.get() +
                                                i * sizeof(abi::hvm_memmap_table_entry));
}

// pvh_parse_memmap_start_info() and bios_add_smap_entries()
Physmap parse(const Boot& boot) {
  Physmap map;
  std::uint64_t overlap = 0;
  bool overlaps = false;
  bool room = true;
  for (std::uint32_t i = 0; i < boot.info.memmap_entries.get() && room; ++i) {
    const auto one = entry(boot, i);
    if (one.type.get() == abi::XEN_HVM_MEMMAP_TYPE_RAM) {
      const bool before = overlaps;
      room = map.add(one.addr.get(), one.size.get(), overlaps);
      overlap = overlaps && !before ? one.addr.get() : overlap;
    }
  }
  judge(Claim::kMapOverlap, !overlaps, Line().text("the RAM at "sv).hex(overlap));
  judge(Claim::kMapSegments, room && map.index != 0,
        Line().text(room ? "no RAM at all"sv : "too many segments"sv));
  return map;
}

void judge_reserved(const Boot& boot, const Physmap& map) {
  Line why;
  bool good = true;
  for (std::uint32_t i = 0; i < boot.info.memmap_entries.get() && good; ++i) {
    const auto one = entry(boot, i);
    const std::uint64_t first = one.addr.get();
    const std::uint64_t end = first + one.size.get();
    if (one.type.get() == abi::XEN_HVM_MEMMAP_TYPE_RAM) {
      continue;
    }
    for (std::size_t j = 0; j < map.index && good; j += 2) {
      good = end <= map.at[j] || first >= map.at[j + 1];
    }
    if (!good) {
      why.text("entry "sv).decimal(i).text(" at "sv).hex(first).text(" lies in RAM"sv);
    }
  }
  judge(Claim::kMapReserved, good, why);
}

void judge_memory(const Physmap& map, const Environment& environment) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < map.index; i += 2) {
    note(Line().text("physmap "sv).hex(map.at[i]).text(" "sv).hex(map.at[i + 1]));
    sum += map.at[i + 1] - map.at[i];
  }
  const auto asked = environment.number("bsd.memory"sv);
  if (!asked) {
    skip(Claim::kMapMemory, "no word bsd.memory="sv);
    return;
  }
  judge(Claim::kMapMemory, sum <= *asked && sum + kMissing >= *asked,
        Line().decimal(sum).text(" bytes of "sv).decimal(*asked));
}

std::uint32_t judge_base_memory(const Physmap& map) {
  std::uint64_t base = 0;
  for (std::size_t i = 0; i < map.index && base == 0; i += 2) {
    if (map.at[i] <= kBaseMemory) {
      base = map.at[i + 1] / 1024;
    }
  }
  const bool good = base != 0 && base <= kBaseMemory / 1024;
  judge(Claim::kMapBase, good, Line().text("it would end at KiB "sv).decimal(base));
  return good ? static_cast<std::uint32_t>(base) : kBaseMemory / 1024;
}

void judge_trampoline(const Physmap& map) {
  // FreeBSD never uses page 0, and the trampoline has a page and three of page tables.
  constexpr std::uint64_t kSize = 4 * kPage;
  bool room = false;
  for (std::size_t i = 0; i < map.index; i += 2) {
    const std::uint64_t first = map.at[i] < kPage ? kPage : round_up(map.at[i], kPage);
    const std::uint64_t end = (map.at[i + 1] < kMiB ? map.at[i + 1] : kMiB) & ~(kPage - 1);
    room = room || (first < end && end - first >= kSize);
  }
  judge(Claim::kMapTrampoline, room, Line().text("no four pages below 1 MiB"sv));
}

void judge_early(const Boot& boot, const Physmap& map, const Environment& environment) {
  const std::uint64_t first = boot.physfree;
  judge(Claim::kFreeReach, within(kBootReach, first, kEarly),
        Line().text("physfree is "sv).hex(first));
  judge(Claim::kFreeRam, map.contains(first, kEarly), Line().text("physfree is "sv).hex(first));
  // Before FreeBSD reads it, it clears two pages there: shared_info's, on Xen, and the
  // environment's.
  const std::uint64_t end = first + 2 * kPage;
  const std::uint64_t line = boot.info.cmdline_paddr.get();
  judge(Claim::kFreeCommandLine, line == 0 || line + environment.size() < first || line >= end,
        Line().text("the command line is at "sv).hex(line));
}

}  // namespace

std::uint32_t build_physmap(const Boot& boot, const Environment& environment) {
  const Physmap map = parse(boot);
  judge_early(boot, map, environment);
  judge_reserved(boot, map);
  judge_memory(map, environment);
  const std::uint32_t base = judge_base_memory(map);
  judge_trampoline(map);
  return base;
}

}  // namespace pvh::kernels::bsd
