// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <linux/major.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>
#include <pvh/base/fault.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/unix_listener.hpp>
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

Result<Pty> open_pty(std::string_view console, const Notice& notice) {
  base::Fd pty(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  std::array<char, 128> name{};
  if (!pty || ::grantpt(pty.get()) != 0 || ::unlockpt(pty.get()) != 0 ||
      ::ptsname_r(pty.get(), name.data(), name.size()) != 0) {
    return cannot(fmt::format("cannot make a pseudo terminal for the {}", console), errno);
  }
  // Were their side open nowhere, ours would be hung up, and poll() would say so for ever: we keep
  // it open.
  base::Fd other(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios settings{};
  if (!other || ::tcgetattr(other.get(), &settings) != 0) {
    return cannot(fmt::format("cannot open {} for the {}", name.data(), console), errno);
  }
  ::cfmakeraw(&settings);  // no echo of the guest's output back into its input
  ::tcsetattr(other.get(), TCSANOW, &settings);
  tell(notice, "", fmt::format("the {} is on {}", console, name.data()));
  return Pty{std::move(pty), std::move(other)};
}

Result<base::Fd> accept_one(const std::string& path, std::string_view console,
                            const Notice& notice) {
  const auto listener = devices::UnixListener::open(path);
  if (!listener) {
    const bool request = listener.error().code == devices::UnixSocketError::kBadPath;
    return std::unexpected(Failure{request ? FailureKind::kRequest : FailureKind::kHostIo,
                                   base::to_text(listener.error())});
  }
  tell(notice, "", fmt::format("the {} waits for a client on {}", console, path));
  base::Fd client;
  do {
    pollfd wait{.fd = listener->get(), .events = POLLIN, .revents = 0};
    ::poll(&wait, 1, -1);
    client = listener->accept();
  } while (!client && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED));
  if (!client) {
    return cannot(fmt::format("no client came to {}", path), errno);
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

// Opening it once more gives the same thing: not so the master of a pseudo terminal, of which that
// makes another.
bool can_open_again(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) {
    return false;
  }
  const bool master = status.st_rdev == makedev(TTYAUX_MAJOR, 2);
  return S_ISFIFO(status.st_mode) || (::isatty(fd) == 1 && !master);
}

// Another descriptor of the same thing, that does not block where that can be had. Others have this
// process's stdin and stdout, too, and O_NONBLOCK would be theirs as well: a pipe or a terminal is
// opened once more instead. One that is not ours to open (after su, or without readers) stays as it
// is. A regular file must keep its one position, and a socket has MSG_DONTWAIT.
base::Fd open_again(int fd, int mode) {
  if (can_open_again(fd)) {
    const std::string name = fmt::format("/proc/self/fd/{}", fd);
    base::Fd again(::open(name.c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (again) {
      return again;
    }
  }
  return base::Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

}  // namespace

Result<Console> Console::open(const ConsoleSpec& spec, const Notice& notice,
                              std::string_view name) {
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
        return cannot(fmt::format("cannot open {} for the {}", spec.path, name), errno);
      }
      const int output = file.get();
      return Console(-1, output, std::move(file), false);
    }
    case ConsoleKind::kPty: {
      Pty pty = TRY(open_pty(name, notice));
      const int fd = pty.ours.get();
      Console console(fd, fd, std::move(pty.ours), true);
      console.also_owned_ = std::move(pty.theirs);
      return console;
    }
    case ConsoleKind::kUnixSocket: {
      base::Fd client = TRY(accept_one(spec.path, name, notice));
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

Result<Console::Ends> Console::give_ends() {
  if (function_) {
    return std::unexpected(
        Failure{FailureKind::kRequest, "a function has no descriptor: give a pipe or a socket"});
  }
  Ends ends;
  if (input_ >= 0) {
    ends.input = open_again(input_, O_RDONLY);
  }
  if (output_ >= 0) {
    ends.output = open_again(output_, O_WRONLY);
  }
  if ((input_ >= 0 && !ends.input) || (output_ >= 0 && !ends.output)) {
    return cannot("cannot open a console once more", errno);
  }
  // Without the keeper the other end is open where somebody is, so that what he has not read yet
  // can wait for him, and what nobody would read need not.
  ends.pseudo_terminal = lossy_;
  if (lossy_) {
    also_owned_.reset();
  }
  return ends;
}

std::optional<winsize> Console::terminal_size() const {
  winsize size{};
  if (!has_escape_keys() || ::ioctl(output_, TIOCGWINSZ, &size) != 0) {
    return std::nullopt;
  }
  return size;
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
