// SPDX-License-Identifier: BSD-2-Clause
// The runtime by its own word: what it calls free is RAM that nobody uses, and it works.
#include "common/checksum.hpp"
#include "probe/judges.hpp"

namespace pvh::kernels::probe {

using std::string_view_literals::operator""sv;

namespace {

using Map = std::span<const memory_map::Entry>;

constexpr base::Range kPageZero = *base::Range::from_size(base::PhysAddr(0), base::kPageSize);
constexpr base::Range kLegacyHole =
    *base::Range::from_last(base::PhysAddr(0xa0000), base::PhysAddr(0xfffff));

// Never written to: the loader, or the runtime, made it zero. volatile, or the compiler would know.
volatile std::uint64_t untouched[512];

Line place(std::string_view what, base::Range range) {
  return Line().text(what).text(" at "sv).hex(range.first().value());
}

const memory_map::Entry* overlapping(Map map, base::Range range) {
  for (const memory_map::Entry& entry : map) {
    if (entry.range.overlaps(range)) {
      return &entry;
    }
  }
  return nullptr;
}

void judge_environment(const Facts& facts, Claims& claims) {
  Finding zero;
  for (std::size_t i = 0; i < sizeof(untouched) / sizeof(untouched[0]); ++i) {
    if (untouched[i] != 0) {
      zero.complain(Line().text("word "sv).decimal(i).text(": "sv).hex(untouched[i]));
    }
  }
  claims.judge(Claim::kRuntimeBss, zero);

  // A frame begins with two words that the call and the function's first instruction push.
  const auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  claims.judge(Claim::kRuntimeStack, frame % 16 == 0, Line().text("a frame at "sv).hex(frame));

  // What is written through a pointer is read at the address that the pointer is.
  Finding identity;
  for (const memory_map::Entry& entry : facts.boot().free()) {
    const auto page = base::Range::from_size(entry.range.first(), base::kPageSize);
    if (!memory_map::kBelow4GiB.contains(*page)) {
      continue;
    }
    const auto view = facts.machine().view(*page);
    if (!view || reinterpret_cast<std::uintptr_t>(view->data()) != page->first().value()) {
      identity.complain(place("a page"sv, *page));
    }
  }
  claims.judge(Claim::kRuntimeIdentity, identity);
}

void judge_normalised(const Facts& facts, Claims& claims) {
  const Map map = facts.boot().memory_map();
  Finding normal;
  for (std::size_t i = 0; i < map.size(); ++i) {
    const base::Range range = map[i].range;
    const bool whole_pages = range.first().is_aligned(base::kPageSize) &&
                             range.size().value() % base::kPageSize.value() == 0;
    if (map[i].type == memory_map::Type::kRam && !whole_pages) {
      normal.complain(place("part of a page"sv, range));
    }
    if (i > 0 && (map[i - 1].range.last() >= range.first() ||
                  (map[i - 1].range.end() == range.first() && map[i - 1].type == map[i].type))) {
      normal.complain(place("not above its neighbour"sv, range));
    }
  }
  claims.judge(Claim::kRuntimeMap, normal);

  Finding withheld;
  for (const memory_map::Entry& entry : map) {
    if (entry.type == memory_map::Type::kRam &&
        (entry.range.overlaps(kPageZero) || entry.range.overlaps(kLegacyHole))) {
      withheld.complain(place("RAM"sv, entry.range));
    }
  }
  claims.judge(Claim::kRuntimeWithheld, withheld);
}

void judge_free(const Facts& facts, Claims& claims) {
  const guest::Boot& boot = facts.boot();
  Finding ram;
  Finding undisputed;
  for (const memory_map::Entry& entry : boot.free()) {
    if (!memory_map::is_ram(boot.memory_map(), entry.range)) {
      ram.complain(place("not RAM"sv, entry.range));
    }
    if (!coverage(boot.raw_memory_map(), entry.range).all_ram) {
      undisputed.complain(place("disputed"sv, entry.range));
    }
  }
  claims.judge(Claim::kRuntimeFreeRam, ram);
  claims.judge(Claim::kRuntimeFreeRaw, undisputed);

  Finding reserved;
  for (const guest::Reservation& each : boot.reservations()) {
    if (overlapping(boot.free(), each.range) != nullptr) {
      reserved.complain(place(guest::to_string(each.kind), each.range));
    }
  }
  claims.judge(Claim::kRuntimeFreeReserved, reserved);

  Finding used;
  for (const Piece& piece : facts.pieces()) {
    if (overlapping(boot.free(), piece.range) != nullptr) {
      used.complain(place(piece.name, piece.range));
    }
  }
  claims.judge(Claim::kRuntimeFreeUsed, used);
}

// Its address in every word, so that two pages which are one in truth are found out.
bool fill(guest::Machine& machine, base::PhysAddr page) {
  const auto bytes = base::to_bytes(base::Le64(page.value() ^ 0x5a5a'a5a5'5a5a'a5a5));
  return machine.write(page, bytes) &&
         machine.write(*page.checked_add(base::ByteSize(base::kPageSize.value() - 8)), bytes);
}

bool is_filled(guest::Machine& machine, base::PhysAddr page) {
  const auto expected = base::to_bytes(base::Le64(page.value() ^ 0x5a5a'a5a5'5a5a'a5a5));
  std::array<std::byte, sizeof(expected)> first;
  std::array<std::byte, sizeof(expected)> last;
  return machine.read(page, first) && first == expected &&
         machine.read(*page.checked_add(base::ByteSize(base::kPageSize.value() - 8)), last) &&
         last == expected;
}

// The first page, the one in the middle and the last: all are written before any is read.
template <typename Act>
void for_sample_pages(Map free, Act act) {
  for (const memory_map::Entry& entry : free) {
    const std::uint64_t first = entry.range.first().value();
    const std::uint64_t pages = entry.range.size().value() / base::kPageSize.value();
    for (const std::uint64_t page : {std::uint64_t{0}, pages / 2, pages - 1}) {
      act(base::PhysAddr(first + page * base::kPageSize.value()));
    }
  }
}

void judge_use(const Facts& facts, Claims& claims) {
  guest::Machine& machine = facts.machine();
  Finding works;
  for_sample_pages(facts.boot().free(), [&](base::PhysAddr page) {
    if (!fill(machine, page)) {
      works.complain(Line().text("cannot write at "sv).hex(page.value()));
    }
  });
  for_sample_pages(facts.boot().free(), [&](base::PhysAddr page) {
    if (!is_filled(machine, page)) {
      works.complain(Line().text("something else is read at "sv).hex(page.value()));
    }
  });
  claims.judge(Claim::kMapRam, works);

  Finding intact;
  for (const Piece& piece : facts.pieces()) {
    if (piece.sum && checksum(machine, piece.range) != piece.sum) {
      intact.complain(place(piece.name, piece.range));
    }
  }
  claims.judge(Claim::kRuntimeIntact, intact);
}

void judge_allocation(const Facts& facts, Claims& claims) {
  guest::Boot& boot = facts.boot();
  const auto range = boot.allocate({.size = base::ByteSize(3 * base::kPageSize.value())});
  bool noted = false;
  for (const guest::Reservation& each : boot.reservations()) {
    noted |= range && each.range.contains(*range);
  }
  claims.judge(Claim::kRuntimeAllocate,
               range && noted && overlapping(boot.free(), *range) == nullptr,
               range ? place("three pages"sv, *range) : Line().text("there is no room"sv));
}

}  // namespace

void judge_runtime(const Facts& facts, Claims& claims) {
  judge_environment(facts, claims);
  judge_normalised(facts, claims);
  judge_free(facts, claims);
  judge_use(facts, claims);
  judge_allocation(facts, claims);
}

}  // namespace pvh::kernels::probe
