// SPDX-License-Identifier: BSD-2-Clause
// What fuzzers share: how one says that what it found is wrong, and which input it is looking at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <span>
#include <string>

#include <pvh/base/bytes.hpp>

namespace pvh::fuzz {

inline base::Bytes to_bytes(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

// `size` little-endian bytes, for second readings: not by what the first one reads with.
inline std::uint64_t number(base::Bytes bytes, std::uint64_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
  }
  return value;
}

// Ends the process where a claim does not hold, and says which: libFuzzer keeps the input.
inline void require(bool holds,
                    const std::source_location& place = std::source_location::current()) {
  if (!holds) {
    std::fprintf(stderr, "%s:%u: this does not hold\n", place.file_name(),
                 static_cast<unsigned>(place.line()));
    std::abort();
  }
}

// The same with words: `wrong` is empty, or what is wrong.
inline void require(const std::string& wrong,
                    const std::source_location& place = std::source_location::current()) {
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s\n", wrong.c_str());
    require(false, place);
  }
}

// A literal would be a true bool.
void require(const char* wrong, const std::source_location& place = {}) = delete;

}  // namespace pvh::fuzz
