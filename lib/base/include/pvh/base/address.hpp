// SPDX-License-Identifier: BSD-2-Clause
// One type for each meaning of a number. A PhysAddr is where something lies in (guest) physical
// memory, a ByteSize is how much of it there is; neither turns into the other, into an integer or
// into a pointer by itself, and sums are checked. A Range is a non-empty run of bytes that cannot
// wrap.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

#include <pvh/base/checked.hpp>

namespace pvh::base {

class ByteSize {
 public:
  constexpr ByteSize() = default;
  constexpr explicit ByteSize(std::uint64_t bytes) : bytes_(bytes) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return bytes_; }

  [[nodiscard]] constexpr std::optional<ByteSize> checked_add(ByteSize other) const {
    const auto sum = base::checked_add(bytes_, other.bytes_);
    return sum ? std::optional(ByteSize(*sum)) : std::nullopt;
  }
  [[nodiscard]] constexpr std::optional<ByteSize> checked_sub(ByteSize other) const {
    const auto rest = base::checked_sub(bytes_, other.bytes_);
    return rest ? std::optional(ByteSize(*rest)) : std::nullopt;
  }
  [[nodiscard]] constexpr std::optional<ByteSize> align_up(ByteSize alignment) const {
    const auto raised = base::align_up(bytes_, alignment.bytes_);
    return raised ? std::optional(ByteSize(*raised)) : std::nullopt;
  }

  friend constexpr auto operator<=>(ByteSize, ByteSize) = default;

 private:
  std::uint64_t bytes_ = 0;
};

class PhysAddr {
 public:
  constexpr PhysAddr() = default;
  constexpr explicit PhysAddr(std::uint64_t address) : address_(address) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return address_; }

  [[nodiscard]] constexpr std::optional<PhysAddr> checked_add(ByteSize size) const {
    const auto sum = base::checked_add(address_, size.value());
    return sum ? std::optional(PhysAddr(*sum)) : std::nullopt;
  }
  // How far this lies above `origin`; nothing when it lies below.
  [[nodiscard]] constexpr std::optional<ByteSize> offset_from(PhysAddr origin) const {
    const auto offset = base::checked_sub(address_, origin.address_);
    return offset ? std::optional(ByteSize(*offset)) : std::nullopt;
  }
  [[nodiscard]] constexpr std::optional<PhysAddr> align_down(ByteSize alignment) const {
    const auto lowered = base::align_down(address_, alignment.value());
    return lowered ? std::optional(PhysAddr(*lowered)) : std::nullopt;
  }
  [[nodiscard]] constexpr std::optional<PhysAddr> align_up(ByteSize alignment) const {
    const auto raised = base::align_up(address_, alignment.value());
    return raised ? std::optional(PhysAddr(*raised)) : std::nullopt;
  }
  [[nodiscard]] constexpr bool is_aligned(ByteSize alignment) const {
    return base::is_aligned(address_, alignment.value());
  }

  friend constexpr auto operator<=>(PhysAddr, PhysAddr) = default;

 private:
  std::uint64_t address_ = 0;
};

inline constexpr ByteSize kPageSize{4096};

// The bytes first()..last(), both included: the inclusive end lets a range touch the top of the
// address space. Never empty, never wrapping; all 2^64 bytes at once are refused, so that size()
// always fits.
class Range {
 public:
  // The byte at 0: stands for nothing, only lets a caller declare an array of them.
  constexpr Range() = default;

  [[nodiscard]] static constexpr std::optional<Range> from_size(PhysAddr first, ByteSize size) {
    if (size.value() == 0) {
      return std::nullopt;
    }
    return from_bounds(first, first.value() + (size.value() - 1));
  }
  [[nodiscard]] static constexpr std::optional<Range> from_last(PhysAddr first, PhysAddr last) {
    return from_bounds(first, last.value());
  }
  // `end` is the first byte after the range.
  [[nodiscard]] static constexpr std::optional<Range> from_end(PhysAddr first, PhysAddr end) {
    return end > first ? from_bounds(first, end.value() - 1) : std::nullopt;
  }

  [[nodiscard]] constexpr PhysAddr first() const { return first_; }
  [[nodiscard]] constexpr PhysAddr last() const { return last_; }
  [[nodiscard]] constexpr ByteSize size() const {
    return ByteSize(last_.value() - first_.value() + 1);
  }
  // The first byte after the range; nothing when the range ends at the top of the address space.
  [[nodiscard]] constexpr std::optional<PhysAddr> end() const {
    return last_.checked_add(ByteSize(1));
  }

  // On numbers: a compiler that minds size does not see through operator<=>.
  [[nodiscard]] constexpr bool contains(PhysAddr address) const {
    return first_.value() <= address.value() && address.value() <= last_.value();
  }
  [[nodiscard]] constexpr bool contains(Range other) const {
    return first_.value() <= other.first_.value() && other.last_.value() <= last_.value();
  }
  [[nodiscard]] constexpr bool overlaps(Range other) const {
    return first_.value() <= other.last_.value() && other.first_.value() <= last_.value();
  }
  [[nodiscard]] constexpr std::optional<Range> intersection(Range other) const {
    const PhysAddr first = first_ > other.first_ ? first_ : other.first_;
    const PhysAddr last = last_ < other.last_ ? last_ : other.last_;
    return first <= last ? std::optional(Range(first, last)) : std::nullopt;
  }

  friend constexpr auto operator<=>(Range, Range) = default;

 private:
  constexpr Range(PhysAddr first, PhysAddr last) : first_(first), last_(last) {}

  static constexpr std::optional<Range> from_bounds(PhysAddr first, std::uint64_t last) {
    const bool whole_space = first.value() == 0 && last == UINT64_MAX;
    if (last < first.value() || whole_space) {
      return std::nullopt;
    }
    return Range(first, PhysAddr(last));
  }

  PhysAddr first_;
  PhysAddr last_;
};

}  // namespace pvh::base
