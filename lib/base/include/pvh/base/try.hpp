// SPDX-License-Identifier: BSD-2-Clause
// TRY(expression): the value of a std::expected, or return its error from this function. Not to be
// nested.
#pragma once

#include <expected>
#include <utility>

// A statement expression is the one way to have "return" inside an expression; both our compilers
// have it.
#define TRY(...)                                              \
  __extension__({                                             \
    auto try_result_ = (__VA_ARGS__);                         \
    if (!try_result_) {                                       \
      return std::unexpected(std::move(try_result_).error()); \
    }                                                         \
    ::pvh::base::internal::take(std::move(try_result_));      \
  })

namespace pvh::base::internal {

template <typename T, typename E>
constexpr T take(std::expected<T, E>&& result) {
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

}  // namespace pvh::base::internal
