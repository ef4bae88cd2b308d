// SPDX-License-Identifier: BSD-2-Clause
// A set of bytes of a 64-bit address space, in the simplest way that is right: disjoint intervals
// with their ends in 128 bits, so that nothing can wrap. What the references below are made of; it
// shares no code with the libraries that they judge.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>

#include <fmt/format.h>

namespace pvh::round_trip {

__extension__ using Wide = unsigned __int128;

inline constexpr Wide kSpace = Wide{1} << 64;
inline constexpr Wide kPage = 4096;

class ByteSet {
 public:
  // [first, end)
  void add(Wide first, Wide end) {
    if (first >= end) {
      return;
    }
    remove(first, end);
    parts_.emplace(first, end);
  }
  void remove(Wide first, Wide end) {
    if (first >= end) {
      return;
    }
    split(first);
    split(end);
    parts_.erase(parts_.lower_bound(first), parts_.lower_bound(end));
  }
  void add_all(const ByteSet& other) {
    for (const auto& [first, end] : other.parts_) {
      add(first, end);
    }
  }
  void remove_all(const ByteSet& other) {
    for (const auto& [first, end] : other.parts_) {
      remove(first, end);
    }
  }

  [[nodiscard]] bool empty() const { return parts_.empty(); }
  [[nodiscard]] bool has_all(Wide first, Wide end) const { return without(first, end).empty(); }
  [[nodiscard]] bool has_any(Wide first, Wide end) const {
    auto next = parts_.lower_bound(first);
    if (next != parts_.begin() && std::prev(next)->second > first) {
      return true;
    }
    return next != parts_.end() && next->first < end;
  }
  [[nodiscard]] bool has_all(const ByteSet& other) const {
    return std::ranges::all_of(other.parts_,
                               [&](const auto& part) { return has_all(part.first, part.second); });
  }
  [[nodiscard]] bool has_any(const ByteSet& other) const {
    return std::ranges::any_of(other.parts_,
                               [&](const auto& part) { return has_any(part.first, part.second); });
  }

  // What is in this and not in `other`.
  [[nodiscard]] ByteSet minus(const ByteSet& other) const {
    ByteSet rest = *this;
    rest.remove_all(other);
    return rest;
  }
  // Only the pages all of whose bytes are in the set.
  [[nodiscard]] ByteSet whole_pages() const {
    ByteSet pages;
    for (const auto& [first, end] : merged().parts_) {
      pages.add((first + kPage - 1) / kPage * kPage, end / kPage * kPage);
    }
    return pages;
  }
  // Every page that has a byte in the set.
  [[nodiscard]] ByteSet touched_pages() const {
    ByteSet pages;
    for (const auto& [first, end] : parts_) {
      pages.add(first / kPage * kPage, (end + kPage - 1) / kPage * kPage);
    }
    return pages;
  }

  [[nodiscard]] std::string text() const {
    std::string lines;
    for (const auto& [first, end] : merged().parts_) {
      lines += fmt::format("  {:#x}-{:#x}\n", static_cast<std::uint64_t>(first),
                           static_cast<std::uint64_t>(end - 1));
    }
    return lines.empty() ? "  nothing\n" : lines;
  }

 private:
  [[nodiscard]] ByteSet without(Wide first, Wide end) const {
    ByteSet rest;
    rest.add(first, end);
    rest.remove_all(*this);
    return rest;
  }
  [[nodiscard]] ByteSet merged() const {
    ByteSet result;
    for (const auto& [first, end] : parts_) {
      if (!result.parts_.empty() && std::prev(result.parts_.end())->second == first) {
        std::prev(result.parts_.end())->second = end;
      } else {
        result.parts_.emplace(first, end);
      }
    }
    return result;
  }
  // No part crosses `at` afterwards.
  void split(Wide at) {
    auto next = parts_.lower_bound(at);
    if (next == parts_.begin()) {
      return;
    }
    const auto part = std::prev(next);
    if (part->second > at) {
      parts_.emplace(at, part->second);
      part->second = at;
    }
  }

  std::map<Wide, Wide> parts_;  // first -> end
};

}  // namespace pvh::round_trip
