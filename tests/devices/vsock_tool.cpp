// SPDX-License-Identifier: BSD-2-Clause
// Both ends of a vsock, for devices_test.py; static, so that it runs in the lab and in its guests.
//
//   vsock-tool echo PORT              in the guest: sends back what it is sent, until it is killed
//   vsock-tool serve PATH             on the host: the same at a Unix socket
//   vsock-tool guest PORT BYTES       in the guest: sends so much to the host and wants it back
//   vsock-tool host PATH PORT BYTES   on the host: the same to the guest, by CONNECT
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

int vsock() {
  const int fd = ::socket(AF_VSOCK, SOCK_STREAM, 0);
  return fd >= 0 ? fd : (fail("AF_VSOCK"), -1);
}

sockaddr_vm vsock_address(unsigned cid, unsigned port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

sockaddr_un unix_address(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  return address;
}

template <typename Address>
void bind_and_listen(int fd, const Address& address) {
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(fd, 4) != 0) {
    fail("listen");
  }
}

template <typename Address>
void connect_to(int fd, const Address& address) {
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    fail("connect");
  }
}

void echo(int listener) {
  for (;;) {
    const int fd = ::accept(listener, nullptr, nullptr);
    if (fd < 0) {
      fail("accept");
    }
    std::array<char, 65536> buffer;
    ssize_t got = 0;
    while ((got = ::read(fd, buffer.data(), buffer.size())) > 0) {
      for (ssize_t done = 0; done < got;) {
        const ssize_t sent = ::write(fd, buffer.data() + done, static_cast<size_t>(got - done));
        if (sent <= 0) {
          break;
        }
        done += sent;
      }
    }
    ::close(fd);
  }
}

char byte_at(std::uint64_t position) {
  return static_cast<char>((position * 2654435761u) >> 13);
}

// Sends and receives at once; half-closes when all is sent.
void exchange(int fd, std::uint64_t total) {
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::array<char, 40000> buffer;
  bool closed = false;
  for (;;) {
    pollfd poll{fd, static_cast<short>(POLLIN | (sent < total ? POLLOUT : 0)), 0};
    if (::poll(&poll, 1, 30000) <= 0) {
      std::printf("STUCK at %llu of %llu\n", static_cast<unsigned long long>(received),
                  static_cast<unsigned long long>(total));
      std::exit(1);
    }
    if ((poll.revents & POLLOUT) != 0 && sent < total) {
      const std::size_t size = std::min<std::uint64_t>(buffer.size(), total - sent);
      for (std::size_t i = 0; i < size; ++i) {
        buffer[i] = byte_at(sent + i);
      }
      const ssize_t done = ::write(fd, buffer.data(), size);
      sent += static_cast<std::uint64_t>(std::max<ssize_t>(done, 0));
    }
    if (sent == total && !closed) {
      ::shutdown(fd, SHUT_WR);
      closed = true;
    }
    if ((poll.revents & (POLLIN | POLLHUP)) != 0) {
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got == 0) {
        break;
      }
      for (ssize_t i = 0; i < got; ++i) {
        if (buffer[static_cast<std::size_t>(i)] !=
            byte_at(received + static_cast<std::uint64_t>(i))) {
          std::printf("DIFFERENT at %llu\n", static_cast<unsigned long long>(received));
          std::exit(1);
        }
      }
      received += static_cast<std::uint64_t>(std::max<ssize_t>(got, 0));
    }
  }
  std::printf("%s %llu\n", received == total ? "SAME" : "SHORT",
              static_cast<unsigned long long>(received));
}

void greet(int fd, const char* port) {
  const std::string line = std::string("CONNECT ") + port + "\n";
  if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    fail("CONNECT");
  }
  std::string answer;
  char c = 0;
  while (::read(fd, &c, 1) == 1 && c != '\n') {
    answer.push_back(c);
  }
  if (!answer.starts_with("OK ")) {
    std::printf("REFUSED\n");
    std::exit(1);
  }
}

unsigned number(const char* text) {
  return static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.size() == 2 && words[0] == "echo") {
    const int fd = vsock();
    bind_and_listen(fd, vsock_address(VMADDR_CID_ANY, number(argv[2])));
    echo(fd);
  } else if (words.size() == 2 && words[0] == "serve") {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    bind_and_listen(fd, unix_address(argv[2]));
    echo(fd);
  } else if (words.size() == 3 && words[0] == "guest") {
    const int fd = vsock();
    connect_to(fd, vsock_address(VMADDR_CID_HOST, number(argv[2])));
    exchange(fd, number(argv[3]));
  } else if (words.size() == 4 && words[0] == "host") {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    connect_to(fd, unix_address(argv[2]));
    greet(fd, argv[3]);
    exchange(fd, number(argv[4]));
  } else {
    std::fputs("vsock-tool echo|serve|guest|host ...\n", stderr);
    return 64;
  }
}
