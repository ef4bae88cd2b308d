// SPDX-License-Identifier: BSD-2-Clause
// Amounts of bytes, or of something else, as people write them. (Hosted.)
#pragma once

#include <cstdint>
#include <expected>
#include <string_view>

namespace pvh::base {

enum class QuantityError {
  kMalformed,
  kTooMuch,  // for 64 bits
};

// "512M", "4GiB": a number and K, M, G or T, powers of 1024, in either case, with or without "iB"
// or "B". A number without a unit counts 2^`bare`.
[[nodiscard]] std::expected<std::uint64_t, QuantityError> parse_quantity(std::string_view text,
                                                                         unsigned bare);

}  // namespace pvh::base
