// SPDX-License-Identifier: BSD-2-Clause
// What a hosted library answers when something is wrong: a code to test for, the place, and the
// words for a person. A library declares `enum class XError` and `base::Explanation
// explain(XError)` beside it; the command line adds the file's name and the exit status. (Not for
// freestanding code: it allocates.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pvh::base {

// One code in words: what is wrong, and what to do about it (empty when there is nothing to
// advise).
struct Explanation {
  std::string_view what;
  std::string_view remedy;
};

// The kernel's words for an errno. (std::strerror may share its buffer between threads.)
[[nodiscard]] std::string errno_text(int sys_errno);

template <typename Code>
struct Fault {
  Code code;
  std::string detail;                   // this case's names and numbers; may be empty
  std::optional<std::uint64_t> offset;  // where in the input
  int sys_errno = 0;                    // what the kernel said, when it was asked
};

// "what (detail), at offset 0x40: Permission denied; remedy"
[[nodiscard]] std::string compose(Explanation explanation, std::string_view detail,
                                  std::optional<std::uint64_t> offset, int sys_errno);

template <typename Code>
[[nodiscard]] std::string to_text(const Fault<Code>& fault) {
  return compose(explain(fault.code), fault.detail, fault.offset, fault.sys_errno);
}

}  // namespace pvh::base
