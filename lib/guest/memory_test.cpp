// SPDX-License-Identifier: BSD-2-Clause
#include <cstdint>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <pvh/guest/hypervisor.hpp>
#include <pvh/guest/memory.hpp>
#include <pvh/guest/xen.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"
#include "lib/memory_map/testing/maps.hpp"

namespace pvh::guest {
namespace {

using memory_map::RawEntry;
using memory_map::Type;
using memory_map::testing::ram;
using memory_map::testing::reserved;
using testing::BootBuilder;
using testing::FakeMachine;
using testing::FakeXen;
using testing::HeapStorage;

constexpr StartInfo kVersion0{.version = 0};
constexpr StartInfo kVersion1{.version = 1, .memmap = base::PhysAddr(0x7000), .memmap_entries = 2};

constexpr bool chooses(const StartInfo& info, bool on_xen, MapSource source) {
  const auto chosen = choose_map_source(info, on_xen);
  return chosen && *chosen == source;
}
constexpr bool fails(const StartInfo& info, BootErrorCode code) {
  const auto chosen = choose_map_source(info, false);
  return !chosen && chosen.error().code == code;
}
constexpr StartInfo without_entries(StartInfo info) {
  info.memmap_entries = 0;
  return info;
}
constexpr StartInfo without_address(const StartInfo& info) {
  return {.version = info.version, .memmap_entries = info.memmap_entries};
}
constexpr StartInfo of_version(StartInfo info, std::uint32_t version) {
  info.version = version;
  return info;
}

static_assert(chooses(kVersion0, true, MapSource::kXen));
static_assert(fails(kVersion0, BootErrorCode::kVersion0WithoutXen));
static_assert(chooses(kVersion1, true, MapSource::kTable));
static_assert(chooses(kVersion1, false, MapSource::kTable));
static_assert(chooses(of_version(kVersion1, 2), false, MapSource::kTable));
static_assert(chooses(without_entries(kVersion1), true, MapSource::kXen));
static_assert(fails(without_entries(kVersion1), BootErrorCode::kEmptyMap));
static_assert(chooses(without_address(without_entries(kVersion1)), true, MapSource::kXen));
static_assert(fails(without_address(without_entries(kVersion1)), BootErrorCode::kEmptyMap));
static_assert(chooses(without_address(kVersion1), true, MapSource::kXen));
static_assert(fails(without_address(kVersion1), BootErrorCode::kMalformedMemmap));
// A version 0 has no such fields, whatever is written there.
static_assert(chooses(of_version(kVersion1, 0), true, MapSource::kXen));
static_assert(fails(of_version(kVersion1, 0), BootErrorCode::kVersion0WithoutXen));

class AcquireMap : public ::testing::Test {
 protected:
  std::expected<AcquiredMap, BootError> acquire(std::size_t room = 64) {
    Diagnostics ignored;
    StartInfo info;
    read_start_info(fake_.machine(), builder_.place(), ignored, info).value();
    token_ = detect_hypervisors(fake_.machine()).xen();
    storage_ = std::make_unique<HeapStorage>(testing::StorageSizes{.entries = room});
    AcquiredMap map;
    const auto acquired = acquire_map(fake_.machine(), info, token_, options_,
                                      storage_->map_spans(), diagnostics_, map);
    if (!acquired) {
      return std::unexpected(acquired.error());
    }
    return map;
  }
  void use_xen(std::optional<std::vector<RawEntry>> map) {
    xen_ = std::make_unique<FakeXen>(fake_);
    xen_->map = std::move(map);
  }
  void expect_error(BootErrorCode code, std::uint64_t value, std::size_t room = 64) {
    const auto map = acquire(room);
    ASSERT_FALSE(map);
    EXPECT_EQ(map.error(), (BootError{code, value}));
  }
  void expect_map(const std::vector<memory_map::Entry>& expected, std::size_t room = 64) {
    const auto map = acquire(room);
    ASSERT_TRUE(map) << name(map.error().code);
    EXPECT_TRUE(std::ranges::equal(map->map, expected))
        << ::testing::PrintToString(std::vector(map->map.begin(), map->map.end()));
  }
  // Pages with gaps between them, from 1 MiB up.
  static std::vector<RawEntry> many(std::size_t count) {
    std::vector<RawEntry> map;
    for (std::size_t i = 0; i < count; ++i) {
      map.push_back({0x100000 + 0x2000 * i, 0x1000, 1});
    }
    return map;
  }

