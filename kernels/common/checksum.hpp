// SPDX-License-Identifier: BSD-2-Clause
// FNV-1a, 32 bits: short enough for a command line, and two lines in any language. It finds damage,
// not malice.
#pragma once

#include <cstdint>
#include <optional>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/guest/machine.hpp>

namespace pvh::kernels {

class Checksum {
 public:
  constexpr void add(base::Bytes bytes) {
    for (const std::byte each : bytes) {
      value_ = (value_ ^ static_cast<std::uint32_t>(each)) * 16777619U;
    }
  }
  [[nodiscard]] constexpr std::uint32_t value() const { return value_; }

 private:
  std::uint32_t value_ = 2166136261U;
};

// Of memory wherever it lies; nothing when a part of it cannot be read.
[[nodiscard]] inline std::optional<std::uint32_t> checksum(guest::Machine& machine,
                                                           base::Range range) {
  Checksum sum;
  std::byte buffer[512];
  std::uint64_t at = range.first().value();
  for (std::uint64_t left = range.size().value(); left > 0;) {
    const std::uint64_t count = left < sizeof(buffer) ? left : sizeof(buffer);
    const base::MutableBytes part(buffer, count);
    if (!machine.read(base::PhysAddr(at), part)) {
      return std::nullopt;
    }
    sum.add(part);
    at += count;
    left -= count;
  }
  return sum.value();
}

}  // namespace pvh::kernels
