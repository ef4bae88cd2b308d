// SPDX-License-Identifier: BSD-2-Clause
// The user's terminal while a guest has it: raw mode that is always undone, and the keys by which
// the user talks to the monitor instead (QEMU's: Ctrl-A, then x, h, c or Ctrl-A).
#pragma once

#include <termios.h>

#include <optional>
#include <string_view>
#include <vector>

#include <pvh/base/bytes.hpp>

namespace pvh::vmm {

// Raw mode from construction to destruction. Does nothing when `fd` is not a terminal, or not ours
// to change because the process is in its background.
class RawTerminal {
 public:
  explicit RawTerminal(int fd);
  RawTerminal(RawTerminal&& other) noexcept;
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();

  [[nodiscard]] bool is_active() const { return saved_.has_value(); }

 private:
  int fd_;
  std::optional<termios> saved_;
};

// What Ctrl-A h shows.
inline constexpr std::string_view kEscapeHelp =
    "\r\npvh: Ctrl-A x  quit\r\npvh: Ctrl-A h  this help\r\npvh: Ctrl-A Ctrl-A  send Ctrl-A to the "
    "guest\r\n";

// Takes what was typed apart: what is for the guest, and what the user wants of the monitor.
class EscapeFilter {
 public:
  struct Result {
    std::vector<std::byte> for_guest;
    bool quit = false;
    bool help = false;
  };
  // A Ctrl-A at the end of one call is remembered for the next.
  [[nodiscard]] Result feed(base::Bytes typed);

 private:
  bool escaped_ = false;
};

}  // namespace pvh::vmm
