// SPDX-License-Identifier: BSD-2-Clause
// Arithmetic on numbers that came from outside: a file, a guest, a table. Every result that would
// not fit is an empty optional, never a wrapped number. Nothing here allocates; everything is
// constexpr.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

namespace pvh::base {

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b) {
  T sum{};
  if (__builtin_add_overflow(a, b, &sum)) {
    return std::nullopt;
  }
  return sum;
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_sub(T a, T b) {
  if (b > a) {
    return std::nullopt;
  }
  return static_cast<T>(a - b);
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_mul(T a, T b) {
  T product{};
  if (__builtin_mul_overflow(a, b, &product)) {
    return std::nullopt;
  }
  return product;
}

// The value as a To, or nothing when a To cannot hold it. The only way in this tree from a wider to
// a narrower type.
template <std::integral To, std::integral From>
[[nodiscard]] constexpr std::optional<To> narrow(From value) {
  To result{};
  if (__builtin_add_overflow(value, From{0}, &result)) {
    return std::nullopt;
  }
  return result;
}

// Not std::has_single_bit: without SSE4 g++ turns that into a call to libgcc, which a kernel does
// not have.
template <std::unsigned_integral T>
[[nodiscard]] constexpr bool is_power_of_two(T value) {
  return value != 0 && (value & static_cast<T>(value - 1)) == 0;
}

// Both take a power of two; any other alignment is answered with nothing.
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> align_down(T value, T alignment) {
  if (!is_power_of_two(alignment)) {
    return std::nullopt;
  }
  return static_cast<T>(value & static_cast<T>(~(alignment - 1)));
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> align_up(T value, T alignment) {
  if (!is_power_of_two(alignment)) {
    return std::nullopt;
  }
  const std::optional<T> raised = checked_add(value, static_cast<T>(alignment - 1));
  return raised ? align_down(*raised, alignment) : std::nullopt;
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr bool is_aligned(T value, T alignment) {
  return is_power_of_two(alignment) && (value & static_cast<T>(alignment - 1)) == 0;
}

}  // namespace pvh::base
