// SPDX-License-Identifier: BSD-2-Clause
// A client of a Unix socket, for balloon_test.py and console_test.py; static, so that it runs in
// the lab, whose busybox's nc knows no Unix sockets.
//
//   uds-tool PATH     stdin goes there, what comes from there to stdout; ends when the other side
//                     does. Waits up to 20 seconds for somebody to listen at PATH.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

namespace {

int connect_to(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  for (int tries = 0; tries < 200; ++tries) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return fd;
    }
    ::close(fd);
    ::usleep(100000);
  }
  return -1;
}

// False at the end.
bool copy(int from, int to) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(from, buffer.data(), buffer.size());
  for (ssize_t done = 0; done < got;) {
    const ssize_t sent = ::write(to, buffer.data() + done, static_cast<std::size_t>(got - done));
    if (sent <= 0) {
      return false;
    }
    done += sent;
  }
  return got > 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int socket = argc == 2 ? connect_to(argv[1]) : -1;
  if (socket < 0) {
    std::perror("uds-tool");
    return 1;
  }
  bool input = true;
  for (;;) {
    std::array<pollfd, 2> fds{{{socket, POLLIN, 0}, {input ? STDIN_FILENO : -1, POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), -1);
    if (fds[1].revents != 0 && !copy(STDIN_FILENO, socket)) {
      input = false;
      ::shutdown(socket, SHUT_WR);
    }
    if (fds[0].revents != 0 && !copy(socket, STDOUT_FILENO)) {
      return 0;
    }
  }
}
