// SPDX-License-Identifier: BSD-2-Clause
#include <cstdint>
#include <string_view>

#include <gtest/gtest.h>
#include <pvh/guest/start_info.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"

namespace pvh::guest {
namespace {

using testing::BootBuilder;
using testing::FakeMachine;

class ReadStartInfo : public ::testing::Test {
 protected:
  std::expected<StartInfo, BootError> read(std::uint64_t address) {
    StartInfo info;
    const auto read = read_start_info(fake_.machine(), base::PhysAddr(address), diagnostics_, info);
    if (!read) {
      return std::unexpected(read.error());
    }
    return info;
  }
  static BootError unreadable(std::uint64_t address) {
    return {BootErrorCode::kStartInfoUnreadable, address};
  }

  FakeMachine fake_;
  BootBuilder builder_{fake_};
  Diagnostics diagnostics_;
};

TEST_F(ReadStartInfo, HasEveryFieldOfVersion1) {
  builder_.flags = 3;
  builder_.nr_modules = 2;
  builder_.command_line = "quiet";
  builder_.rsdp = 0xe0000;
  const auto info = read(builder_.place().value());
  ASSERT_TRUE(info);
  EXPECT_EQ(*info, (StartInfo{.address = base::PhysAddr(0x6000),
                              .version = 1,
                              .flags = 3,
                              .nr_modules = 2,
                              .modlist = base::PhysAddr(0x6040),
                              .command_line = base::PhysAddr(0x20000),
                              .rsdp = base::PhysAddr(0xe0000),
                              .memmap = base::PhysAddr(0x7000),
                              .memmap_entries = 2}));
  EXPECT_EQ(info->size(), base::ByteSize(56));
  EXPECT_TRUE(diagnostics_.all().empty());
}

TEST_F(ReadStartInfo, HasAddressZeroAsAbsent) {
  builder_.memmap = 0;
  const auto info = read(builder_.place().value());
  ASSERT_TRUE(info);
  EXPECT_FALSE(info->modlist || info->command_line || info->rsdp || info->memmap);
  EXPECT_EQ(info->memmap_entries, 2u);
}

TEST_F(ReadStartInfo, NeverReadsPastVersion0) {
  builder_.version = 0;
  const std::uint64_t address = builder_.place().value();
  fake_.put(address + 40, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
  const auto info = read(address);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size(), base::ByteSize(40));
  EXPECT_FALSE(info->memmap);
  EXPECT_EQ(info->memmap_entries, 0u);
  EXPECT_TRUE(fake_.was_read(address + 39));
  for (std::uint64_t after = address + 40; after < address + 64; ++after) {
    EXPECT_FALSE(fake_.was_read(after)) << after;
  }
}

TEST_F(ReadStartInfo, TakesAVersion0ThatEndsWithMemory) {
  builder_.version = 0;
  builder_.low_memory = 0;
  EXPECT_TRUE(read(builder_.place().value()));
}

TEST_F(ReadStartInfo, RefusesAVersion1ThatEndsAfter40Bytes) {
  builder_.version = 0;
  builder_.low_memory = 0;
  const std::uint64_t address = builder_.place().value();
  fake_.put(address + 4, base::Le32(1));
  EXPECT_EQ(read(address).error(), unreadable(address));
}

TEST_F(ReadStartInfo, ReadsANewerVersionAs1) {
  builder_.version = 7;
  const auto info = read(builder_.place().value());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->version, 7u);
  EXPECT_EQ(info->size(), base::ByteSize(56));
  EXPECT_EQ(info->memmap, base::PhysAddr(0x7000));
  ASSERT_EQ(diagnostics_.all().size(), 1u);
  EXPECT_EQ(diagnostics_.all()[0], (Diagnostic{DiagnosticKind::kNewerVersion, 0, 7}));
}

TEST_F(ReadStartInfo, Refuses0) {
  fake_.add_memory(0, 0x1000);
  EXPECT_EQ(read(0).error(), BootError{BootErrorCode::kNoStartInfo});
  EXPECT_TRUE(fake_.reads().empty());
}

TEST_F(ReadStartInfo, TellsWhatIsThereInsteadOfTheMagic) {
  builder_.magic = 0x2badb002;
  EXPECT_EQ(read(builder_.place().value()).error(),
            (BootError{BootErrorCode::kBadMagic, 0x2badb002}));
}

TEST_F(ReadStartInfo, RefusesWhatIsNotMapped) {
  EXPECT_EQ(read(0x6000).error(), unreadable(0x6000));
}

TEST_F(ReadStartInfo, EndsWithTheFirst4GiB) {
  constexpr std::uint64_t k4GiB = std::uint64_t{1} << 32;
  builder_.low_memory = 0;
  fake_.add_memory(k4GiB - 0x1000, 0x2000);
  builder_.start_info = k4GiB - 56;
  EXPECT_TRUE(read(builder_.place().value()));
  builder_.start_info = k4GiB - 55;
  EXPECT_EQ(read(builder_.place().value()).error(), unreadable(k4GiB - 55));
  builder_.version = 0;
  builder_.start_info = k4GiB - 40;
  EXPECT_TRUE(read(builder_.place().value()));
  builder_.start_info = k4GiB - 39;
  EXPECT_EQ(read(builder_.place().value()).error(), unreadable(k4GiB - 39));
}

TEST_F(ReadStartInfo, RefusesWhatNoEbxHolds) {
  EXPECT_EQ(read(UINT64_MAX - 20).error(), unreadable(UINT64_MAX - 20));
  EXPECT_EQ(read(std::uint64_t{1} << 32).error(), unreadable(std::uint64_t{1} << 32));
  EXPECT_TRUE(fake_.reads().empty());
}

TEST_F(ReadStartInfo, AsksForNoAlignment) {
  for (std::uint64_t address = 0x6001; address < 0x6008; ++address) {
    builder_.start_info = address;
    const auto info = read(builder_.place().value());
    ASSERT_TRUE(info) << address;
    EXPECT_EQ(info->memmap, base::PhysAddr(0x7000));
  }
}

TEST_F(ReadStartInfo, IgnoresReserved) {
  const std::uint64_t address = builder_.place().value();
  fake_.put(address + 52, base::Le32(0xdeadbeef));
  EXPECT_TRUE(read(address));
  EXPECT_TRUE(diagnostics_.all().empty());
}

TEST_F(ReadStartInfo, CrossesPagesAnd2MiBAnd1GiB) {
  builder_.low_memory = 0;
  for (const std::uint64_t border : {0x7000ul, 0x200000ul, 0x40000000ul, 0x80000000ul}) {
    // Two regions that touch at the border.
    fake_.add_memory(border - 0x100, 0x100);
    fake_.add_memory(border, 0x100);
    builder_.memmap = 0;
    for (std::uint64_t before = 1; before < 56; ++before) {
      builder_.start_info = border - before;
      const auto info = read(builder_.place().value());
      ASSERT_TRUE(info) << std::hex << border << " - " << before;
      EXPECT_EQ(info->memmap_entries, 2u);
    }
  }
}

TEST(ReadRawStartInfo, HasTheDwordsThatCanBeRead) {
  FakeMachine fake;
  fake.put(0x1000, "abcdefghijkl?");
  const auto raw = read_raw_start_info(fake.machine(), base::PhysAddr(0x1000));
  EXPECT_EQ(raw.count, 3u);
  EXPECT_EQ(raw.words[0], 0x64636261u);
  EXPECT_EQ(raw.words[2], 0x6c6b6a69u);
  EXPECT_EQ(raw.words[3], 0u);
  fake.add_memory(0x2000, 0x1000);
  EXPECT_EQ(read_raw_start_info(fake.machine(), base::PhysAddr(0x2000)).count, 14u);
  EXPECT_EQ(read_raw_start_info(fake.machine(), base::PhysAddr(0x2ffc)).count, 1u);
  EXPECT_EQ(read_raw_start_info(fake.machine(), base::PhysAddr(UINT64_MAX - 2)).count, 0u);
}

}  // namespace
}  // namespace pvh::guest
