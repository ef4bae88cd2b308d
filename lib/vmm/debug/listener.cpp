// SPDX-License-Identifier: BSD-2-Clause
#include "listener.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>

namespace pvh::vmm::debug {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  template <typename Address>
  static SocketAddress of(const Address& address) {
    SocketAddress result;
    std::memcpy(&result.storage, &address, sizeof(address));
    result.size = sizeof(address);
    return result;
  }
  template <typename Address>
  [[nodiscard]] Address as() const {
    Address address{};
    std::memcpy(&address, &storage, sizeof(address));
    return address;
  }
  // The one cast that the socket calls ask for.
  [[nodiscard]] const sockaddr* get() const {
    return static_cast<const sockaddr*>(static_cast<const void*>(&storage));
  }
  [[nodiscard]] sockaddr* get() { return static_cast<sockaddr*>(static_cast<void*>(&storage)); }
};

std::unexpected<Failure> request(std::string text) {
  return std::unexpected(Failure{FailureKind::kRequest, std::move(text)});
}

Result<SocketAddress> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return request(fmt::format("--gdb unix:{}: a socket's path has at most {} bytes", path,
                               sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return SocketAddress::of(address);
}

Result<SocketAddress> tcp_address(const std::string& host, std::uint16_t port) {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
    return SocketAddress::of(four);
  }
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
    return SocketAddress::of(six);
  }
  return request(fmt::format("--gdb: \"{}\" is no numeric address", host));
}

std::string place_of(const GdbAddress& address, int fd) {
  if (!address.path.empty()) {
    return address.path;
  }
  SocketAddress own;
  own.size = sizeof(own.storage);
  std::uint16_t port = address.port;
  if (::getsockname(fd, own.get(), &own.size) == 0) {
    port = ntohs(own.storage.ss_family == AF_INET ? own.as<sockaddr_in>().sin_port
                                                  : own.as<sockaddr_in6>().sin6_port);
  }
  const bool six = address.host.contains(':');
  return six ? fmt::format("[{}]:{}", address.host, port)
             : fmt::format("{}:{}", address.host, port);
}

}  // namespace

Result<Listener> Listener::open(const GdbAddress& address) {
  const bool is_unix = !address.path.empty();
  const SocketAddress where =
      TRY(is_unix ? unix_address(address.path) : tcp_address(address.host, address.port));
  base::Fd fd(::socket(where.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (fd && !is_unix) {
    // A run just after another would find its port taken for a minute.
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  }
  if (!fd || ::bind(fd.get(), where.get(), where.size) != 0 || ::listen(fd.get(), 1) != 0) {
    const int why = errno;
    const std::string name = fd ? place_of(address, -1) : "a socket";
    return std::unexpected(
        Failure{FailureKind::kHostIo,
                fmt::format("--gdb: cannot listen on {}: {}{}", name, base::errno_text(why),
                            why == EADDRINUSE ? "; choose another one" : "")});
  }
  std::string place = place_of(address, fd.get());
  return Listener(std::move(fd), address.path, std::move(place));
}

Listener::~Listener() {
  if (!path_.empty()) {
    ::unlink(path_.c_str());
  }
}

base::Fd Listener::accept() const {
  base::Fd client(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (client && path_.empty()) {
    const int on = 1;  // packets are small and each waits for the one before
    ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  return client;
}

}  // namespace pvh::vmm::debug
