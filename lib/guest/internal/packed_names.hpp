// SPDX-License-Identifier: BSD-2-Clause
// Names one after the other, each with a NUL behind it: a table of pointers would cost more room
// than the names. (Private to this library.)
#pragma once

#include <cstddef>
#include <string_view>

namespace pvh::guest::internal {

template <std::size_t Size>
constexpr std::string_view packed(const char (&names)[Size]) {
  return {names, Size - 1};
}

// Number `index`, empty when there are fewer. (Not inline: all tables share one.)
[[gnu::noinline]] constexpr std::string_view nth_name(std::string_view names, std::size_t index) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < names.size(); ++at) {
    if (names[at] == '\0') {
      if (index == 0) {
        return {names.data() + begin, at - begin};  // substr() would want to throw
      }
      --index;
      begin = at + 1;
    }
  }
  return {};
}

}  // namespace pvh::guest::internal