  FakeMachine fake_;
  BootBuilder builder_{fake_};
  std::unique_ptr<FakeXen> xen_;
  std::optional<xen::Token> token_;
  std::unique_ptr<HeapStorage> storage_;
  memory_map::NormalizeOptions options_{.phys_bits = 64};
  Diagnostics diagnostics_;
};

TEST_F(AcquireMap, ReadsTheTable) {
  const auto map = acquire();
  ASSERT_TRUE(map);
  EXPECT_EQ(map->source, MapSource::kTable);
  EXPECT_TRUE(std::ranges::equal(map->raw, builder_.map));
  EXPECT_TRUE(
      std::ranges::equal(map->map, std::vector{ram(0x1000, 0x9efff), ram(0x100000, 0x7ffffff)}));
  EXPECT_FALSE(map->possibly_truncated);
  EXPECT_TRUE(diagnostics_.all().empty());
}

TEST_F(AcquireMap, PrefersTheTableOnXen) {
  use_xen(std::vector<RawEntry>{{0x100000, 0x1000, 1}});
  const auto map = acquire();
  ASSERT_TRUE(map);
  EXPECT_EQ(map->source, MapSource::kTable);
  EXPECT_TRUE(fake_.hypercalls.empty());
}

TEST_F(AcquireMap, ReadsATableAnywhere) {
  builder_.low_memory = 0;
  for (const std::uint64_t address :
       {std::uint64_t{0x40000000} - 24, std::uint64_t{0x80000000}, (std::uint64_t{1} << 32) - 8,
        (std::uint64_t{1} << 32) + 0x1003, (std::uint64_t{1} << 46), UINT64_MAX - 47}) {
    builder_.memmap = address;
    expect_map({ram(0x1000, 0x9efff), ram(0x100000, 0x7ffffff)});
  }
}

TEST_F(AcquireMap, ReadsMoreEntriesThanEightBitsCount) {
  for (const std::size_t count : {1u, 128u, 129u, 255u, 256u, 257u, 300u, 1024u}) {
    builder_.map = many(count);
    builder_.low_memory = 0;
    builder_.memmap = 0x10000000 + 0x100000 * count;
    const auto map = acquire(1024);
    ASSERT_TRUE(map) << count;
    EXPECT_EQ(map->raw.size(), count);
    EXPECT_EQ(map->map.size(), count);
    EXPECT_EQ(map->map.back(),
              ram(0x100000 + 0x2000 * (count - 1), 0x100fff + 0x2000 * (count - 1)));
  }
}

TEST_F(AcquireMap, TellsHowManyEntriesATableHas) {
  builder_.map = many(65);
  expect_error(BootErrorCode::kMapStorageTooSmall, 65);
}

TEST_F(AcquireMap, HasALimit) {
  builder_.memmap_entries = UINT32_MAX;
  expect_error(BootErrorCode::kMemmapTooLarge, UINT32_MAX);
  builder_.memmap_entries = 0x0aaaaaab;  // its bytes wrap 32 bits
  expect_error(BootErrorCode::kMemmapTooLarge, 0x0aaaaaab);
  builder_.memmap_entries = 65537;
  expect_error(BootErrorCode::kMemmapTooLarge, 65537);
  builder_.memmap_entries = 65536;
  expect_error(BootErrorCode::kMapStorageTooSmall, 65536);
}

TEST_F(AcquireMap, RefusesATableThatWraps) {
  builder_.map.clear();
  builder_.memmap_entries = 2;
  builder_.memmap = UINT64_MAX - 46;
  expect_error(BootErrorCode::kMalformedMemmap, UINT64_MAX - 46);
}

TEST_F(AcquireMap, RefusesATableThatIsNotAllThere) {
  builder_.low_memory = 0;
  builder_.memmap_entries = 3;
  expect_error(BootErrorCode::kMalformedMemmap, 0x7000);
}

TEST_F(AcquireMap, FailsByTheRule) {
  builder_.map.clear();
  expect_error(BootErrorCode::kEmptyMap, 0);
  builder_.memmap_entries = 2;
  builder_.memmap = 0;
  expect_error(BootErrorCode::kMalformedMemmap, 0);
  builder_.version = 0;
  expect_error(BootErrorCode::kVersion0WithoutXen, 0);
  EXPECT_TRUE(fake_.hypercalls.empty());
}

TEST_F(AcquireMap, FailsWithoutUsableRam) {
  builder_.map = {{0, 0x1000, 1}, {0x100000, 0x100000, 2}, {0x300800, 0x1000, 1}};
  expect_error(BootErrorCode::kNoUsableRam, 3);
}

TEST_F(AcquireMap, AsksXenForAVersion0) {
  builder_.version = 0;
  use_xen(builder_.map);
  const auto map = acquire();
  ASSERT_TRUE(map);
  EXPECT_EQ(map->source, MapSource::kXen);
  EXPECT_TRUE(std::ranges::equal(map->raw, builder_.map));
  EXPECT_FALSE(map->possibly_truncated);
  EXPECT_TRUE(diagnostics_.all().empty());
}

TEST_F(AcquireMap, AsksXenWhereTheTableIsNone) {
  const std::vector<RawEntry> xens{{0x100000, 0x100000, 1}};
  use_xen(xens);
  const auto expect_xens = [&](std::vector<Diagnostic> expected) {
    diagnostics_ = {};
    const auto map = acquire();
    ASSERT_TRUE(map);
    EXPECT_EQ(map->source, MapSource::kXen);
    EXPECT_TRUE(std::ranges::equal(map->raw, xens));
    EXPECT_TRUE(std::ranges::equal(diagnostics_.all(), expected));
  };
  builder_.memmap_entries = 0;
  expect_xens({});
  builder_.memmap_entries = 2;
  builder_.memmap = 0;
  expect_xens({{DiagnosticKind::kMemmapWithoutAddress, 0, 2}});
  builder_.map.clear();
  builder_.memmap = 0x40000000;
  expect_xens({{DiagnosticKind::kMemmapUnreadable, 0, 0x40000000}});
  builder_.memmap = UINT64_MAX;
  expect_xens({{DiagnosticKind::kMemmapUnreadable, 0, UINT64_MAX}});
  builder_.map = {{0x100000, 0x100000, 2}};
  builder_.memmap_entries.reset();
  builder_.memmap = 0x50000000;
  expect_xens({{DiagnosticKind::kTableWithoutRam, 0, 1}});
}

TEST_F(AcquireMap, TellsWhyXenGaveNoMap) {
  builder_.version = 0;
  use_xen(std::nullopt);
  expect_error(BootErrorCode::kMapHypercallFailed, 38);
  xen_->forced[{12, 9}] = -14;
  expect_error(BootErrorCode::kMapHypercallFailed, 14);
  xen_->forced.clear();
  xen_->map = many(2);
  xen_->claimed_entries = 66;
  expect_error(BootErrorCode::kMapHypercallFailed,
               static_cast<std::uint64_t>(xen::Error::kBadAnswer));
  xen_->claimed_entries.reset();
  xen_->map = std::vector<RawEntry>{{0x100000, 0x100000, 2}};
  expect_error(BootErrorCode::kNoUsableRam, 1);
  xen_->map = std::vector<RawEntry>{};
  expect_error(BootErrorCode::kNoUsableRam, 0);
}

TEST_F(AcquireMap, TellsWhyXenGaveNoMapAfterATableWithoutRam) {
  builder_.map = {{0x100000, 0x100000, 2}};
  use_xen(std::nullopt);
  expect_error(BootErrorCode::kMapHypercallFailed, 38);
  EXPECT_TRUE(diagnostics_.has(DiagnosticKind::kTableWithoutRam));
}

TEST_F(AcquireMap, KeepsAMapFromXenThatFitsExactly) {
  builder_.version = 0;
  use_xen(many(16));
  const auto map = acquire(16);
  ASSERT_TRUE(map);
  EXPECT_EQ(map->map.size(), 16u);
  EXPECT_FALSE(map->possibly_truncated);
  EXPECT_TRUE(diagnostics_.all().empty());
}

TEST_F(AcquireMap, TakesNothingAboveWhatWasCutOff) {
  builder_.version = 0;
  for (const std::size_t count : {17u, 18u, 1000u}) {
    use_xen(many(count));
    diagnostics_ = {};
    const auto map = acquire(16);
    ASSERT_TRUE(map);
    EXPECT_EQ(map->raw.size(), 16u);
    EXPECT_EQ(map->map.back(), ram(0x11e000, 0x11efff));
    EXPECT_TRUE(map->possibly_truncated);
    ASSERT_EQ(diagnostics_.all().size(), 1u);
    EXPECT_EQ(diagnostics_.all()[0], (Diagnostic{DiagnosticKind::kMapPossiblyTruncated, 0, 16}));
  }
}

TEST_F(AcquireMap, RefusesACutOffMapThatMayHideReservations) {
  builder_.version = 0;
  // RAM, then a reservation inside it that is cut off.
  use_xen(std::vector<RawEntry>{{0, 0x10000000, 1}, {0x20000000, 0x1000, 2}, {0x1000000, 1, 2}});
  expect_error(BootErrorCode::kMapStorageTooSmall, 3, 2);
  // The first that is cut off lies inside the last that is kept.
  use_xen(std::vector<RawEntry>{{0, 0x1000, 1}, {0x10000, 0x10000, 1}, {0x18000, 1, 2}});
  expect_error(BootErrorCode::kMapStorageTooSmall, 3, 2);
  use_xen(std::vector<RawEntry>{{0, 0x1000, 1}, {0x10000, UINT64_MAX, 1}, {0x18000, 1, 2}});
  expect_error(BootErrorCode::kMapStorageTooSmall, 3, 2);
  use_xen(many(1));
  expect_error(BootErrorCode::kMapStorageTooSmall, 1, 0);
}

TEST_F(AcquireMap, NormalisesWhatItReads) {
  // Unsorted, overlapping in both orders, empty, of any type, sub-page, to exactly 2^64 and beyond.
  builder_.map = {
      {0x40000000, 0x1000, 2},
      {0x3ffff800, 0x10000, 1},
      {0x10000000, 0x100000, 1},
      {0x10001000, 0x1000, 2},
      {0x20000000, 0, 1},
      {0x20000000, 0x10000, 1},
      {0x20001000, 0x1000, 0},
      {0x20003000, 0x1000, 7},
      {0x20005000, 0x1000, 8},
      {0x20007000, 0x1000, 12},
      {0x20009000, 0x1000, UINT32_MAX},
      {UINT64_MAX - 0xfff, 0x1000, 1},
      {UINT64_MAX - 0x1fff, 0x2001, 1},
      {UINT64_MAX - 0x2fff, 0x1000, 2},
  };
  expect_map({
      ram(0x10000000, 0x10000fff),
      reserved(0x10001000, 0x10001fff),
      ram(0x10002000, 0x100fffff),
      ram(0x20000000, 0x20000fff),
      {memory_map::testing::range(0x20001000, 0x20001fff), Type{0}},
      ram(0x20002000, 0x20002fff),
      {memory_map::testing::range(0x20003000, 0x20003fff), Type::kPmem},
      ram(0x20004000, 0x20004fff),
      {memory_map::testing::range(0x20005000, 0x20005fff), Type::kUnaccepted},
      ram(0x20006000, 0x20006fff),
      {memory_map::testing::range(0x20007000, 0x20007fff), Type{12}},
      ram(0x20008000, 0x20008fff),
      {memory_map::testing::range(0x20009000, 0x20009fff), Type{UINT32_MAX}},
      ram(0x2000a000, 0x2000ffff),
      reserved(0x40000000, 0x40000fff),
      ram(0x40001000, 0x4000efff),
      reserved(UINT64_MAX - 0x2fff, UINT64_MAX - 0x2000),
      ram(UINT64_MAX - 0xfff, UINT64_MAX),
  });
  ASSERT_EQ(diagnostics_.all().size(), 1u);
  EXPECT_EQ(diagnostics_.all()[0], (Diagnostic{DiagnosticKind::kMapAnomaly, 0, 14}));
}

TEST_F(AcquireMap, IgnoresReservedFields) {
  builder_.place();
  fake_.put(0x7000 + 20, base::Le32(1));
  fake_.put(0x7000 + 44, base::Le32(0xdeadbeef));
  expect_map({ram(0x1000, 0x9efff), ram(0x100000, 0x7ffffff)});
}

TEST(PhysicalAddressBits, AreWhatTheProcessorSays) {
  FakeMachine fake;
  EXPECT_EQ(physical_address_bits(fake.machine()), 36u);
  for (const auto [said, expected] : {std::pair{32u, 32u},
                                      {36u, 36u},
                                      {39u, 39u},
                                      {52u, 52u},
                                      {0u, 36u},
                                      {31u, 36u},
                                      {53u, 52u},
                                      {255u, 52u},
                                      {0x3030u, 48u}}) {
    fake.set_physical_bits(said);
    EXPECT_EQ(physical_address_bits(fake.machine()), expected) << said;
  }
  fake.leaves[{0x80000000, 0}].eax = 0x80000007;
  EXPECT_EQ(physical_address_bits(fake.machine()), 36u);
}

}  // namespace
}  // namespace pvh::guest
