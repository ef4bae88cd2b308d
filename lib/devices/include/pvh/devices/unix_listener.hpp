// SPDX-License-Identifier: BSD-2-Clause
// A name in the file system at which programs of the host connect. A socket that a killed process
// left there is replaced; a file, a folder, or a socket that somebody listens at is left alone.
#pragma once

#include <sys/un.h>

#include <expected>
#include <optional>
#include <string>
#include <utility>

#include <pvh/base/fault.hpp>
#include <pvh/base/fd.hpp>

namespace pvh::devices {

enum class UnixSocketError {
  kBadPath,     // empty, or longer than a Unix socket's name may be
  kInUse,       // another process listens there
  kNotASocket,  // a file or a folder is there
  kNoSocket,    // it cannot be made
};

[[nodiscard]] base::Explanation explain(UnixSocketError code);
using UnixSocketFault = base::Fault<UnixSocketError>;

// Nothing when the path is too long.
[[nodiscard]] std::optional<sockaddr_un> unix_address(const std::string& path);
// A stream socket that does not block.
[[nodiscard]] base::Fd unix_socket();
// As connect(2).
[[nodiscard]] int connect_to(const base::Fd& socket, const sockaddr_un& address);

class UnixListener {
 public:
  [[nodiscard]] static std::expected<UnixListener, UnixSocketFault> open(const std::string& path);
  UnixListener(UnixListener&& other) noexcept
      : path_(std::exchange(other.path_, std::string())), fd_(std::move(other.fd_)) {}
  UnixListener& operator=(UnixListener&&) = delete;
  // Takes the name away.
  ~UnixListener();

  // Readable when a client waits.
  [[nodiscard]] int get() const { return fd_.get(); }
  // The next client, whose socket does not block; nothing when there is none: errno says why.
  [[nodiscard]] base::Fd accept() const;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  UnixListener(std::string path, base::Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;  // empty when moved from
  base::Fd fd_;
};

}  // namespace pvh::devices
