// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <expected>
#include <string>

#include <gmock/gmock.h>
#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/checked.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/base/mapping.hpp>
#include <pvh/base/quantity.hpp>
#include <pvh/base/try.hpp>

namespace pvh::base {
namespace {

TEST(Checked, SumsThatDoNotFitAreNothing) {
  EXPECT_EQ(checked_add<std::uint64_t>(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT_EQ(checked_add<std::uint64_t>(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_add<std::uint16_t>(0xffff, 1), std::nullopt);
  EXPECT_EQ(checked_sub<std::uint32_t>(1, 2), std::nullopt);
  EXPECT_EQ(checked_sub<std::uint32_t>(2, 2), 0u);
  EXPECT_EQ(checked_mul<std::uint64_t>(1ull << 32, 1ull << 32), std::nullopt);
  EXPECT_EQ(checked_mul<std::uint64_t>(24, 128), 3072u);
}

TEST(Checked, NarrowKeepsTheValueOrNothing) {
  EXPECT_EQ(narrow<std::uint8_t>(255u), 255);
  EXPECT_EQ(narrow<std::uint8_t>(256u), std::nullopt);
  EXPECT_EQ(narrow<std::uint32_t>(-1), std::nullopt);
  EXPECT_EQ(narrow<int>(UINT64_MAX), std::nullopt);
}

TEST(Checked, AlignmentMustBeAPowerOfTwo) {
  EXPECT_EQ(align_up<std::uint64_t>(1, 4096), 4096u);
  EXPECT_EQ(align_up<std::uint64_t>(4096, 4096), 4096u);
  EXPECT_EQ(align_up<std::uint64_t>(17, 16), 32u);
  EXPECT_EQ(align_up<std::uint64_t>(17, 1), 17u);
  EXPECT_EQ(align_up<std::uint64_t>(UINT64_MAX, 4096), std::nullopt);
  EXPECT_EQ(align_up<std::uint64_t>(5, 0), std::nullopt);
  EXPECT_EQ(align_up<std::uint64_t>(5, 3), std::nullopt);
  EXPECT_EQ(align_down<std::uint64_t>(4097, 4096), 4096u);
  EXPECT_EQ(align_down<std::uint64_t>(4097, 6), std::nullopt);
  EXPECT_TRUE(is_aligned<std::uint64_t>(0, 8));
  EXPECT_FALSE(is_aligned<std::uint64_t>(4, 8));
  EXPECT_FALSE(is_aligned<std::uint64_t>(4, 0));
}

TEST(Address, ArithmeticIsChecked) {
  EXPECT_EQ(PhysAddr(8).checked_add(ByteSize(8)), PhysAddr(16));
  EXPECT_EQ(PhysAddr(UINT64_MAX).checked_add(ByteSize(1)), std::nullopt);
  EXPECT_EQ(PhysAddr(16).offset_from(PhysAddr(8)), ByteSize(8));
  EXPECT_EQ(PhysAddr(8).offset_from(PhysAddr(16)), std::nullopt);
  EXPECT_EQ(PhysAddr(0x1fff).align_down(kPageSize), PhysAddr(0x1000));
  EXPECT_EQ(PhysAddr(0x1001).align_up(kPageSize), PhysAddr(0x2000));
  EXPECT_EQ(PhysAddr(UINT64_MAX).align_up(kPageSize), std::nullopt);
  EXPECT_TRUE(PhysAddr(0x2000).is_aligned(kPageSize));
  EXPECT_EQ(ByteSize(1).align_up(kPageSize), kPageSize);
  EXPECT_EQ(ByteSize(UINT64_MAX).align_up(kPageSize), std::nullopt);
  EXPECT_EQ(ByteSize(1).checked_sub(ByteSize(2)), std::nullopt);
  EXPECT_EQ(ByteSize(3).checked_sub(ByteSize(2)), ByteSize(1));
  EXPECT_EQ(ByteSize(3).checked_add(ByteSize(UINT64_MAX)), std::nullopt);
}

TEST(Range, IsValidOrDoesNotExist) {
  EXPECT_EQ(Range::from_size(PhysAddr(5), ByteSize(0)), std::nullopt);
  EXPECT_EQ(Range::from_size(PhysAddr(UINT64_MAX), ByteSize(2)), std::nullopt);
  EXPECT_EQ(Range::from_end(PhysAddr(5), PhysAddr(5)), std::nullopt);
  EXPECT_EQ(Range::from_last(PhysAddr(6), PhysAddr(5)), std::nullopt);
  EXPECT_EQ(Range::from_last(PhysAddr(0), PhysAddr(UINT64_MAX)), std::nullopt)
      << "its size would not fit";
}

TEST(Range, IsTheByteAt0ByDefault) {
  constexpr Range by_default;
  EXPECT_EQ(by_default, Range::from_size(PhysAddr(0), ByteSize(1)));
}

TEST(Range, MayTouchTheTopOfTheAddressSpace) {
  const auto top = Range::from_size(PhysAddr(UINT64_MAX - 4095), ByteSize(4096));
  ASSERT_TRUE(top);
  EXPECT_EQ(top->last(), PhysAddr(UINT64_MAX));
  EXPECT_EQ(top->end(), std::nullopt);
  EXPECT_EQ(top->size(), ByteSize(4096));
}

TEST(Range, RelatesToOtherRanges) {
  const Range a = *Range::from_end(PhysAddr(10), PhysAddr(20));
  const Range b = *Range::from_end(PhysAddr(19), PhysAddr(30));
  const Range c = *Range::from_end(PhysAddr(20), PhysAddr(30));
  EXPECT_TRUE(a.overlaps(b));
  EXPECT_FALSE(a.overlaps(c));
  EXPECT_EQ(a.intersection(b), Range::from_size(PhysAddr(19), ByteSize(1)));
  EXPECT_EQ(a.intersection(c), std::nullopt);
  EXPECT_TRUE(b.contains(c));
  EXPECT_FALSE(c.contains(b));
  EXPECT_TRUE(a.contains(PhysAddr(19)));
  EXPECT_FALSE(a.contains(PhysAddr(20)));
  EXPECT_EQ(a.end(), PhysAddr(20));
}

TEST(LittleEndian, HasNoAlignmentAndTheRightByteOrder) {
  static_assert(alignof(Le64) == 1 && sizeof(Le64) == 8);
  const Le32 value(0x336ec578);
  EXPECT_EQ(value.get(), 0x336ec578u);
  EXPECT_EQ(to_bytes(value)[0], std::byte{0x78});
}

TEST(Bytes, ReadsOnlyWhatIsThere) {
  constexpr std::array data{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
  EXPECT_EQ(read_at<Le32>(data, 1)->get(), 0x05040302u);
  EXPECT_EQ(read_at<Le32>(data, 2), std::nullopt);
  EXPECT_EQ(read_at<Le32>(data, UINT64_MAX), std::nullopt);
  EXPECT_EQ(slice(data, 5, 0)->size(), 0u);
  EXPECT_FALSE(slice(data, 5, 1).has_value());
  EXPECT_FALSE(slice(data, 1, UINT64_MAX).has_value());
}

std::expected<int, std::string> half(int value) {
  if (value % 2 != 0) {
    return std::unexpected("odd");
  }
  return value / 2;
}

std::expected<void, std::string> even(int value) {
  TRY(half(value));
  return {};
}

std::expected<int, std::string> quarter(int value) {
  TRY(even(value));
  const int once = TRY(half(value));
  return half(once);
}

TEST(Try, PassesTheFirstErrorOn) {
  EXPECT_EQ(quarter(12), 3);
  EXPECT_EQ(quarter(6).error(), "odd");
  EXPECT_EQ(quarter(7).error(), "odd");
}

enum class Color { kRed };
Explanation explain(Color) {
  return {"the colour is wrong", "paint it blue"};
}

TEST(Fault, SaysWhatWhereWhyAndWhatToDo) {
  EXPECT_EQ(to_text(Fault<Color>{Color::kRed, "red", 0x40, EACCES}),
            "the colour is wrong (red), at offset 0x40: Permission denied; paint it blue");
  EXPECT_EQ(compose({"plain", ""}, "", std::nullopt, 0), "plain");
}

TEST(Quantity, IsANumberAndAUnit) {
  EXPECT_EQ(parse_quantity("512M", 0), 512u << 20);
  EXPECT_EQ(parse_quantity("3gib", 0), std::uint64_t{3} << 30);
  EXPECT_EQ(parse_quantity("7", 0), 7u);
  EXPECT_EQ(parse_quantity("7", 20), 7u << 20);
  EXPECT_EQ(parse_quantity("0", 20), 0u);
  for (const auto* const text : {"", "M", "-1", "1Z", "1.5G", " 1M", "1M ", "B"}) {
    EXPECT_EQ(parse_quantity(text, 0), std::unexpected(QuantityError::kMalformed)) << text;
  }
  for (const auto* const text : {"16777216T", "99999999999999999999"}) {
    EXPECT_EQ(parse_quantity(text, 0), std::unexpected(QuantityError::kTooMuch)) << text;
  }
}

TEST(Fd, ClosesWhatItOwnsAndKeepsErrno) {
  const int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(raw, 0);
  Fd first(raw);
  Fd second;
  EXPECT_FALSE(second);
  second = std::move(first);
  EXPECT_EQ(second.get(), raw);
  errno = ENOENT;
  second.reset();
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(::fcntl(raw, F_GETFD), -1);
}

TEST(Mapping, MovesAndUnmaps) {
  Mapping empty;
  EXPECT_TRUE(empty.bytes().empty());
  Mapping other(std::move(empty));
  EXPECT_TRUE(std::as_const(other).bytes().empty());
}

}  // namespace
}  // namespace pvh::base
