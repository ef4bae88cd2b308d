// SPDX-License-Identifier: BSD-2-Clause
#include "report/json.hpp"

#include <pvh/memory_map/print.hpp>

namespace pvh::kernels {

using std::string_view_literals::operator""sv;

void Json::separate() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (!first_) {
    write(","sv);
  }
  // The outermost object's members, and theirs.
  if (depth_ == 1 || depth_ == 2) {
    write("\n"sv);
  }
  first_ = false;
}

void Json::key(std::string_view name) {
  separate();
  quote(name);
  write(":"sv);
  after_key_ = true;
}

void Json::number(std::uint64_t value) {
  separate();
  write(memory_map::Line().decimal(value).view());
}

void Json::boolean(bool value) {
  separate();
  write(value ? "true"sv : "false"sv);
}

void Json::null() {
  separate();
  write("null"sv);
}

void Json::text(std::string_view value) {
  separate();
  quote(value);
}

void Json::quote(std::string_view value) {
  constexpr std::string_view kDigits = "0123456789abcdef"sv;
  write("\""sv);
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto byte = static_cast<unsigned char>(value[i]);
    if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\') {
      const char escape[] = {'\\', 'u', '0', '0', kDigits[byte >> 4], kDigits[byte & 0xf]};
      write(std::string_view(escape, sizeof(escape)));
    } else {
      write(std::string_view(value.data() + i, 1));
    }
  }
  write("\""sv);
}

void Json::member(std::string_view name, std::uint64_t value) {
  key(name);
  number(value);
}

void Json::member(std::string_view name, std::string_view value) {
  key(name);
  text(value);
}

void Json::flag(std::string_view name, bool value) {
  key(name);
  boolean(value);
}

}  // namespace pvh::kernels
