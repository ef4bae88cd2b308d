// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <pvh/devices/net/passt.hpp>

namespace pvh::devices::net {
namespace {

constexpr int kSocket = 3;  // where passt finds its descriptors: behind the standard ones
constexpr std::size_t kMostWords = 500;

std::unexpected<NetFault> fault(NetError code, std::string detail, int error = 0) {
  return std::unexpected(NetFault{code, std::move(detail), std::nullopt, error});
}

std::string find_passt() {
  const char* const path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  std::istringstream folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string program = (folder.empty() ? "." : folder) + "/passt";
    if (::access(program.c_str(), X_OK) == 0) {
      return program;
    }
  }
  return {};
}

const char* protocol_name(Forward::Protocol protocol) {
  return protocol == Forward::Protocol::kTcp ? "tcp" : "udp";
}

// passt says only that it could not bind; we would rather say why.
std::expected<void, NetFault> check_is_free(const Forward& forward) {
  const std::string host = forward.host.empty() ? "0.0.0.0" : forward.host;
  const auto refused = [&](int error) {
    return fault(NetError::kPortNotFree,
                 fmt::format("{} {}:{}", protocol_name(forward.protocol), host, forward.host_port),
                 error);
  };
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = ::htons(forward.host_port);
  if (::inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    return refused(EADDRNOTAVAIL);
  }
  const bool tcp = forward.protocol == Forward::Protocol::kTcp;
  const base::Fd socket(::socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
  if (!socket) {
    return refused(errno);
  }
  // As passt does it: connections of the past do not count.
  const int on = 1;
  if (tcp) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return refused(errno);
  }
  return {};
}

struct Pipe {
  base::Fd read;
  base::Fd write;
};

std::optional<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return std::nullopt;
  }
  return Pipe{base::Fd(ends[0]), base::Fd(ends[1])};
}

// What the child does between fork and exec: only what is allowed there.
[[noreturn]] void become(const char* program, char* const* arguments, pid_t parent,
                         std::array<int, 4> descriptors) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(127);  // it ended before it was asked to tell us
  }
  ::setsid();  // keys of the terminal's are not for it
  for (int signal = 1; signal < NSIG; ++signal) {
    ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int& descriptor : descriptors) {
    descriptor = ::fcntl(descriptor, F_DUPFD, 16);  // out of each other's way
  }
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    ::dup2(descriptors[i], static_cast<int>(i));
  }
  ::close_range(kSocket + 1, ~0U, 0);
  char* const environment[] = {nullptr};
  ::execve(program, arguments, environment);
  ::_exit(127);
}

// Whether a line came before the end of file, and in time.
bool hears_readiness(int fd, int patience) {
  pollfd waited{fd, POLLIN, 0};
  char byte = 0;
  return ::poll(&waited, 1, patience) == 1 && ::read(fd, &byte, 1) == 1;
}

// All that it said, as one line.
std::string words_of(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  std::string words;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    // Said by a passt that finds no syslog, and by each that root started.
    if (line.empty() || line.ends_with("bytes to syslog") ||
        line.starts_with("Don't run as root")) {
      continue;
    }
    words += (words.empty() ? "" : "; ") + line;
  }
  return words.size() <= kMostWords ? words : "..." + words.substr(words.size() - kMostWords);
}

}  // namespace

Routes default_routes() {
  Routes routes;
  std::string line;
  std::ifstream ipv4("/proc/net/route");
  while (std::getline(ipv4, line)) {
    std::istringstream words(line);
    std::string interface, destination, skipped, mask;
    words >> interface >> destination >> skipped >> skipped >> skipped >> skipped >> skipped >>
        mask;
    routes.ipv4 = routes.ipv4 || (destination == "00000000" && mask == "00000000");
  }
  std::ifstream ipv6("/proc/net/ipv6_route");
  while (std::getline(ipv6, line)) {
    // The kernel's own unreachable route is on lo.
    routes.ipv6 =
        routes.ipv6 || (line.starts_with(std::string(32, '0') + " 00 ") && !line.ends_with(" lo"));
  }
  return routes;
}

