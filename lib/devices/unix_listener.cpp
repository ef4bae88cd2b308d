// SPDX-License-Identifier: BSD-2-Clause
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <pvh/devices/unix_listener.hpp>

namespace pvh::devices {
namespace {

// Anything else than a socket is somebody's file, and stays.
bool is_socket(const sockaddr_un& address) {
  struct stat status{};
  return ::lstat(address.sun_path, &status) == 0 && S_ISSOCK(status.st_mode);
}

// A name that nobody listens at any more: left by a process that was killed.
bool is_stale(const sockaddr_un& address) {
  const base::Fd socket = unix_socket();
  return is_socket(address) && socket && connect_to(socket, address) != 0 && errno == ECONNREFUSED;
}

}  // namespace

base::Explanation explain(UnixSocketError code) {
  switch (code) {
    case UnixSocketError::kBadPath:
      return {"the path of a Unix socket must be shorter", "at most 96 bytes"};
    case UnixSocketError::kInUse:
      return {"another process listens there", "name another path"};
    case UnixSocketError::kNotASocket:
      return {"something is there that is no socket", "name another path"};
    case UnixSocketError::kNoSocket:
      return {"a Unix socket cannot be made", ""};
  }
  return {"unknown error", ""};
}

std::optional<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return std::nullopt;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

base::Fd unix_socket() {
  return base::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int connect_to(const base::Fd& socket, const sockaddr_un& address) {
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

std::expected<UnixListener, UnixSocketFault> UnixListener::open(const std::string& path) {
  const auto fault = [&path](UnixSocketError code, int sys_errno) {
    return std::unexpected(UnixSocketFault{code, path, std::nullopt, sys_errno});
  };
  const auto address = unix_address(path);
  if (path.empty() || !address) {
    return fault(UnixSocketError::kBadPath, 0);
  }
  base::Fd fd = unix_socket();
  if (!fd) {
    return fault(UnixSocketError::kNoSocket, errno);
  }
  const auto bind = [&] {
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address));
  };
  int bound = bind();
  if (bound != 0 && errno == EADDRINUSE && is_stale(*address)) {
    ::unlink(path.c_str());
    bound = bind();
  }
  if (bound != 0) {
    if (errno != EADDRINUSE) {
      return fault(UnixSocketError::kNoSocket, errno);
    }
    return fault(is_socket(*address) ? UnixSocketError::kInUse : UnixSocketError::kNotASocket, 0);
  }
  UnixListener listener(path, std::move(fd));
  if (::listen(listener.get(), SOMAXCONN) != 0) {
    return fault(UnixSocketError::kNoSocket, errno);
  }
  return listener;
}

UnixListener::~UnixListener() {
  if (!path_.empty()) {
    ::unlink(path_.c_str());
  }
}

base::Fd UnixListener::accept() const {
  return base::Fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

}  // namespace pvh::devices
