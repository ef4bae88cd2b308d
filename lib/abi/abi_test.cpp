// SPDX-License-Identifier: BSD-2-Clause
// Sizes and offsets are asserted in the headers; here the structures are held against bytes as they
// lie in memory.
#include <array>
#include <cstddef>
#include <cstdint>

#include <gmock/gmock.h>
#include <pvh/abi/e820.hpp>
#include <pvh/abi/elf_note.hpp>
#include <pvh/abi/start_info.hpp>
#include <pvh/base/bytes.hpp>

namespace pvh::abi {
namespace {

TEST(StartInfo, IsTheseFiftySixBytes) {
  const hvm_start_info info{
      .magic = base::Le32(XEN_HVM_START_MAGIC_VALUE),
      .version = base::Le32(1),
      .flags = base::Le32(SIF_PRIVILEGED | SIF_INITDOMAIN),
      .nr_modules = base::Le32(2),
      .modlist_paddr = base::Le64(0x6040),
      .cmdline_paddr = base::Le64(0x20000),
      .rsdp_paddr = base::Le64(0xe0000),
      .memmap_paddr = base::Le64(0x1122334455667788),
      .memmap_entries = base::Le32(5),
      .reserved = base::Le32(0),
  };
  constexpr std::array<std::uint8_t, 56> kGolden{
      0x78, 0xc5, 0x6e, 0x33, 1, 0, 0, 0, 3,    0,    0,    0,    2,    0,    0,    0,  //
      0x40, 0x60, 0,    0,    0, 0, 0, 0, 0,    0,    2,    0,    0,    0,    0,    0,  //
      0,    0,    0x0e, 0,    0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
      5,    0,    0,    0,    0, 0, 0, 0};
  const auto bytes = base::to_bytes(info);
  for (std::size_t i = 0; i < kGolden.size(); ++i) {
    EXPECT_EQ(std::to_integer<std::uint8_t>(bytes[i]), kGolden[i]) << "at " << i;
  }
  const auto read = base::read_at<hvm_start_info>(bytes, 0);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->memmap_paddr.get(), 0x1122334455667788u);
}

TEST(MemoryMapEntries, AreTwentyFourBytesInTheTableAndTwentyFromTheHypercall) {
  EXPECT_EQ(sizeof(hvm_memmap_table_entry), 24u);
  EXPECT_EQ(sizeof(e820entry), 20u);
}

TEST(XenNote, OwnerCountsItsTerminator) {
  EXPECT_EQ(kXenNoteOwner.size(), 4u);
  EXPECT_EQ(kXenNoteOwner[3], '\0');
}

}  // namespace
}  // namespace pvh::abi
