// SPDX-License-Identifier: BSD-2-Clause
// The lab's agent: the one program that L1 runs. It waits in the snapshot for an order, unpacks the
// payload disk, runs the command and carries its three streams, its terminal and its exit status
// between L1 and the host.
//
//   agent CONTROL_PORT STDIN_PORT PAYLOAD_DISK
//
// Both ports are virtio-serial ports and speak frames: one byte of type, four of length
// (little-endian), the payload. The types are in FrameType here and in pvhlab/wire.py; the order's
// layout is read by Order::parse and written by wire.Order.encode. Standard input has a port of its
// own so that a command which does not read it cannot keep a new window size from arriving.
//
// Errors: what goes wrong before the command runs is told in a kFailed frame, in words, and ends
// the agent.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace {

enum class FrameType : std::uint8_t {
  // Guest to host.
  kReady = 'R',     // the agent waits; the host may save the snapshot now
  kStarted = 'S',   // the command runs
  kStdout = 'o',    // bytes
  kStderr = 'e',    // bytes
  kTerminal = 't',  // bytes from the command's terminal
  kFile = 'f',      // u32 index of the wanted file, then bytes of it
  kFileEnd = 'F',   // u32 index, u32 errno (0: the file is whole)
  kExit = 'X',      // u32 wait status; nothing follows
  kFailed = '!',    // text; nothing follows
  // Host to guest.
  kOrder = 'C',
  kWindow = 'W',  // u16 rows, u16 columns
  kStdin = 'i',   // bytes; none of them means end of file
};

constexpr std::size_t kHeaderSize = 5;
constexpr std::size_t kChunkSize = 32768;
constexpr std::size_t kBlockSize = 4096;
constexpr std::size_t kCopySize = std::size_t{1} << 20;

// The host connects its end of the ports a moment after L1 was restored; until then they read as
// ended.
constexpr useconds_t kReconnectPause = 1000;
// How long a terminal may still hand out bytes after the command ended, when something it left
// behind keeps it open.
constexpr int kTerminalDrainMs = 200;

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    other.reset();
    return *this;
  }
  ~Fd() { reset(); }
  void reset() {
    if (fd_ >= 0) {
      ::close(std::exchange(fd_, -1));
    }
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

void put_u32(std::string& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xffU));
  }
}

std::uint32_t get_u32(const char* at) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) {
    value |= std::uint32_t{static_cast<unsigned char>(at[i])} << (8 * i);
  }
  return value;
}

std::uint16_t get_u16(const char* at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(at[0]) |
                                    static_cast<unsigned char>(at[1]) << 8);
}

// One direction-agnostic end of a port. Writes are whole and may wait for the host; reads give what
// is there.
class Port {
 public:
  explicit Port(const char* path) : fd_(::open(path, O_RDWR | O_CLOEXEC)) {}

