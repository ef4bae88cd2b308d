// SPDX-License-Identifier: BSD-2-Clause
#include <charconv>
#include <system_error>

#include <pvh/base/fault.hpp>

namespace pvh::base {

std::string errno_text(int sys_errno) {
  return std::generic_category().message(sys_errno);
}

std::string compose(Explanation explanation, std::string_view detail,
                    std::optional<std::uint64_t> offset, int sys_errno) {
  std::string text(explanation.what);
  if (!detail.empty()) {
    text.append(" (").append(detail).append(")");
  }
  if (offset) {
    char digits[16];
    const auto end = std::to_chars(std::begin(digits), std::end(digits), *offset, 16).ptr;
    text.append(", at offset 0x").append(digits, end);
  }
  if (sys_errno != 0) {
    text.append(": ").append(errno_text(sys_errno));
  }
  if (!explanation.remedy.empty()) {
    text.append("; ").append(explanation.remedy);
  }
  return text;
}

}  // namespace pvh::base
