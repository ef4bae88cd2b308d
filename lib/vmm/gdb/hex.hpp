// SPDX-License-Identifier: BSD-2-Clause
// Numbers and bytes as the protocol writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/base/bytes.hpp>

namespace pvh::vmm::gdb {

[[nodiscard]] constexpr std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return static_cast<unsigned>(c - '0');
  }
  if (c >= 'a' && c <= 'f') {
    return static_cast<unsigned>(c - 'a') + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return static_cast<unsigned>(c - 'A') + 10;
  }
  return std::nullopt;
}

// Two digits a byte.
void append_hex(std::string& text, std::uint8_t byte);
[[nodiscard]] std::string to_hex(base::Bytes bytes);
[[nodiscard]] std::string to_hex(std::string_view text);
// Nothing unless all of it is such pairs.
[[nodiscard]] std::optional<std::vector<std::byte>> from_hex(std::string_view text);

// Takes a packet apart from its front. What is not there, or would not fit, is nothing, and then
// the place does not move.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] bool done() const { return rest_.empty(); }
  [[nodiscard]] bool take(char c);
  [[nodiscard]] bool take(std::string_view word);
  // Hexadecimal, without a prefix or a sign, of at most 64 bits.
  [[nodiscard]] std::optional<std::uint64_t> number();
  // Everything up to `end`, which is taken too, or all that is left.
  [[nodiscard]] std::string_view until(char end);

 private:
  std::string_view rest_;
};

}  // namespace pvh::vmm::gdb
