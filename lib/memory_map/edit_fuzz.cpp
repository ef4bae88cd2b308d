// SPDX-License-Identifier: BSD-2-Clause
// A map and a sequence of edits, beside an oracle that paints cells. After each step the map is the
// oracle's: sorted, disjoint, merged, nothing lost and nothing made up; and every question about it
// has the answer that trying each cell gives.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <pvh/memory_map/codec.hpp>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/normalize.hpp>

#include "lib/base/testing/fuzz.hpp"
#include "lib/memory_map/testing/oracle.hpp"

namespace {

using namespace pvh;
using namespace pvh::memory_map;
using fuzz::require;
using testing::Space;

constexpr std::array kSpaces{
    Space{0, 1, 256},     Space{UINT64_MAX - 255, 1, 256},         Space{0xfff80, 1, 256},
    Space{0, 0x400, 256}, Space{UINT64_MAX - 0x3ffff, 0x400, 256}, Space{0xfffe0000, 0x400, 256},
};
constexpr int kMostSteps = 12;

class Session {
 public:
  Session(FuzzedDataProvider& draw, const Space& space) : draw_(draw), space_(space) {
    std::vector<RawEntry> raw;
    for (std::size_t i = draw_.ConsumeIntegralInRange<std::size_t>(0, 12); i > 0; --i) {
      const base::Range at = range();
      raw.push_back({at.first().value(), at.size().value(), type()});
    }
    map_ = testing::oracle_normalize(space_, raw,
                                     {.phys_bits = 64,
                                      .page_granular = pages(),
                                      .withhold_page_zero = false,
                                      .withhold_legacy_hole = false});
  }

  void step() {
    switch (draw_.ConsumeIntegralInRange(0, 6)) {
      case 0:
        reserve_some();
        break;
      case 1:
        subtract_some();
        break;
      case 2:
        take_free();
        break;
      case 3:
        code();
        break;
      case 4:
        look_up();
        break;
      case 5:
        overlap();
        break;
      default:
        sum_up();
    }
    require(testing::is_normalised(map_));
  }

 private:
  [[nodiscard]] bool pages() { return space_.cell > 1 && draw_.ConsumeBool(); }
  [[nodiscard]] std::uint32_t type() {
    constexpr std::array<std::uint32_t, 12> kTypes{1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0xffffffff};
    return draw_.PickValueInArray(kTypes);
  }
  [[nodiscard]] base::Range range() {
    const auto first = draw_.ConsumeIntegralInRange<std::uint64_t>(0, space_.cells - 1);
    const auto last = draw_.ConsumeIntegralInRange<std::uint64_t>(
        first, draw_.ConsumeBool() ? space_.cells - 1 : std::min(first + 8, space_.cells - 1));
    return *base::Range::from_last(base::PhysAddr(space_.first_of(first)),
                                   base::PhysAddr(space_.last_of(last)));
  }
  [[nodiscard]] std::vector<base::Range> ranges() {
    std::vector<base::Range> all;
    for (std::size_t i = draw_.ConsumeIntegralInRange<std::size_t>(0, 6); i > 0; --i) {
      all.push_back(range());
    }
    return all;
  }
  // Enough, or now and then any number.
  [[nodiscard]] std::size_t room(std::size_t others) {
    return draw_.ConsumeIntegralInRange(0, 3) != 3
               ? edit_output_size(map_.size(), others)
               : draw_.ConsumeIntegralInRange<std::size_t>(0, 8);
  }

  // `found` has to be `all`, as much of it as fits in `capacity` entries.
  void accept(const std::expected<std::span<Entry>, MapError>& found, const std::vector<Entry>& all,
              std::size_t capacity, const Report& report, std::size_t others) {
    const auto expected = testing::oracle_fit(all, capacity);
    require(all.size() <= edit_output_size(map_.size(), others));
    require(found.has_value() == expected.has_value());
    require(report.needed == all.size());
    if (!found) {
      require(found.error().code == MapErrorCode::kOutputTooSmall);
      return;
    }
    require(std::ranges::equal(*found, *expected)
                ? ""
                : testing::to_text(*found) + "instead of\n" + testing::to_text(*expected) + "of\n" +
                      testing::to_text(map_));
    require(report.dropped_ranges == all.size() - expected->size());
    map_ = *expected;
  }

  void reserve_some() {
    const auto taken = ranges();
    std::uint32_t as = type();
    as = as == 1 ? 2 : as;
    const bool by_pages = pages();
    std::vector<RawEntry> raw;
    for (const Entry& each : map_) {
      raw.push_back(to_raw(each));
    }
    for (const base::Range& each : taken) {
      raw.push_back({each.first().value(), each.size().value(), as});
    }
    const auto all = testing::oracle_normalize(space_, raw,
                                               {.phys_bits = 64,
                                                .page_granular = by_pages,
                                                .withhold_page_zero = false,
                                                .withhold_legacy_hole = false});
    const std::size_t capacity = room(taken.size());
    std::vector<Entry> out(capacity);
    std::vector<Scratch> scratch(edit_scratch_size(map_.size(), taken.size()));
    Report report;
    const auto found =
        reserve(map_, taken, out, scratch, {.type = Type{as}, .page_granular = by_pages}, report);
    accept(found, all, capacity, report, taken.size());
  }

