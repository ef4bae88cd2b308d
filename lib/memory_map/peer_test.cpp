// SPDX-License-Identifier: BSD-2-Clause
// What a kernel gets to see of the maps in the field, as it would print them.
#include <array>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/memory_map/codec.hpp>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/print.hpp>

#include "lib/memory_map/testing/maps.hpp"
#include "lib/memory_map/testing/peer_maps.hpp"

namespace pvh::memory_map {
namespace {

// The map, what it amounts to, and what was odd.
std::string seen(const std::vector<RawEntry>& raw) {
  // Through both forms of bytes, as it comes.
  std::vector<RawEntry> decoded(raw.size());
  for (const Form form : {Form::kTable, Form::kPacked}) {
    std::vector<std::byte> bytes(*encoded_size(form, raw.size()));
    EXPECT_TRUE(encode(form, raw, bytes));
    EXPECT_TRUE(decode(form, bytes, raw.size(), decoded));
    EXPECT_EQ(decoded, raw);
  }
  const auto result = testing::normalized(decoded);
  std::string text;
  const auto sink = [&](std::string_view line) { text += line; };
  print(std::span<const Entry>(result.map), sink);
  print(statistics(result.map), sink);
  print(result.report, sink);
  return text;
}

TEST(Peers, Firecracker) {
  EXPECT_EQ(seen(testing::kFirecracker),
            "0x0000000000001000-0x000000000009efff      632 KiB  RAM\n"
            "0x000000000009f000-0x00000000000dffff      260 KiB  reserved\n"
            "0x0000000000100000-0x00000000bfffffff     3071 MiB  RAM\n"
            "0x00000000eec00000-0x00000000febfffff      256 MiB  reserved\n"
            "0x0000000100000000-0x000000017fffffff        2 GiB  RAM\n"
            "RAM: 5242488 KiB in 3 ranges, to 0x00000000bfffffff, above 4 GiB to "
            "0x000000017fffffff, largest 3071 MiB\n");
}

TEST(Peers, CloudHypervisor) {
  EXPECT_EQ(seen(testing::kCloudHypervisor),
            "0x0000000000001000-0x000000000009ffff      636 KiB  RAM\n"
            "0x0000000000100000-0x000000001fffffff      511 MiB  RAM\n"
            "0x00000000e8000000-0x00000000f7ffffff      256 MiB  reserved\n"
            "RAM: 523900 KiB in 2 ranges, to 0x000000001fffffff, largest 511 MiB\n");
}

TEST(Peers, QemuPcWithSeaBios) {
  EXPECT_EQ(seen(testing::kSeaBiosPc),
            "0x0000000000001000-0x000000000009efff      632 KiB  RAM\n"
            "0x000000000009f000-0x000000000009ffff        4 KiB  reserved\n"
            "0x00000000000f0000-0x00000000000fffff       64 KiB  reserved\n"
            "0x0000000000100000-0x000000001ffdffff   523136 KiB  RAM\n"
            "0x000000001ffe0000-0x000000001fffffff      128 KiB  reserved\n"
            "0x00000000feffc000-0x00000000feffffff       16 KiB  reserved\n"
            "0x00000000fffc0000-0x00000000ffffffff      256 KiB  reserved\n"
            "0x000000fd00000000-0x000000ffffffffff       12 GiB  reserved\n"
            "RAM: 523768 KiB in 2 ranges, to 0x000000001ffdffff, largest 523136 KiB\n");
}

TEST(Peers, QemuQ35WithSeaBios) {
  EXPECT_EQ(seen(testing::kSeaBiosQ35),
            "0x0000000000001000-0x000000000009efff      632 KiB  RAM\n"
            "0x000000000009f000-0x000000000009ffff        4 KiB  reserved\n"
            "0x00000000000f0000-0x00000000000fffff       64 KiB  reserved\n"
            "0x0000000000100000-0x000000007ffdffff  2096000 KiB  RAM\n"
            "0x000000007ffe0000-0x000000007fffffff      128 KiB  reserved\n"
            "0x00000000b0000000-0x00000000bfffffff      256 MiB  reserved\n"
            "0x00000000fed1c000-0x00000000fed1ffff       16 KiB  reserved\n"
            "0x00000000feffc000-0x00000000feffffff       16 KiB  reserved\n"
            "0x00000000fffc0000-0x00000000ffffffff      256 KiB  reserved\n"
            "0x0000000100000000-0x000000017fffffff        2 GiB  RAM\n"
            "0x000000fd00000000-0x000000ffffffffff       12 GiB  reserved\n"
            "RAM: 4193784 KiB in 3 ranges, to 0x000000007ffdffff, above 4 GiB to "
            "0x000000017fffffff, largest 2 GiB\n");
}

TEST(Peers, QemuMicrovmWithQboot) {
  EXPECT_EQ(seen(testing::kQboot),
            "0x0000000000001000-0x000000000009efff      632 KiB  RAM\n"
            "0x000000000009f000-0x000000000009ffff        4 KiB  reserved\n"
            "0x00000000000d0000-0x00000000000effff      128 KiB  ACPI NVS\n"
            "0x00000000000f0000-0x00000000000fffff       64 KiB  reserved\n"
            "0x0000000000100000-0x00000000bfffffff     3071 MiB  RAM\n"
            "0x00000000feffc000-0x00000000feffffff       16 KiB  reserved\n"
            "0x0000000100000000-0x000000013fffffff        1 GiB  RAM\n"
            "RAM: 4193912 KiB in 3 ranges, to 0x00000000bfffffff, above 4 GiB to "
            "0x000000013fffffff, largest 3071 MiB\n"
            "1 entry without a byte: skipped\n");
}

TEST(Peers, XenToolstack) {
  EXPECT_EQ(seen(testing::kXen),
            "0x0000000000001000-0x000000000009ffff      636 KiB  RAM\n"
            "0x0000000000100000-0x00000000efffffff     3839 MiB  RAM\n"
            "0x00000000fc000000-0x00000000fc002fff       12 KiB  ACPI NVS\n"
            "0x00000000feff8000-0x00000000feffffff       32 KiB  reserved\n"
            "0x0000000100000000-0x000000010fffffff      256 MiB  RAM\n"
            "RAM: 4193916 KiB in 3 ranges, to 0x00000000efffffff, above 4 GiB to "
            "0x000000010fffffff, largest 3839 MiB\n");
}

TEST(Peers, Gokvm) {
  EXPECT_EQ(seen(testing::kGokvm),
            "0x0000000000001000-0x000000000009efff      632 KiB  RAM\n"
            "0x0000000000100000-0x000000013fffffff     5119 MiB  RAM\n"
            "RAM: 5242488 KiB in 2 ranges, to 0x00000000ffffffff, above 4 GiB to "
            "0x000000013fffffff, largest 5119 MiB\n");
}

// Firecracker's start_info, map, command line, GDT and IDT lie in what its map calls RAM.
TEST(Peers, BootDataInRamIsKeptFromTheFreeList) {
  const auto map = testing::normalized(testing::kFirecracker).map;
  const std::array boot_data{
      testing::range(0x500, 0x527),          // GDT, IDT
      testing::range(0x6000, 0x605f),        // start_info, one module
      testing::range(0x7000, 0x7077),        // five entries
      testing::range(0x20000, 0x207ff),      // command line
      testing::range(0x1000000, 0x2345678),  // kernel
  };
  std::vector<Entry> out(edit_output_size(map.size(), boot_data.size()));
  std::vector<Scratch> scratch(edit_scratch_size(map.size(), boot_data.size()));
  Report report;
  const auto free = subtract(map, boot_data, out, scratch, {}, report);
  ASSERT_TRUE(free);
  EXPECT_THAT(std::vector(free->begin(), free->end()),
              ::testing::ElementsAre(
                  testing::ram(0x1000, 0x5fff), testing::ram(0x8000, 0x1ffff),
                  testing::ram(0x21000, 0x9efff), testing::ram(0x100000, 0xffffff),
                  testing::ram(0x2346000, 0xbfffffff), testing::ram(0x100000000, 0x17fffffff)));
  EXPECT_EQ(find_free_low_page(*free), testing::range(0x1000, 0x1fff));
}

}  // namespace
}  // namespace pvh::memory_map
