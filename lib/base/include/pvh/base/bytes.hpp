// SPDX-License-Identifier: BSD-2-Clause
// The one way from bytes to values: bounds-checked, by copy, never by casting a pointer.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include <pvh/base/checked.hpp>

namespace pvh::base {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

// What may be copied to and from bytes: any byte pattern is a value, and no padding hides
// uninitialised bytes.
template <typename T>
concept Wire = std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>;

// `size` bytes from `offset`, or nothing when they are not all there.
[[nodiscard]] constexpr std::optional<Bytes> slice(Bytes bytes, std::uint64_t offset,
                                                   std::uint64_t size) {
  const auto end = checked_add(offset, size);
  if (!end || *end > bytes.size()) {
    return std::nullopt;
  }
  // Both fit: they do not pass bytes.size().
  return bytes.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
}

// The T at `offset`, or nothing when it is not all there. Alignment does not matter.
template <Wire T>
[[nodiscard]] constexpr std::optional<T> read_at(Bytes bytes, std::uint64_t offset) {
  const auto part = slice(bytes, offset, sizeof(T));
  if (!part) {
    return std::nullopt;
  }
  std::array<std::byte, sizeof(T)> copy;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    copy[i] = (*part)[i];
  }
  return std::bit_cast<T>(copy);
}

template <Wire T>
[[nodiscard]] constexpr std::array<std::byte, sizeof(T)> to_bytes(const T& value) {
  return std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
}

}  // namespace pvh::base
