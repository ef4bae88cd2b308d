// SPDX-License-Identifier: BSD-2-Clause
// How an argument is given to a hypercall and an answer is taken.
#pragma once

#include <concepts>
#include <cstdint>
#include <expected>
#include <optional>
#include <type_traits>

#include <pvh/abi/xen_hypercall.hpp>
#include <pvh/base/little_endian.hpp>
#include <pvh/guest/machine.hpp>
#include <pvh/guest/xen.hpp>

namespace pvh::guest::xen {

// What a 64-bit kernel passes, or a 32-bit one in its place.
template <typename Native, typename Compat>
using ByMode = std::conditional_t<sizeof(Word) == 8, Native, Compat>;

// A field of an argument that is as wide as the mode.
using LeWord = base::Le<std::conditional_t<sizeof(Word) == 8, std::uint64_t, std::uint32_t>>;

[[nodiscard]] inline Word linear(const void* place) {
  return reinterpret_cast<Word>(place);
}

[[nodiscard]] constexpr Error to_error(std::intptr_t negative) {
  return negative >= -static_cast<std::intptr_t>(abi::kLargestErrno) ? static_cast<Error>(-negative)
                                                                     : Error::kBadAnswer;
}

// An answer that may be at most `most`.
[[nodiscard]] constexpr Result<std::uint32_t> value_of(std::intptr_t answer, std::uint32_t most) {
  if (answer < 0) {
    return std::unexpected(to_error(answer));
  }
  if (static_cast<Word>(answer) > most) {
    return std::unexpected(Error::kBadAnswer);
  }
  return static_cast<std::uint32_t>(answer);
}

// An answer that is 0 when all is well.
[[nodiscard]] constexpr Result<void> done(std::intptr_t answer) {
  if (const auto value = value_of(answer, 0); !value) {
    return std::unexpected(value.error());
  }
  return {};
}

// The number of the page at `address`; nothing when it is not page-aligned or does not fit the
// caller's mode.
[[nodiscard]] constexpr std::optional<Word> frame_of(base::PhysAddr address) {
  const std::uint64_t frame = address.value() / base::kPageSize.value();
  if (!address.is_aligned(base::kPageSize) || frame > UINTPTR_MAX) {
    return std::nullopt;
  }
  return static_cast<Word>(frame);
}

}  // namespace pvh::guest::xen
