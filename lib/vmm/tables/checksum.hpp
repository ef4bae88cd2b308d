// SPDX-License-Identifier: BSD-2-Clause
// What both kinds of table share: a byte that makes the sum of all 0, and a structure as bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <pvh/base/bytes.hpp>

namespace pvh::vmm {

[[nodiscard]] constexpr std::uint8_t byte_sum(base::Bytes bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) {
    sum += std::to_integer<unsigned>(byte);
  }
  return static_cast<std::uint8_t>(sum & 0xff);
}

// What is to be written where now is 0, so that byte_sum() becomes 0.
[[nodiscard]] constexpr std::byte checksum(base::Bytes bytes) {
  return std::byte{static_cast<std::uint8_t>(-byte_sum(bytes) & 0xff)};
}

template <base::Wire T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = base::to_bytes(value);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace pvh::vmm
