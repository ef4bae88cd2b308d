// SPDX-License-Identifier: BSD-2-Clause
// JSON to the console as it is made: no heap, no depth limit but the caller's. A line is begun for
// each member of the outermost object, because Xen's console cuts long ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <pvh/guest/console.hpp>

namespace pvh::kernels {

class Json {
 public:
  explicit Json(guest::Console& console) : console_(&console) {}

  void open_object() { open("{"); }
  void close_object() { close("}"); }
  void open_array() { open("["); }
  void close_array() { close("]"); }

  // The name of the next value.
  void key(std::string_view name);

  void number(std::uint64_t value);
  void boolean(bool value);
  void null();
  // Byte by byte: what is not printable ASCII becomes \u00NN, so a reader gets the bytes back by
  // encoding the text as Latin-1.
  void text(std::string_view value);

  void member(std::string_view name, std::uint64_t value);
  void member(std::string_view name, std::string_view value);
  void flag(std::string_view name, bool value);
  // null when there is none.
  template <typename Number>
  void optional_member(std::string_view name, const std::optional<Number>& value) {
    key(name);
    if (!value) {
      null();
    } else if constexpr (requires { value->value(); }) {
      number(value->value());
    } else {
      number(*value);
    }
  }

 private:
  template <std::size_t N>
  void open(const char (&bracket)[N]) {
    separate();
    write(std::string_view(bracket, N - 1));
    ++depth_;
    first_ = true;
  }
  template <std::size_t N>
  void close(const char (&bracket)[N]) {
    --depth_;
    first_ = false;
    after_key_ = false;
    write(std::string_view(bracket, N - 1));
  }

  void separate();
  void quote(std::string_view value);
  void write(std::string_view part) { console_->write(part); }

  guest::Console* console_;
  std::uint32_t depth_ = 0;
  bool first_ = true;
  bool after_key_ = false;
};

}  // namespace pvh::kernels
