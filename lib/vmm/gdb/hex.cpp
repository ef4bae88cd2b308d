// SPDX-License-Identifier: BSD-2-Clause
#include "hex.hpp"

#include <charconv>
#include <span>

namespace pvh::vmm::gdb {

void append_hex(std::string& text, std::uint8_t byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  text.push_back(kDigits[byte >> 4]);
  text.push_back(kDigits[byte & 0xf]);
}

std::string to_hex(base::Bytes bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    append_hex(text, std::to_integer<std::uint8_t>(byte));
  }
  return text;
}

std::string to_hex(std::string_view text) {
  return to_hex(std::as_bytes(std::span(text)));
}

std::optional<std::vector<std::byte>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) {
    return std::nullopt;
  }
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto high = hex_digit(text[i]);
    const auto low = hex_digit(text[i + 1]);
    if (!high || !low) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<std::byte>(*high << 4 | *low));
  }
  return bytes;
}

bool Cursor::take(char c) {
  if (!rest_.starts_with(c)) {
    return false;
  }
  rest_.remove_prefix(1);
  return true;
}

bool Cursor::take(std::string_view word) {
  if (!rest_.starts_with(word)) {
    return false;
  }
  rest_.remove_prefix(word.size());
  return true;
}

std::optional<std::uint64_t> Cursor::number() {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value, 16);
  if (error != std::errc()) {
    return std::nullopt;
  }
  rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
  return value;
}

std::string_view Cursor::until(char end) {
  const auto place = rest_.find(end);
  const std::string_view part = rest_.substr(0, place);
  rest_.remove_prefix(place == std::string_view::npos ? rest_.size() : place + 1);
  return part;
}

}  // namespace pvh::vmm::gdb
