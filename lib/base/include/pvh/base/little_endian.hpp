// SPDX-License-Identifier: BSD-2-Clause
// A little-endian number as it lies in a file or in memory: alignment 1, no padding, and a
// conversion that is spelt out, so that a byte-order mistake does not compile. On x86-64 get() is
// one load.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace pvh::base {

template <std::unsigned_integral T>
class Le {
 public:
  constexpr Le() = default;
  // A compiler that minds size would call it.
  [[gnu::always_inline]] constexpr explicit Le(T value)
      : bytes_(std::bit_cast<std::array<std::byte, sizeof(T)>>(value)) {}

  [[nodiscard]] constexpr T get() const { return std::bit_cast<T>(bytes_); }

  friend constexpr bool operator==(const Le&, const Le&) = default;

 private:
  static_assert(std::endian::native == std::endian::little, "this project runs on x86-64");
  std::array<std::byte, sizeof(T)> bytes_{};
};

using Le16 = Le<std::uint16_t>;
using Le32 = Le<std::uint32_t>;
using Le64 = Le<std::uint64_t>;

}  // namespace pvh::base
