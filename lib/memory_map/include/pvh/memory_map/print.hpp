// SPDX-License-Identifier: BSD-2-Clause
// Maps in words, line by line, for a console that may be all there is: no heap, no stdio. A sink is
// anything that can be called with a std::string_view; each call is one line with its newline.
//
//   0x0000000000000000-0x000000000009fbff      639 KiB  RAM
//
// On a host, print(map, [&](std::string_view line) { text += line; }) makes a string.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <pvh/memory_map/map.hpp>
#include <pvh/memory_map/normalize.hpp>

namespace pvh::memory_map {

// A short text without a heap. What does not fit is left out; the lines made here all fit.
class Line {
 public:
  [[nodiscard]] constexpr std::string_view view() const { return {text_.data(), size_}; }

  constexpr Line& text(std::string_view part) {
    for (const char c : part) {
      put(c);
    }
    return *this;
  }
  constexpr Line& spaces(std::size_t count) {
    for (std::size_t i = 0; i < count && size_ < text_.size(); ++i) {
      put(' ');
    }
    return *this;
  }
  // 0x and sixteen digits.
  Line& hex(std::uint64_t value);
  // At least `width` characters, filled with spaces in front.
  Line& decimal(std::uint64_t value, std::size_t width = 0);
  // In the largest unit that divides it: "639 KiB". The number as decimal() does it.
  Line& size(base::ByteSize bytes, std::size_t width = 0);

 private:
  constexpr void put(char c) {
    if (size_ < text_.size()) {
      text_[size_++] = c;
    }
  }

  std::array<char, 160> text_{};
  std::size_t size_ = 0;
};

// "RAM", "reserved", ...; empty for a number without a name.
[[nodiscard]] std::string_view type_name(Type type);

[[nodiscard]] Line format(const Entry& entry);
[[nodiscard]] Line format(const RawEntry& entry);  // also when it wraps: "address +size"
[[nodiscard]] Line format(const Statistics& statistics);

// Anomaly number `index` of a report in words; nothing when the report has none of that kind.
inline constexpr std::size_t kAnomalies = 8;
[[nodiscard]] std::optional<Line> format_anomaly(const Report& report, std::size_t index);

template <std::invocable<std::string_view> Sink>
void print(std::span<const Entry> map, Sink&& sink) {
  for (const Entry& entry : map) {
    sink(format(entry).view());
  }
}

template <std::invocable<std::string_view> Sink>
void print(std::span<const RawEntry> entries, Sink&& sink) {
  for (const RawEntry& entry : entries) {
    sink(format(entry).view());
  }
}

template <std::invocable<std::string_view> Sink>
void print(const Statistics& statistics, Sink&& sink) {
  sink(format(statistics).view());
}

// Only what is odd; nothing for a clean report.
template <std::invocable<std::string_view> Sink>
void print(const Report& report, Sink&& sink) {
  for (std::size_t i = 0; i < kAnomalies; ++i) {
    if (const auto line = format_anomaly(report, i)) {
      sink(line->view());
    }
  }
}

}  // namespace pvh::memory_map
