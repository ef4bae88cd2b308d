// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/print.hpp>

#include "lib/memory_map/testing/maps.hpp"

namespace pvh::memory_map {
namespace {

using testing::entry;
using testing::ram;
using testing::reserved;

template <typename T>
std::string printed(const T& what) {
  std::string text;
  print(what, [&](std::string_view line) { text += line; });
  return text;
}

TEST(Print, AMapIsOneLineAnEntry) {
  const std::vector<Entry> map{
      ram(0, 0x9fbff),
      reserved(0x9fc00, 0x9ffff),
      entry(0xa0000, 0xa0000, Type::kAcpi),
      entry(0xb0000, 0xb0fff, Type::kNvs),
      ram(0x100000, 0xbfffffff),
      entry(0xe0000000, 0xefffffff, Type::kUnusable),
      entry(0xf0000000, 0xf0001fff, Type::kDisabled),
      ram(0x100000000, 0x1000fffffff),
      entry(0x20000000000, 0x3ffffffffff, Type::kPmem),
      entry(0x40000000000, 0x40000000fff, Type::kUnaccepted),
      entry(0x50000000000, 0x50000000fff, Type{0}),
      entry(0x8000000000000000, UINT64_MAX, Type{UINT32_MAX}),
  };
  EXPECT_EQ(printed(std::span<const Entry>(map)),
            "0x0000000000000000-0x000000000009fbff      639 KiB  RAM\n"
            "0x000000000009fc00-0x000000000009ffff        1 KiB  reserved\n"
            "0x00000000000a0000-0x00000000000a0000        1 B    ACPI data\n"
            "0x00000000000b0000-0x00000000000b0fff        4 KiB  ACPI NVS\n"
            "0x0000000000100000-0x00000000bfffffff     3071 MiB  RAM\n"
            "0x00000000e0000000-0x00000000efffffff      256 MiB  unusable\n"
            "0x00000000f0000000-0x00000000f0001fff        8 KiB  disabled\n"
            "0x0000000100000000-0x000001000fffffff  1044736 MiB  RAM\n"
            "0x0000020000000000-0x000003ffffffffff        2 TiB  persistent memory\n"
            "0x0000040000000000-0x0000040000000fff        4 KiB  unaccepted\n"
            "0x0000050000000000-0x0000050000000fff        4 KiB  type 0\n"
            "0x8000000000000000-0xffffffffffffffff        8 EiB  type 4294967295\n");
}

TEST(Print, RawEntriesAppearAsTheyWereGiven) {
  const std::vector<RawEntry> raw{{0xfffffffffffff000, 0xffffffffffffffff, 1}, {0, 0, 0}};
  EXPECT_EQ(printed(std::span<const RawEntry>(raw)),
            "0xfffffffffffff000+0xffffffffffffffff  18446744073709551615 B    RAM\n"
            "0x0000000000000000+0x0000000000000000        0 B    type 0\n");
}

TEST(Print, StatisticsAreOneLine) {
  EXPECT_EQ(printed(statistics(std::array{ram(0x1000, 0x9ffff), ram(0x100000, 0xbfffffff),
                                          ram(0x100000000, 0x13fffffff)})),
            "RAM: 4193916 KiB in 3 ranges, to 0x00000000bfffffff, above 4 GiB to "
            "0x000000013fffffff, largest 3071 MiB\n");
  EXPECT_EQ(printed(statistics(std::array{ram(0x1000, 0x1fff)})),
            "RAM: 4 KiB in 1 range, to 0x0000000000001fff, largest 4 KiB\n");
  EXPECT_EQ(printed(Statistics{}), "RAM: 0 B in 0 ranges\n");
}

TEST(Print, AReportNamesOnlyWhatIsOdd) {
  EXPECT_EQ(printed(Report{.needed = 5}), "");
  EXPECT_EQ(printed(Report{.zero_length = 1, .overlaps = 2}),
            "1 entry without a byte: skipped\n"
            "2 entries overlapping another: settled by type\n");
  const Report all{.zero_length = 1,
                   .wrapped_ram = 1,
                   .wrapped_other = 1,
                   .clipped = 1,
                   .overlaps = 1,
                   .unknown_types = 1,
                   .sub_page_ram = 1,
                   .dropped_ranges = 3,
                   .dropped_ram = base::ByteSize(0x5000),
                   .needed = 9};
  EXPECT_EQ(printed(all),
            "1 entry without a byte: skipped\n"
            "1 entry of RAM past the end of the address space: dropped\n"
            "1 entry not of RAM past the end of the address space: cut off there\n"
            "1 entry beyond what the processor can address: cut off there\n"
            "1 entry overlapping another: settled by type\n"
            "1 entry of unknown type: not used as RAM\n"
            "1 entry of RAM without one whole page: dropped\n"
            "3 entries of RAM for which there was no room: dropped (20 KiB)\n");
  EXPECT_EQ(format_anomaly(all, kAnomalies), std::nullopt);
}

TEST(Line, KeepsToItsSize) {
  Line line;
  line.spaces(SIZE_MAX).text("x");
  EXPECT_EQ(line.view(), std::string(160, ' '));
}

TEST(Line, WritesNumbersToTheirLimits) {
  Line line;
  line.decimal(0).text(" ").decimal(UINT64_MAX).text(" ").hex(UINT64_MAX).text(" ").decimal(7, 3);
  EXPECT_EQ(line.view(), "0 18446744073709551615 0xffffffffffffffff   7");
}

}  // namespace
}  // namespace pvh::memory_map
