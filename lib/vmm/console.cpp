// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>
#include <pvh/vmm/console.hpp>

namespace pvh::vmm {
namespace {

std::unexpected<Failure> cannot(const std::string& what, int sys_errno) {
  return std::unexpected(
      Failure{FailureKind::kHostIo, fmt::format("{}: {}", what, base::errno_text(sys_errno))});
}

struct Pty {
  base::Fd ours;
  base::Fd theirs;
};

Result<Pty> open_pty(const Notice& notice) {
  base::Fd pty(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  std::array<char, 128> name{};
  if (!pty || ::grantpt(pty.get()) != 0 || ::unlockpt(pty.get()) != 0 ||
      ::ptsname_r(pty.get(), name.data(), name.size()) != 0) {
    return cannot("cannot make a pseudo terminal for the console", errno);
  }
  // Were their side open nowhere, ours would be hung up, and poll() would say so for ever: we keep
  // it open.
  base::Fd other(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios settings{};
  if (!other || ::tcgetattr(other.get(), &settings) != 0) {
    return cannot(fmt::format("cannot open {} for the console", name.data()), errno);
  }
  ::cfmakeraw(&settings);  // no echo of the guest's output back into its input
  ::tcsetattr(other.get(), TCSANOW, &settings);
  tell(notice, "", fmt::format("the console is on {}", name.data()));
  return Pty{std::move(pty), std::move(other)};
}

Result<base::Fd> accept_one(const std::string& path, const Notice& notice) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return std::unexpected(Failure{
        FailureKind::kRequest, fmt::format("--console uds={}: a socket's path has at most {} bytes",
                                           path, sizeof(address.sun_path) - 1)});
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const base::Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener.get(), 1) != 0) {
    return cannot(fmt::format("cannot listen on {}", path), errno);
  }
  tell(notice, "", fmt::format("the console waits for a client on {}", path));
  base::Fd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int accept_errno = errno;
  ::unlink(path.c_str());
  if (!client) {
    return cannot(fmt::format("no client came to {}", path), accept_errno);
  }
  return client;
}

Result<base::Fd> duplicate(int fd) {
  if (fd < 0) {
    return base::Fd();
  }
  base::Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) {
    return cannot(fmt::format("cannot use descriptor {} for the console", fd), errno);
  }
  return copy;
}

// Whether there is something to read there: not when the caller closed it, and we keep its number
// with O_PATH.
bool is_readable(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags != -1 && (flags & O_PATH) == 0;
}

}  // namespace

Result<Console> Console::open(const ConsoleSpec& spec, const Notice& notice) {
  switch (spec.kind) {
    case ConsoleKind::kStdio: {
      Console console(is_readable(STDIN_FILENO) ? STDIN_FILENO : -1, STDOUT_FILENO, base::Fd(),
                      false);
      console.terminal_.emplace(STDIN_FILENO);
      return console;
    }
    case ConsoleKind::kNone:
      return Console(-1, -1, base::Fd(), false);
    case ConsoleKind::kFile: {
      base::Fd file(::open(spec.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
      if (!file) {
        return cannot(fmt::format("cannot open {} for the console", spec.path), errno);
      }
      const int output = file.get();
      return Console(-1, output, std::move(file), false);
    }
    case ConsoleKind::kPty: {
      Pty pty = TRY(open_pty(notice));
      const int fd = pty.ours.get();
      Console console(fd, fd, std::move(pty.ours), true);
      console.also_owned_ = std::move(pty.theirs);
      return console;
    }
    case ConsoleKind::kUnixSocket: {
      base::Fd client = TRY(accept_one(spec.path, notice));
      const int fd = client.get();
      return Console(fd, fd, std::move(client), false);
    }
    case ConsoleKind::kDescriptors:
    case ConsoleKind::kFunction: {
      const bool is_function = spec.kind == ConsoleKind::kFunction;
      base::Fd input = TRY(duplicate(spec.input));
      base::Fd output = TRY(duplicate(is_function ? -1 : spec.output));
      const int fd = output.get();
      Console console(input.get(), fd, std::move(output), false);
      console.also_owned_ = std::move(input);
      if (is_function) {
        console.function_ = spec.write;
      }
      return console;
    }
  }
  return cannot("unknown console", EINVAL);
}

int write_all(int fd, base::Bytes bytes, const std::atomic<bool>& stop) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(done));
      continue;
    }
    if (errno == EAGAIN) {
      // Somebody made the terminal that we share with him non-blocking.
      pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&wait, 1, 100);
    } else if (errno != EINTR) {
      return errno;
    }
    if (stop.load(std::memory_order_relaxed)) {
      return 0;
    }
  }
  return 0;
}

int Console::write(base::Bytes bytes, const std::atomic<bool>& stop) const {
  if (function_) {
    function_(bytes);
    return 0;
  }
  if (output_ < 0) {
    return 0;
  }
  if (lossy_) {
    const bool failed = ::write(output_, bytes.data(), bytes.size()) < 0;
    return failed && errno != EAGAIN && errno != EINTR ? errno : 0;
  }
  return write_all(output_, bytes, stop);
}

}  // namespace pvh::vmm
