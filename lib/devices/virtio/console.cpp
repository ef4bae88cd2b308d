// SPDX-License-Identifier: BSD-2-Clause
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <pvh/abi/virtio.hpp>
#include <pvh/abi/virtio_console.hpp>
#include <pvh/devices/virtio/console.hpp>

namespace pvh::devices::virtio {
namespace {

constexpr std::size_t kReadAtOnce = 4096;
constexpr std::size_t kMostTyped = std::size_t{64} * 1024;
constexpr std::size_t kWrittenAtOnce = std::size_t{64} * 1024;
// Of a descriptor that may block: so much has room when poll() says that something has.
constexpr std::size_t kWrittenIfAsked = 256;
// Before the other devices have a turn.
constexpr std::size_t kBudget = std::size_t{256} * 1024;

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

// Or hung up, which needs no asking for.
bool is_ready(int fd, short events) {
  pollfd poll{fd, events, 0};
  return ::poll(&poll, 1, 0) == 1;
}

bool is_socket(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

std::uint32_t pack(Console::Size size) {
  return size.columns | std::uint32_t{size.rows} << 16;
}

}  // namespace

std::unique_ptr<Console> Console::create(Parts parts) {
  auto again = base::EventFd::create();
  if (!again) {
    return nullptr;
  }
  std::unique_ptr<Console> console(new Console(std::move(parts), std::move(*again)));
  return console->watch_ends() ? std::move(console) : nullptr;
}

Console::Console(Parts parts, base::EventFd again)
    : loop_(parts.loop),
      pseudo_terminal_(parts.pseudo_terminal),
      has_size_(parts.size.has_value()),
      filter_(std::move(parts.filter)),
      output_lost_(std::move(parts.output_lost)),
      again_(std::move(again)),
      size_(pack(parts.size.value_or(Size{}))) {
  input_.fd = std::move(parts.input);
  output_.fd = std::move(parts.output);
}

// Finds out what they are, too.
bool Console::watch_ends() {
  again_watch_ = loop_.watch(again_.get(), EPOLLIN, [this](std::uint32_t) {
    again_.clear();
    print();
    type();
  });
  if (!again_watch_) {
    return false;
  }
  for (End* const end : {&input_, &output_}) {
    if (!end->fd) {
      continue;
    }
    const int fd = end->fd.get();
    end->socket = is_socket(fd);
    end->may_block = !end->socket && (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
    if (pseudo_terminal_) {
      // For good, and for edges: one that is open nowhere is hung up, level-triggered for ever.
      end->watch = loop_.watch(fd, EPOLLIN | EPOLLOUT | EPOLLET, [this](std::uint32_t) {
        print();
        type();
      });
    } else if (end == &input_) {
      end->watch = loop_.watch(fd, EPOLLIN, [this](std::uint32_t) { type(); });
    } else {
      // Only to learn whether it can be; when it cannot be written at all, writing will say so.
      end->watch = loop_.watch(fd, 0, [](std::uint32_t) {});
    }
    end->always_ready = !end->watch && errno == EPERM;
    if (!end->watch && errno != EPERM && errno != EBADF) {
      return false;
    }
    if (end == &output_ && !pseudo_terminal_) {
      end->watch.reset();
    }
  }
  return true;
}

void Console::set_size(Size size) {
  if (has_size_ && size_.exchange(pack(size)) != pack(size) && active_) {
    active_->driver->config_changed();
  }
}

std::uint32_t Console::id() const {
  return abi::VIRTIO_ID_CONSOLE;
}

std::uint64_t Console::features() const {
  return has_size_ ? abi::VIRTIO_CONSOLE_F_SIZE : 0;
}

void Console::read_config(std::uint64_t offset, base::MutableBytes data) const {
  const std::uint32_t size = size_.load();
  const abi::virtio_console_config config{
      .cols = base::Le16(static_cast<std::uint16_t>(size)),
      .rows = base::Le16(static_cast<std::uint16_t>(size >> 16)),
      .max_nr_ports = base::Le32(0),
      .emerg_wr = base::Le32(0),
  };
  read_config_bytes(base::to_bytes(config), offset, data);
}

void Console::activate(Activation activation) {
  active_ = std::move(activation);
}

// What was typed stays for the next driver.
void Console::reset() {
  active_.reset();
  printed_ = 0;
  if (!pseudo_terminal_) {
    output_.watch.reset();
  }
}

void Console::notify(std::size_t queue) {
  if (queue == abi::VIRTIO_CONSOLE_TRANSMITQ) {
    print();
  } else {
    type();
  }
}

// ---- towards the host

void Console::print() {
  if (!active_ || active_->queues[abi::VIRTIO_CONSOLE_TRANSMITQ].size() == 0) {
    return;
  }
  std::size_t budget = kBudget;
  const auto take = [&](const Chain& chain) -> std::optional<std::uint32_t> {
    if (!print_chain(chain, budget)) {
      return std::nullopt;
    }
    printed_ = 0;
    return 0;
  };
  if (!serve_at_once(*active_, abi::VIRTIO_CONSOLE_TRANSMITQ, chain_, take)) {
    reset();
  }
}

// False when the rest of it is for another time.
bool Console::print_chain(const Chain& chain, std::size_t& budget) {
  // Nobody is there: it would lie in the kernel until somebody came, as far as it fits.
  if (pseudo_terminal_ && output_.fd && is_ready(output_.fd.get(), 0)) {
    return true;
  }
  while (output_.fd && printed_ < chain.readable_bytes) {
    if (budget == 0) {
      again_.signal();
      return false;
    }
    const std::size_t most =
        output_.may_block && !output_.always_ready ? kWrittenIfAsked : kWrittenAtOnce;
    take_part(chain.readable, printed_, std::min(most, budget), part_);
    const ssize_t done = write_some(part_);
    if (done < 0 && errno == EIO && pseudo_terminal_) {
      return true;  // he went just now
    }
    if (done >= 0) {
      printed_ += static_cast<std::uint64_t>(done);
      budget -= static_cast<std::size_t>(done);
    } else if (would_block()) {
      if (!output_.watch) {
        output_.watch = loop_.watch(output_.fd.get(), EPOLLOUT, [this](std::uint32_t) {
          output_.watch.reset();
          print();
        });
      }
      return false;
    } else {
      const int sys_errno = errno;
      output_.watch.reset();
      output_.fd.reset();
      output_lost_(sys_errno);
    }
  }
  budget -= std::min<std::size_t>(budget, 64);  // an empty chain is work, too
  return true;
}

ssize_t Console::write_some(std::vector<iovec>& buffers) const {
  const int fd = output_.fd.get();
  if (output_.socket) {
    msghdr message{};
    message.msg_iov = buffers.data();
    message.msg_iovlen = buffers.size();
    return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  if (output_.may_block && !output_.always_ready && !is_ready(fd, POLLOUT)) {
    errno = EAGAIN;
    return -1;
  }
  return ::writev(fd, buffers.data(), static_cast<int>(buffers.size()));
}

// ---- towards the guest

bool Console::wants_input() const {
  return input_.fd && (filter_ || typed_.empty());
}

void Console::type() {
  std::size_t budget = kBudget;
  while (give_typed() && wants_input() && read_some()) {
    budget -= std::min(budget, kReadAtOnce);
    if (budget == 0) {
      again_.signal();
      break;
    }
  }
  update_input_watch();
}

// As much as the guest has buffers for; false when its queue broke.
bool Console::give_typed() {
  if (!active_ || typed_.empty() || active_->queues[abi::VIRTIO_CONSOLE_RECEIVEQ].size() == 0) {
    return true;
  }
  const auto take = [&](const Chain& chain) -> std::optional<std::uint32_t> {
    if (typed_.empty()) {
      return std::nullopt;
    }
    const std::size_t given = copy_to(chain.writable, 0, typed_);
    typed_.erase(typed_.begin(), typed_.begin() + static_cast<std::ptrdiff_t>(given));
    return static_cast<std::uint32_t>(given);
  };
  const bool fine = serve_at_once(*active_, abi::VIRTIO_CONSOLE_RECEIVEQ, chain_, take);
  if (!fine) {
    reset();
  }
  return fine;
}

// False when there is nothing now, or never again.
bool Console::read_some() {
  std::array<std::byte, kReadAtOnce> buffer;
  const int fd = input_.fd.get();
  if (input_.may_block && !input_.always_ready && !is_ready(fd, POLLIN)) {
    return false;
  }
  const ssize_t got = input_.socket ? ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT)
                                    : ::read(fd, buffer.data(), buffer.size());
  if (got < 0 && (would_block() || (pseudo_terminal_ && errno == EIO))) {
    return false;
  }
  if (got <= 0) {
    input_.watch.reset();
    input_.fd.reset();
    return false;
  }
  const auto read = std::span(buffer).first(static_cast<std::size_t>(got));
  if (!filter_) {
    typed_.insert(typed_.end(), read.begin(), read.end());
    return true;
  }
  // What no longer fits is lost, as on a serial line.
  const std::vector<std::byte> passed = filter_(read);
  const std::size_t fits =
      std::min(passed.size(), kMostTyped - std::min(kMostTyped, typed_.size()));
  typed_.insert(typed_.end(), passed.begin(), passed.begin() + static_cast<std::ptrdiff_t>(fits));
  return true;
}

// Not while nothing is wanted: what hung up would call again and again.
void Console::update_input_watch() {
  if (pseudo_terminal_ || input_.always_ready) {
    return;
  }
  if (!wants_input()) {
    input_.watch.reset();
  } else if (!input_.watch) {
    input_.watch = loop_.watch(input_.fd.get(), EPOLLIN, [this](std::uint32_t) { type(); });
  }
}

}  // namespace pvh::devices::virtio
