// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/memory_map/codec.hpp>

#include "lib/memory_map/testing/maps.hpp"

namespace pvh::memory_map {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> result;
  for (const int value : values) {
    result.push_back(static_cast<std::byte>(value));
  }
  return result;
}

// {0x100000, 0x8000000, RAM}, {0xfeffc000, 0x4000, reserved}, by hand.
const std::vector<std::byte> kTableBytes = bytes(
    {0, 0,    0x10, 0,    0, 0, 0, 0, 0, 0,    0, 8, 0, 0, 0, 0, 1, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef,
     0, 0xc0, 0xff, 0xfe, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0,    0,    0,    0});
const std::vector<std::byte> kPackedBytes =
    bytes({0, 0,    0x10, 0,    0, 0, 0, 0, 0, 0,    0, 8, 0, 0, 0, 0, 1, 0, 0, 0,
           0, 0xc0, 0xff, 0xfe, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0});
const std::vector<RawEntry> kEntries{{0x100000, 0x8000000, 1}, {0xfeffc000, 0x4000, 2}};

TEST(Codec, ReadsBothFormsAndIgnoresReservedFields) {
  std::array<RawEntry, 2> out;
  for (const auto& [form, data] :
       {std::pair{Form::kTable, kTableBytes}, {Form::kPacked, kPackedBytes}}) {
    const auto entries = decode(form, data, 2, out);
    ASSERT_TRUE(entries);
    EXPECT_TRUE(std::ranges::equal(*entries, kEntries));
    EXPECT_EQ(decode_entry(form, data, 1), kEntries[1]);
    EXPECT_EQ(decode_entry(form, data, 2), std::nullopt);
    EXPECT_EQ(decode_entry(form, data, std::numeric_limits<std::uint64_t>::max()), std::nullopt);
  }
}

TEST(Codec, NeverReadsBeyondTheBytes) {
  std::array<RawEntry, 4> out;
  for (const auto& [form, data] :
       {std::pair{Form::kTable, kTableBytes}, {Form::kPacked, kPackedBytes}}) {
    for (std::size_t size = 0; size < data.size(); ++size) {
      const auto entries = decode(form, base::Bytes(data).first(size), 2, out);
      ASSERT_FALSE(entries) << size;
      EXPECT_EQ(entries.error(), (MapError{MapErrorCode::kInputTooShort, data.size()}));
    }
    EXPECT_THAT(out, Each(RawEntry{})) << "nothing was written";
    EXPECT_EQ(decode(form, data, 3, out).error().code, MapErrorCode::kInputTooShort);
  }
}

TEST(Codec, CountsThatOverflowAreTooLong) {
  std::array<RawEntry, 1> out;
  // 24 times this is 24 in 64 bits.
  const std::uint64_t wraps = (std::uint64_t{1} << 61) + 1;
  EXPECT_EQ(decode(Form::kTable, kTableBytes, wraps, out).error(),
            (MapError{MapErrorCode::kInputTooShort, UINT64_MAX}));
  EXPECT_EQ(decode(Form::kTable, kTableBytes, 0xffffffff, out).error(),
            (MapError{MapErrorCode::kInputTooShort, 24ull * 0xffffffff}));
  EXPECT_EQ(decode(Form::kPacked, kPackedBytes, UINT64_MAX, out).error().code,
            MapErrorCode::kInputTooShort);
  EXPECT_EQ(encoded_size(Form::kTable, 3), 72u);
  EXPECT_EQ(encoded_size(Form::kPacked, 3), 60u);
  EXPECT_EQ(encoded_size(Form::kTable, wraps), std::nullopt);
}

TEST(Codec, SaysHowMuchRoomTheEntriesWant) {
  std::array<RawEntry, 1> out;
  EXPECT_EQ(decode(Form::kTable, kTableBytes, 2, out).error(),
            (MapError{MapErrorCode::kOutputTooSmall, 2}));
  EXPECT_EQ(decode(Form::kTable, {}, 0, {}).value().size(), 0u);
}

TEST(Codec, WritesBothFormsWithReservedFieldsZero) {
  std::vector<std::byte> table(kTableBytes.size() + 1, std::byte{0xee});
  const auto written = encode(Form::kTable, kEntries, table);
  ASSERT_TRUE(written);
  auto expected = kTableBytes;
  std::fill_n(expected.begin() + 20, 4, std::byte{0});
  EXPECT_TRUE(std::ranges::equal(*written, expected));
  EXPECT_EQ(table.back(), std::byte{0xee}) << "nothing after it was touched";

  std::vector<std::byte> packed(kPackedBytes.size());
  ASSERT_TRUE(encode(Form::kPacked, kEntries, packed));
  EXPECT_EQ(packed, kPackedBytes);
}

TEST(Codec, WritesAMapAsE820) {
  const std::vector<Entry> map{testing::ram(0x100000, 0x80fffff),
                               testing::reserved(0xfeffc000, 0xfeffffff)};
  std::vector<std::byte> packed(kPackedBytes.size());
  ASSERT_TRUE(encode(Form::kPacked, map, packed));
  EXPECT_EQ(packed, kPackedBytes);
}

TEST(Codec, WritesAllOrNothing) {
  for (const auto form : {Form::kTable, Form::kPacked}) {
    const std::size_t needed = 2 * entry_size(form);
    std::vector<std::byte> out(needed - 1);
    EXPECT_EQ(encode(form, kEntries, out).error(),
              (MapError{MapErrorCode::kOutputTooSmall, needed}));
    EXPECT_THAT(out, Each(std::byte{0}));
  }
}

TEST(Codec, KeepsExtremeNumbers) {
  const std::vector<RawEntry> in{{UINT64_MAX, UINT64_MAX, UINT32_MAX}, {0, 0, 0}};
  for (const auto form : {Form::kTable, Form::kPacked}) {
    std::array<std::byte, 48> data;
    std::array<RawEntry, 2> out;
    const auto written = encode(form, in, data);
    ASSERT_TRUE(written);
    EXPECT_THAT(decode(form, *written, 2, out).value(), ElementsAre(in[0], in[1]));
  }
}

TEST(Codec, IsConstexprForOneEntry) {
  static constexpr std::array<std::byte, 20> kZero{};
  static_assert(decode_entry(Form::kPacked, kZero, 0) == RawEntry{});
  static_assert(!decode_entry(Form::kTable, kZero, 0));
}

}  // namespace
}  // namespace pvh::memory_map
