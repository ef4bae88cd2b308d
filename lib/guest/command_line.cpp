// SPDX-License-Identifier: BSD-2-Clause
#include <pvh/base/checked.hpp>
#include <pvh/guest/command_line.hpp>

namespace pvh::guest {
namespace {

// Without it a literal may become a strlen at run time, which a kernel has not.
using std::string_view_literals::operator""sv;

constexpr bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

std::string_view without_blanks_in_front(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) {
    text.remove_prefix(1);
  }
  return text;
}

// Without the quotes around it; the closing one may be missing.
std::string_view unquoted(std::string_view text) {
  if (text.empty() || text.front() != '"') {
    return text;
  }
  text.remove_prefix(1);
  if (!text.empty() && text.back() == '"') {
    text.remove_suffix(1);
  }
  return text;
}

// What stands before the first `mark`, which `text` loses with the mark; nothing when there is
// none.
std::optional<std::string_view> take_until(std::string_view& text, char mark) {
  // Not find(): that is a call of memchr, which a kernel has not.
  for (std::size_t place = 0; place < text.size(); ++place) {
    if (text[place] == mark) {
      const std::string_view before(text.data(), place);  // substr() would want to throw
      text.remove_prefix(place + 1);
      return before;
    }
  }
  return std::nullopt;
}

std::optional<std::uint32_t> digit(char c) {
  if (c >= '0' && c <= '9') {
    return static_cast<std::uint32_t>(c - '0');
  }
  const char lower = static_cast<char>(c | 0x20);
  if (lower >= 'a' && lower <= 'f') {
    return static_cast<std::uint32_t>(lower - 'a' + 10);
  }
  return std::nullopt;
}

// Digits only, in the base that they begin with.
std::optional<std::uint64_t> parse_digits(std::string_view text) {
  std::uint64_t base = 10;
  if (text.size() > 1 && text[0] == '0') {
    base = 8;
    if ((text[1] | 0x20) == 'x') {
      base = 16;
      text.remove_prefix(2);
    }
  }
  if (text.empty()) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    const auto next = digit(c);
    const auto raised = base::checked_mul(value, base);
    if (!next || *next >= base || !raised) {
      return std::nullopt;
    }
    const auto sum = base::checked_add(*raised, std::uint64_t{*next});
    if (!sum) {
      return std::nullopt;
    }
    value = *sum;
  }
  return value;
}

// The power of two that a unit stands for; 0 when it is none.
unsigned shift_of(char unit) {
  switch (unit | 0x20) {
    case 'k':
      return 10;
    case 'm':
      return 20;
    case 'g':
      return 30;
    case 't':
      return 40;
    default:
      return 0;
  }
}

}  // namespace

std::optional<Argument> CommandLine::next() {
  rest_ = without_blanks_in_front(rest_);
  if (ended_ || rest_.empty()) {
    ended_ = true;
    return std::nullopt;
  }
  std::size_t end = 0;
  for (bool quoted = false; end < rest_.size() && (quoted || !is_blank(rest_[end])); ++end) {
    quoted = quoted != (rest_[end] == '"');
  }
  const std::string_view word(rest_.data(), end);
  rest_.remove_prefix(end);
  if (word == "--"sv) {
    ended_ = true;
    rest_ = without_blanks_in_front(rest_);
    return std::nullopt;
  }
  std::string_view value = unquoted(word);
  if (const auto name = take_until(value, '=')) {
    return Argument{*name, unquoted(value)};
  }
  return Argument{value, std::nullopt};
}

std::optional<Argument> find_argument(std::string_view command_line, std::string_view name) {
  std::optional<Argument> found;
  CommandLine words(command_line);
  while (const auto argument = words.next()) {
    if (argument->name == name) {
      found = argument;
    }
  }
  return found;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  const unsigned shift = text.empty() ? 0 : shift_of(text.back());
  if (shift != 0) {
    text.remove_suffix(1);
  }
  const auto value = parse_digits(text);
  return value && *value <= UINT64_MAX >> shift ? std::optional(*value << shift) : std::nullopt;
}

std::optional<VirtioMmioDevice> parse_virtio_mmio(std::string_view value) {
  const auto size_text = take_until(value, '@');
  const auto base_text = take_until(value, ':');
  if (!size_text || !base_text) {
    return std::nullopt;
  }
  std::string_view irq_text = value;
  std::optional<std::string_view> id_text;
  if (const auto before = take_until(value, ':')) {
    irq_text = *before;
    id_text = value;
  }
  const auto size = parse_number(*size_text);
  const auto base = parse_number(*base_text);
  const auto irq = parse_digits(irq_text);
  if (!size || *size == 0 || !base || *size - 1 > UINT64_MAX - *base || !irq || *irq > UINT32_MAX) {
    return std::nullopt;
  }
  VirtioMmioDevice device{
      .base = *base, .size = *size, .irq = static_cast<std::uint32_t>(*irq), .id = std::nullopt};
  if (id_text) {
    const bool negative = id_text->starts_with('-');
    id_text->remove_prefix(negative ? 1 : 0);
    const auto id = parse_digits(*id_text);
    if (!id || *id > (negative ? std::uint64_t{1} << 31 : INT32_MAX)) {
      return std::nullopt;
    }
    const auto number = static_cast<std::int64_t>(*id);
    device.id = static_cast<std::int32_t>(negative ? -number : number);
  }
  return device;
}

}  // namespace pvh::guest
