// SPDX-License-Identifier: BSD-2-Clause
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <pvh/vmm/terminal.hpp>

namespace pvh::vmm {

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  termios settings{};
  const bool ours = ::isatty(fd) == 1 && ::tcgetpgrp(fd) == ::getpgrp();
  if (!ours || ::tcgetattr(fd, &settings) != 0) {
    return;
  }
  termios raw = settings;
  ::cfmakeraw(&raw);
  // The guest's serial line sends its own carriage returns; a kernel's early console does not.
  raw.c_oflag |= OPOST | ONLCR;
  if (::tcsetattr(fd, TCSANOW, &raw) == 0) {
    saved_ = settings;
  }
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept
    : fd_(other.fd_), saved_(std::exchange(other.saved_, std::nullopt)) {}

RawTerminal::~RawTerminal() {
  if (saved_) {
    const int saved_errno = errno;
    ::tcsetattr(fd_, TCSANOW, &*saved_);
    errno = saved_errno;
  }
}

EscapeFilter::Result EscapeFilter::feed(base::Bytes typed) {
  constexpr std::byte kEscape{0x01};
  Result result;
  result.for_guest.reserve(typed.size());
  for (const std::byte byte : typed) {
    if (!std::exchange(escaped_, false)) {
      if (byte == kEscape) {
        escaped_ = true;
      } else {
        result.for_guest.push_back(byte);
      }
      continue;
    }
    switch (std::to_integer<char>(byte)) {
      case 'x':
        result.quit = true;
        return result;
      case 'h':
      case '?':
        result.help = true;
        break;
      case '\x01':
        result.for_guest.push_back(kEscape);
        break;
      default:
        break;  // as QEMU does, an unknown key after Ctrl-A is swallowed
    }
  }
  return result;
}

}  // namespace pvh::vmm
