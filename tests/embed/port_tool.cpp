// SPDX-License-Identifier: BSD-2-Clause
// port-tool PORT [TEXT]: writes TEXT to an I/O port byte by byte, or reads a byte and prints its
// number. For the guest: Debian's cloud kernel has no /dev/port.
#include <sys/io.h>

#include <cstdio>
#include <cstdlib>
#include <span>

int main(int argc, char** argv) {
  const std::span words(argv, static_cast<std::size_t>(argc));
  if (words.size() < 2) {
    return 64;
  }
  const auto port = static_cast<unsigned short>(std::strtoul(words[1], nullptr, 0));
  if (::ioperm(port, 1, 1) != 0) {
    std::perror("ioperm");
    return 1;
  }
  if (words.size() == 2) {
    std::printf("%u\n", unsigned{::inb(port)});
    return 0;
  }
  for (const char* letter = words[2]; *letter != '\0'; ++letter) {
    ::outb(static_cast<unsigned char>(*letter), port);
  }
  return 0;
}