  [[nodiscard]] bool valid() const { return fd_.valid(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

  void send(FrameType type, const std::string& payload) const {
    std::string frame(1, static_cast<char>(type));
    put_u32(frame, static_cast<std::uint32_t>(payload.size()));
    frame += payload;
    std::size_t done = 0;
    while (done < frame.size()) {
      const ssize_t n = ::write(fd_.get(), frame.data() + done, frame.size() - done);
      if (n > 0) {
        done += static_cast<std::size_t>(n);
      } else if (errno != EINTR && errno != EAGAIN) {
        ::usleep(kReconnectPause);
      }
    }
  }

  // Takes in what has arrived. May block when poll() did not say that something had.
  void receive() {
    std::array<char, kChunkSize> chunk;
    const ssize_t n = ::read(fd_.get(), chunk.data(), chunk.size());
    if (n > 0) {
      pending_.append(chunk.data(), static_cast<std::size_t>(n));
    } else {
      ::usleep(kReconnectPause);
    }
  }

  // Moves the first whole frame out; false when there is none yet.
  bool next(FrameType& type, std::string& payload) {
    if (pending_.size() < kHeaderSize) {
      return false;
    }
    const std::size_t size = get_u32(pending_.data() + 1);
    if (pending_.size() - kHeaderSize < size) {
      return false;
    }
    type = static_cast<FrameType>(pending_[0]);
    payload.assign(pending_, kHeaderSize, size);
    pending_.erase(0, kHeaderSize + size);
    return true;
  }

 private:
  Fd fd_;
  std::string pending_;
};

// A file that lies on the payload disk, from `offset` (a multiple of kBlockSize) on.
struct PayloadFile {
  std::string path;
  mode_t mode = 0;
  off_t offset = 0;
  off_t size = 0;
};

// What the host wants done. Layout: u32 flags, u16 rows, u16 columns, u64 seconds since 1970, u32
// counts of arguments, environment entries, wanted files, folders and payload files, then
// NUL-terminated strings: the working directory and those lists in order. A payload file is the
// text "MODE OFFSET SIZE PATH" with decimal numbers.
struct Order {
  static constexpr std::uint32_t kTerminalIn = 1;
  static constexpr std::uint32_t kTerminalOut = 2;
  static constexpr std::uint32_t kTerminalErr = 4;
  static constexpr std::size_t kFixedSize = 36;

  std::uint32_t flags = 0;
  winsize window{};
  time_t now = 0;
  std::string directory;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::vector<std::string> wanted;
  std::vector<std::string> folders;
  std::vector<std::string> files;

  [[nodiscard]] bool has(std::uint32_t flag) const { return (flags & flag) != 0; }

  static bool parse(const std::string& bytes, Order& order) {
    if (bytes.size() < kFixedSize) {
      return false;
    }
    const char* at = bytes.data();
    order.flags = get_u32(at);
    order.window.ws_row = get_u16(at + 4);
    order.window.ws_col = get_u16(at + 6);
    order.now = static_cast<time_t>(get_u32(at + 8) | std::uint64_t{get_u32(at + 12)} << 32);
    std::size_t position = kFixedSize;
    const auto text = [&](std::string& out) {
      const std::size_t end = bytes.find('\0', position);
      if (end == std::string::npos) {
        return false;
      }
      out = bytes.substr(position, end - position);
      position = end + 1;
      return true;
    };
    const auto list = [&](std::uint32_t count, std::vector<std::string>& out) {
      for (std::uint32_t i = 0; i < count; ++i) {
        if (std::string item; !text(item)) {
          return false;
        } else {
          out.push_back(std::move(item));
        }
      }
      return true;
    };
    return text(order.directory) && list(get_u32(at + 16), order.arguments) &&
           list(get_u32(at + 20), order.environment) && list(get_u32(at + 24), order.wanted) &&
           list(get_u32(at + 28), order.folders) && list(get_u32(at + 32), order.files) &&
           !order.arguments.empty();
  }
};

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& s : strings) {
    result.push_back(s.data());
  }
  result.push_back(nullptr);
  return result;
}

[[noreturn]] void fail(const Port& control, const std::string& what) {
  control.send(FrameType::kFailed, what);
  std::exit(EXIT_FAILURE);
}

[[noreturn]] void fail_errno(const Port& control, const std::string& what) {
  fail(control, what + ": " + std::strerror(errno));
}

void make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    ::mkdir(path.substr(0, slash).c_str(), 0755);
  }
  if (!path.empty()) {
    ::mkdir(path.c_str(), 0755);
  }
}

PayloadFile parse_payload_file(const std::string& text) {
  PayloadFile file;
  const char* at = text.c_str();
  char* end = nullptr;
  file.mode = static_cast<mode_t>(std::strtoul(at, &end, 10));
  file.offset = std::strtoll(end, &end, 10);
  file.size = std::strtoll(end, &end, 10);
  if (*end == ' ') {
    file.path = end + 1;
  }
  return file;
}

// Past the page cache: copying twice under emulation is what would take the time, and what the
// kernel cached of the disk that was there when the snapshot was made must not be seen.
void unpack(const Port& control, const char* disk, const std::vector<std::string>& files) {
  if (files.empty()) {
    return;
  }
  const Fd in(::open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC));
  void* buffer = std::aligned_alloc(kBlockSize, kCopySize);
  if (!in.valid() || buffer == nullptr) {
    fail_errno(control, disk);
  }
  for (const std::string& text : files) {
    const PayloadFile file = parse_payload_file(text);
    make_directories(file.path.substr(0, file.path.rfind('/')));
    const Fd out(::open(file.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!out.valid()) {
      fail_errno(control, file.path);
    }
    for (off_t done = 0; done < file.size;) {
      const ssize_t n = ::pread(in.get(), buffer, kCopySize, file.offset + done);
      const auto useful = static_cast<std::size_t>(std::min<off_t>(n, file.size - done));
      if (n <= 0 || ::write(out.get(), buffer, useful) != static_cast<ssize_t>(useful)) {
        fail_errno(control, file.path + " (bringing it into L1)");
      }
      done += static_cast<off_t>(useful);
    }
    ::fchmod(out.get(), file.mode);
  }
  std::free(buffer);
}

struct Pipe {
  Fd read_end;
  Fd write_end;
  static bool create(Pipe& pipe) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      return false;
    }
    pipe.read_end = Fd(ends[0]);
    pipe.write_end = Fd(ends[1]);
    return true;
  }
};

void set_nonblocking(const Fd& fd) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