std::vector<std::string> passt_arguments(const std::vector<Forward>& forwards, Routes routes) {
  std::vector<std::string> arguments{"--foreground", "--quiet", "--fd", std::to_string(kSocket),
                                     // Written when it is ready.
                                     "--pid", "/dev/stdout", "--address", kUserAddress, "--netmask",
                                     kUserNetmask, "--gateway", kUserGateway, "--mac-addr",
                                     kUserGatewayMac, "--mtu", std::to_string(kUserMtu)};
  if (!routes.ipv4 && !routes.ipv6) {
    // It insists on an interface to take after. The host itself can still be reached.
    arguments.insert(arguments.end(), {"--interface", "lo", "--ipv4-only"});
  }
  bool forwards_udp = false;
  for (const Forward& forward : forwards) {
    const bool udp = forward.protocol == Forward::Protocol::kUdp;
    forwards_udp = forwards_udp || udp;
    arguments.emplace_back(udp ? "--udp-ports" : "--tcp-ports");
    arguments.push_back(fmt::format("{}/{}:{}", forward.host.empty() ? "0.0.0.0" : forward.host,
                                    forward.host_port, forward.guest_port));
  }
  if (!forwards_udp) {
    // Else it forwards the UDP ports beside the TCP ones, too.
    arguments.insert(arguments.end(), {"--udp-ports", "none"});
  }
  return arguments;
}

std::expected<std::unique_ptr<PasstEnd>, NetFault> PasstEnd::start(const Options& options) {
  const std::string program = options.program.empty() ? find_passt() : options.program;
  if (program.empty()) {
    return fault(NetError::kNoPasst, "");
  }
  for (const Forward& forward : options.forwards) {
    if (auto free = check_is_free(forward); !free) {
      return std::unexpected(std::move(free.error()));
    }
  }
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return fault(NetError::kNoResources, "a socket", errno);
  }
  base::Fd ours(sockets[0]);
  base::Fd theirs(sockets[1]);
  base::Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  auto ready = make_pipe();
  auto words = make_pipe();
  if (!null || !ready || !words) {
    return fault(NetError::kNoResources, "a pipe", errno);
  }
  // It opens /dev/stdout again, as nobody if we are root.
  ::fchmod(ready->write.get(), 0222);
  // Nobody reads its words while it runs, which must not stop it; and we do not wait for any.
  ::fcntl(words->write.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(words->read.get(), F_SETFL, O_NONBLOCK);

  std::vector<std::string> texts = passt_arguments(options.forwards, default_routes());
  texts.insert(texts.begin(), program);
  std::vector<char*> arguments;
  for (std::string& text : texts) {
    arguments.push_back(text.data());
  }
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    return fault(NetError::kNoResources, "a process", errno);
  }
  if (pid == 0) {
    become(program.c_str(), arguments.data(), parent,
           {null.get(), ready->write.get(), words->write.get(), theirs.get()});
  }
  std::unique_ptr<PasstEnd> end(new PasstEnd(std::move(ours), std::move(words->read), pid));
  theirs.reset();
  ready->write.reset();
  words->write.reset();
  if (!hears_readiness(ready->read.get(), options.patience)) {
    end->cut();
    return fault(NetError::kPasstFailed, end->reap());
  }
  // What it found worth a warning did not keep it from starting, so it is no reason to end either.
  static_cast<void>(words_of(end->words_.get()));
  return end;
}

PasstEnd::PasstEnd(base::Fd socket, base::Fd words, pid_t pid)
    : StreamEnd(std::move(socket)), words_(std::move(words)), pid_(pid) {}

PasstEnd::~PasstEnd() {
  static_cast<void>(reap());
}

std::string PasstEnd::reap() {
  if (pid_ < 0) {
    return {};
  }
  // If it ends by itself, its own status is worth the moment between its last word and its end.
  constexpr int kMoment = 200;  // milliseconds
  const base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  if (!process || ::poll(&ended, 1, down() ? kMoment : 0) != 1) {
    ::kill(pid_, SIGKILL);
  }
  hang_up();  // which it would obey, too
  int status = 0;
  const pid_t reaped = ::waitpid(pid_, &status, 0);
  pid_ = -1;
  std::string how = "it ended";
  if (reaped > 0 && WIFEXITED(status)) {
    how = fmt::format("it ended with status {}", WEXITSTATUS(status));
  } else if (reaped > 0 && WIFSIGNALED(status)) {
    how = fmt::format("it was killed by signal {}", WTERMSIG(status));
  }
  const std::string words = words_of(words_.get());
  return words.empty() ? how : fmt::format("{}: {}", how, words);
}

std::string PasstEnd::last_words() {
  const std::string nonsense = StreamEnd::last_words();
  return fmt::format("passt: {}", nonsense.empty() ? reap() : nonsense);
}

}  // namespace pvh::devices::net
