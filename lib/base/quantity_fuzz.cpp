// SPDX-License-Identifier: BSD-2-Clause
// Any text is an amount exactly when a second reading of the grammar says so, and then the same
// one.
#include <cctype>
#include <optional>
#include <string>
#include <string_view>

#include <pvh/base/quantity.hpp>

#include "lib/base/testing/fuzz.hpp"

namespace {

using namespace pvh;
using fuzz::require;

__extension__ using Wide = unsigned __int128;

// Digits, then nothing, or a letter of "KMGT" and nothing, "B" or "iB".
struct Reading {
  bool well_formed = false;
  std::optional<std::uint64_t> amount;
};

Reading read(std::string_view text, unsigned bare) {
  Reading reading;
  Wide number = 0;
  std::size_t at = 0;
  bool fits = true;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    number = number * 10 + static_cast<unsigned>(text[at] - '0');
    fits = fits && number <= UINT64_MAX;
    number = fits ? number : 0;
  }
  std::string unit;
  for (const char c : text.substr(at)) {
    unit += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  unsigned shift = bare;
  if (!unit.empty()) {
    const auto letter = std::string_view("kmgt").find(unit[0]);
    const std::string rest = unit.substr(1);
    if (letter == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) {
      return reading;
    }
    shift = static_cast<unsigned>(10 * (letter + 1));
  }
  reading.well_formed = at != 0;
  const Wide amount = number << shift;
  if (fits && amount <= UINT64_MAX) {
    reading.amount = static_cast<std::uint64_t>(amount);
  }
  return reading;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const unsigned bare = data[0] % 41;
  // Exactly its bytes on the heap, so that ASan sees one too many.
  const std::string text(data + 1, data + size);
  const Reading expected = read(text, bare);
  const auto found = base::parse_quantity(text, bare);
  if (!expected.well_formed) {
    require(!found && found.error() == base::QuantityError::kMalformed);
  } else if (!expected.amount) {
    require(!found && found.error() == base::QuantityError::kTooMuch);
  } else {
    require(found == *expected.amount);
  }
  return 0;
}
