// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <string>

#include <pvh/base/checked.hpp>
#include <pvh/base/quantity.hpp>

namespace pvh::base {
namespace {

// As a power of two.
std::optional<unsigned> shift_of_unit(std::string_view unit, unsigned bare) {
  std::string upper(unit);
  std::ranges::transform(upper, upper.begin(),
                         [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (upper.size() >= 2 && upper.ends_with("IB")) {
    upper.resize(upper.size() - 2);
  } else if (upper.size() >= 2 && upper.ends_with('B')) {
    upper.resize(upper.size() - 1);
  }
  constexpr std::string_view kUnits = "KMGT";
  if (upper.empty() && unit.empty()) {
    return bare;
  }
  const auto place = upper.size() == 1 ? kUnits.find(upper[0]) : std::string_view::npos;
  if (place == std::string_view::npos) {
    return std::nullopt;
  }
  return static_cast<unsigned>(10 * (place + 1));
}

}  // namespace

std::expected<std::uint64_t, QuantityError> parse_quantity(std::string_view text, unsigned bare) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto shift = shift_of_unit(text.substr(static_cast<std::size_t>(end - text.data())), bare);
  if (error == std::errc::invalid_argument || !shift) {
    return std::unexpected(QuantityError::kMalformed);
  }
  const auto product =
      error == std::errc() ? checked_mul(number, std::uint64_t{1} << *shift) : std::nullopt;
  if (!product) {
    return std::unexpected(QuantityError::kTooMuch);
  }
  return *product;
}

}  // namespace pvh::base