  void subtract_some() {
    const auto taken = ranges();
    const SubtractOptions options{.page_granular = pages()};
    const auto all = testing::oracle_subtract(space_, map_, taken, options);
    const std::size_t capacity = room(taken.size());
    std::vector<Entry> out(capacity);
    std::vector<Scratch> scratch(edit_scratch_size(map_.size(), taken.size()));
    Report report;
    const auto found = subtract(map_, taken, out, scratch, options, report);
    accept(found, all, capacity, report, taken.size());
  }

  // As an allocator does it: find room, and take it away.
  void take_free() {
    FindOptions options{
        .size = base::ByteSize(draw_.ConsumeIntegralInRange<std::uint64_t>(1, 40) * space_.cell),
        .alignment = base::ByteSize(space_.cell << draw_.ConsumeIntegralInRange(0, 6)),
        .placement = draw_.ConsumeBool() ? Placement::kLowest : Placement::kHighest};
    if (draw_.ConsumeBool()) {
      options.within = range();
    }
    const auto found = find_free(map_, options);
    require(found == testing::oracle_find_free(space_, map_, options));
    if (!found) {
      return;
    }
    require(is_ram(map_, *found));
    const std::array taken{*found};
    std::vector<Entry> out(edit_output_size(map_.size(), 1));
    std::vector<Scratch> scratch(edit_scratch_size(map_.size(), 1));
    Report report;
    const auto left = subtract(map_, taken, out, scratch, {.page_granular = false}, report);
    require(left && std::ranges::none_of(
                        *left, [&](const Entry& each) { return each.range.overlaps(*found); }));
    accept(left, testing::oracle_subtract(space_, map_, taken, {.page_granular = false}),
           out.size(), report, 1);
  }

  // Through bytes and back; cut short nowhere; nothing is written before it is known to fit.
  void code() {
    for (const Form form : {Form::kTable, Form::kPacked}) {
      std::vector<std::byte> bytes(map_.size() * entry_size(form), std::byte{0xee});
      const auto written = encode(form, std::span<const Entry>(map_), bytes);
      require(written && written->size() == bytes.size());
      std::vector<RawEntry> raw(map_.size());
      const auto read = decode(form, bytes, map_.size(), raw);
      require(read && std::ranges::equal(*read, map_, [](const RawEntry& a, const Entry& b) {
                return a == to_raw(b);
              }));
      if (map_.empty()) {
        continue;
      }
      const auto less = draw_.ConsumeIntegralInRange<std::size_t>(0, bytes.size() - 1);
      require(decode(form, base::Bytes(bytes).first(less), map_.size(), raw).error() ==
              MapError{MapErrorCode::kInputTooShort, bytes.size()});
      require(encode(form, std::span<const Entry>(map_), std::span(bytes).first(less)).error() ==
              MapError{MapErrorCode::kOutputTooSmall, bytes.size()});
      require(!decode_entry(form, bytes, map_.size()));
      require(!decode(form, bytes, UINT64_MAX / 16, raw));
    }
  }

  void look_up() {
    for (std::uint64_t i = 0; i < space_.cells; ++i) {
      const base::PhysAddr at(space_.first_of(i));
      const auto found =
          std::ranges::find_if(map_, [&](const Entry& each) { return each.range.contains(at); });
      require(lookup(map_, at) == (found == map_.end() ? nullptr : &*found));
    }
    const base::Range asked = range();
    require(is_ram(map_, asked) == std::ranges::any_of(map_, [&](const Entry& each) {
              return each.type == Type::kRam && each.range.contains(asked);
            }));
  }

  void overlap() {
    const auto all = ranges();
    std::vector<Scratch> scratch(all.size());
    const auto found = find_overlap(all, scratch);
    bool any = false;
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        any = any || all[i].overlaps(all[j]);
      }
    }
    require(found && found->has_value() == any);
    require(!any || ((*found)->first != (*found)->second &&
                     all.at((*found)->first).overlaps(all.at((*found)->second))));
  }

  void sum_up() {
    const Statistics sums = statistics(map_);
    std::uint64_t cells = 0;
    std::optional<std::uint64_t> below;
    std::optional<std::uint64_t> above;
    for (std::uint64_t i = 0; i < space_.cells; ++i) {
      const Entry* const at = lookup(map_, base::PhysAddr(space_.first_of(i)));
      if (at != nullptr && at->type == Type::kRam) {
        ++cells;
        (space_.last_of(i) >> 32 == 0 ? below : above) = space_.last_of(i);
      }
    }
    const auto value = [](std::optional<base::PhysAddr> at) {
      return at ? std::optional(at->value()) : std::nullopt;
    };
    require(sums.ram.value() == cells * space_.cell);
    require(value(sums.last_below_4g) == below && value(sums.last_above_4g) == above);
    require(sums.ram_ranges ==
            static_cast<std::uint64_t>(std::ranges::count(map_, Type::kRam, &Entry::type)));
    for (const Entry& each : map_) {
      require(each.type != Type::kRam || each.range.size() <= sums.largest->size());
    }
  }

  FuzzedDataProvider& draw_;
  Space space_;
  std::vector<Entry> map_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider draw(data, size);
  Session session(draw, draw.PickValueInArray(kSpaces));
  for (int steps = 0; steps < kMostSteps && draw.remaining_bytes() != 0; ++steps) {
    session.step();
  }
  return 0;
}