// The command, and our ends of what it was given. `input` and `terminal` are the same open file
// when standard input is a terminal; a stream that goes to the terminal has no pipe.
struct Command {
  pid_t pid = -1;
  Fd ended;  // a pidfd: readable once the command has ended
  Fd input;
  Fd output;
  Fd errors;
  Fd terminal;
};

// Never returns. Only what is safe between fork and exec is done here.
[[noreturn]] void become(Order& order, int in, int out, int err, bool terminal) {
  ::setsid();
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (terminal) {
    ::ioctl(STDIN_FILENO, TIOCSCTTY, 0);
  }
  // When memory runs out it is the command that goes, not the agent, and the host hears of it.
  if (const Fd score(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)); score.valid()) {
    [[maybe_unused]] const ssize_t n = ::write(score.get(), "1000", 4);
  }
  ::signal(SIGPIPE, SIG_DFL);
  if (::chdir(order.directory.c_str()) != 0) {
    ::dprintf(STDERR_FILENO, "lab: %s: %s\n", order.directory.c_str(), std::strerror(errno));
    ::_exit(127);
  }
  std::vector<char*> arguments = pointers(order.arguments);
  std::vector<char*> environment = pointers(order.environment);
  ::execvpe(arguments[0], arguments.data(), environment.data());
  const int reason = errno;
  ::dprintf(STDERR_FILENO, "lab: %s: %s\n", arguments[0], std::strerror(reason));
  ::_exit(reason == ENOENT ? 127 : 126);  // as a shell would
}

Command start(const Port& control, Order& order) {
  Command command;
  Pipe in;
  Pipe out;
  Pipe err;
  Fd slave;
  if (!Pipe::create(in) || !Pipe::create(out) || !Pipe::create(err)) {
    fail_errno(control, "pipe");
  }
  if (order.has(Order::kTerminalIn)) {
    command.terminal = Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    std::array<char, 64> name{};
    if (!command.terminal.valid() || ::unlockpt(command.terminal.get()) != 0 ||
        ::ptsname_r(command.terminal.get(), name.data(), name.size()) != 0) {
      fail_errno(control, "terminal");
    }
    ::ioctl(command.terminal.get(), TIOCSWINSZ, &order.window);
    slave = Fd(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!slave.valid()) {
      fail_errno(control, name.data());
    }
  }
  const bool terminal_out = slave.valid() && order.has(Order::kTerminalOut);
  const bool terminal_err = slave.valid() && order.has(Order::kTerminalErr);
  command.pid = ::fork();
  if (command.pid == 0) {
    become(order, slave.valid() ? slave.get() : in.read_end.get(),
           terminal_out ? slave.get() : out.write_end.get(),
           terminal_err ? slave.get() : err.write_end.get(), slave.valid());
  }
  if (command.pid < 0) {
    fail_errno(control, "fork");
  }
  command.ended = Fd(static_cast<int>(::syscall(SYS_pidfd_open, command.pid, 0)));
  if (!command.ended.valid()) {
    fail_errno(control, "pidfd_open");
  }
  if (slave.valid()) {
    command.input = Fd(::fcntl(command.terminal.get(), F_DUPFD_CLOEXEC, 0));
  } else {
    command.input = std::move(in.write_end);
  }
  set_nonblocking(command.input);
  command.output = std::move(out.read_end);
  command.errors = std::move(err.read_end);
  set_nonblocking(command.output);
  set_nonblocking(command.errors);
  return command;
}

// Passes on what one stream of the command holds now. Closes it at its end; false when there was
// nothing to pass.
bool forward(const Port& control, FrameType type, Fd& from) {
  std::string chunk(kChunkSize, '\0');
  const ssize_t n = ::read(from.get(), chunk.data(), chunk.size());
  if (n > 0) {
    chunk.resize(static_cast<std::size_t>(n));
    control.send(type, chunk);
    return true;
  }
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
    from.reset();
  }
  return false;
}

// Everything that the command wrote before it ended is in its pipes by now. A terminal's bytes may
// still be on their way.
void drain(const Port& control, Command& command) {
  while (command.output.valid() && forward(control, FrameType::kStdout, command.output)) {
  }
  while (command.errors.valid() && forward(control, FrameType::kStderr, command.errors)) {
  }
  while (command.terminal.valid()) {
    pollfd waiting{.fd = command.terminal.get(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kTerminalDrainMs) <= 0) {
      break;
    }
    forward(control, FrameType::kTerminal, command.terminal);
  }
}

void resize(const Command& command, const std::string& payload) {
  if (payload.size() == 4 && command.terminal.valid()) {
    winsize window{};
    window.ws_row = get_u16(payload.data());
    window.ws_col = get_u16(payload.data() + 2);
    ::ioctl(command.terminal.get(), TIOCSWINSZ, &window);
  }
}

// Runs until the command has ended; gives its wait status.
int serve(Port& control, Port& input_port, Command& command) {
  std::string input;  // taken from the host, not yet taken by the command
  bool input_ended = false;
  for (;;) {
    FrameType type{};
    std::string payload;
    while (input.empty() && !input_ended && input_port.next(type, payload)) {
      input_ended = payload.empty();
      input = std::move(payload);
    }
    // A terminal has no end of file that the host could send: its hang-up ends the lab itself.
    if (input.empty() && input_ended && !command.terminal.valid()) {
      command.input.reset();
    }
    const bool wants_input = command.input.valid() && input.empty() && !input_ended;
    const bool has_input = command.input.valid() && !input.empty();
    std::array<pollfd, 7> waiting{{
        {.fd = command.ended.get(), .events = POLLIN, .revents = 0},
        {.fd = command.output.get(), .events = POLLIN, .revents = 0},
        {.fd = command.errors.get(), .events = POLLIN, .revents = 0},
        {.fd = command.terminal.get(), .events = POLLIN, .revents = 0},
        {.fd = control.fd(), .events = POLLIN, .revents = 0},
        {.fd = wants_input ? input_port.fd() : -1, .events = POLLIN, .revents = 0},
        {.fd = has_input ? command.input.get() : -1, .events = POLLOUT, .revents = 0},
    }};
    if (::poll(waiting.data(), waiting.size(), -1) < 0) {
      continue;
    }
    if (waiting[1].revents != 0) {
      forward(control, FrameType::kStdout, command.output);
    }
    if (waiting[2].revents != 0) {
      forward(control, FrameType::kStderr, command.errors);
    }
    if (waiting[3].revents != 0) {
      forward(control, FrameType::kTerminal, command.terminal);
    }
    if (waiting[4].revents != 0) {
      control.receive();
      while (control.next(type, payload)) {
        if (type == FrameType::kWindow) {
          resize(command, payload);
        }
      }
    }
    if (waiting[5].revents != 0) {
      input_port.receive();
    }
    if (waiting[6].revents != 0) {
      const ssize_t n = ::write(command.input.get(), input.data(), input.size());
      if (n > 0) {
        input.erase(0, static_cast<std::size_t>(n));
      } else if (errno != EAGAIN && errno != EINTR) {
        input.clear();  // the command closed its standard input
        command.input.reset();
      }
    }
    if (waiting[0].revents != 0) {
      int status = 0;
      ::waitpid(command.pid, &status, 0);
      drain(control, command);
      return status;
    }
  }
}

void send_file(const Port& control, std::uint32_t index, const std::string& path) {
  std::string id;
  put_u32(id, index);
  int reason = 0;
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string chunk(kChunkSize, '\0');
  for (;;) {
    const ssize_t n = ::read(file.get(), chunk.data(), chunk.size());
    if (n <= 0) {
      reason = n < 0 ? errno : 0;
      break;
    }
    control.send(FrameType::kFile, id + chunk.substr(0, static_cast<std::size_t>(n)));
  }
  if (!file.valid()) {
    reason = ENOENT;
  }
  put_u32(id, static_cast<std::uint32_t>(reason));
  control.send(FrameType::kFileEnd, id);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    ::dprintf(STDERR_FILENO, "usage: agent CONTROL_PORT STDIN_PORT PAYLOAD_DISK\n");
    return EXIT_FAILURE;
  }
  ::signal(SIGPIPE, SIG_IGN);
  Port control(argv[1]);
  Port input(argv[2]);
  if (!control.valid() || !input.valid()) {
    ::dprintf(STDERR_FILENO, "agent: %s or %s: %s\n", argv[1], argv[2], std::strerror(errno));
    return EXIT_FAILURE;
  }
  control.send(FrameType::kReady, "");
  FrameType type{};
  std::string payload;
  while (!control.next(type, payload)) {
    control.receive();
  }
  Order order;
  if (type != FrameType::kOrder || !Order::parse(payload, order)) {
    fail(control, "the order was not understood");
  }
  const timespec now{.tv_sec = order.now, .tv_nsec = 0};
  ::clock_settime(CLOCK_REALTIME, &now);
  for (const std::string& folder : order.folders) {
    make_directories(folder);
  }
  unpack(control, argv[3], order.files);
  make_directories(order.directory);
  Command command = start(control, order);
  control.send(FrameType::kStarted, "");
  const int status = serve(control, input, command);
  for (std::uint32_t i = 0; i < order.wanted.size(); ++i) {
    send_file(control, i, order.wanted[i]);
  }
  std::string verdict;
  put_u32(verdict, static_cast<std::uint32_t>(status));
  control.send(FrameType::kExit, verdict);
  return EXIT_SUCCESS;
}
