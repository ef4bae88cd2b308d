// SPDX-License-Identifier: BSD-2-Clause
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <pvh/abi/virtio.hpp>
#include <pvh/devices/virtio/vsock.hpp>

namespace pvh::devices::virtio {
namespace {

using base::Le16;
using base::Le32;
using base::Le64;

constexpr std::uint32_t kBuffer = 64 * 1024;  // what the guest may have under way, a connection
constexpr std::size_t kMostConnections = 1024;
constexpr std::size_t kMostGreetings = 64;
constexpr std::size_t kMostRefusals = 128;
constexpr std::size_t kLongestGreeting = 32;
constexpr std::uint32_t kFirstPort = std::uint32_t{1} << 30;  // of those that we choose ourselves
constexpr std::size_t kHeader = sizeof(abi::virtio_vsock_hdr);

// What a connection has to tell the guest beside data, in this order.
constexpr std::uint32_t kWantReset = 1;  // and then it is over
constexpr std::uint32_t kWantRequest = 2;
constexpr std::uint32_t kWantResponse = 4;
constexpr std::uint32_t kWantShutdown = 8;
constexpr std::uint32_t kWantCredit = 16;

ssize_t send_some(int fd, std::vector<iovec>& buffers) {
  msghdr message{};
  message.msg_iov = buffers.data();
  message.msg_iovlen = buffers.size();
  return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t receive_some(int fd, std::vector<iovec>& buffers) {
  msghdr message{};
  message.msg_iov = buffers.data();
  message.msg_iovlen = buffers.size();
  return ::recvmsg(fd, &message, MSG_DONTWAIT);
}

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

// Whether the other side closed its socket, not only its direction.
bool hung_up(int fd) {
  pollfd poll{fd, 0, 0};
  return ::poll(&poll, 1, 0) == 1 && (poll.revents & (POLLHUP | POLLERR)) != 0;
}

// "CONNECT PORT"
std::optional<std::uint32_t> port_of(std::string_view line) {
  constexpr std::string_view kWord = "CONNECT ";
  std::uint32_t port = 0;
  if (!line.starts_with(kWord)) {
    return std::nullopt;
  }
  const auto [end, error] =
      std::from_chars(line.data() + kWord.size(), line.data() + line.size(), port);
  return error == std::errc() && end == line.data() + line.size() ? std::optional(port)
                                                                  : std::nullopt;
}

}  // namespace

struct Vsock::Connection {
  Key key;
  base::Fd fd;
  EventLoop::Watch watch;
  bool open = false;        // both sides have agreed
  bool from_host = false;   // the client waits for an OK
  bool readable = false;    // the socket has something, as far as we know
  bool host_ended = false;  // it had its end
  bool host_gone = false;   // nobody reads there any more either
  bool guest_ended = false;
  bool guest_deaf = false;
  bool reset_by_guest = false;
  bool queued = false;  // in ready_
  std::uint32_t want = 0;

  // Modulo 2^32, as on the wire.
  std::uint32_t peer_buf_alloc = 0;
  std::uint32_t peer_fwd_cnt = 0;
  std::uint32_t sent = 0;            // to the guest
  std::uint32_t forwarded = 0;       // to the host
  std::uint32_t told_forwarded = 0;  // as far as the guest knows
  std::vector<std::byte> pending;    // from the guest, not taken by the host yet

  [[nodiscard]] std::uint32_t credit() const {
    const std::uint32_t under_way = sent - peer_fwd_cnt;
    return under_way >= peer_buf_alloc ? 0 : peer_buf_alloc - under_way;
  }
  [[nodiscard]] bool has_data() const {
    return open && readable && !host_ended && !guest_deaf && credit() != 0;
  }
};

struct Vsock::Greeting {
  base::Fd fd;
  std::string line;
  EventLoop::Watch watch;
};

std::expected<std::unique_ptr<Vsock>, UnixSocketFault> Vsock::create(EventLoop& loop,
                                                                     std::uint64_t cid,
                                                                     const std::string& path) {
  if (!unix_address(path + "_4294967295")) {
    return std::unexpected(UnixSocketFault{UnixSocketError::kBadPath, path, std::nullopt});
  }
  auto listener = UnixListener::open(path);
  if (!listener) {
    return std::unexpected(std::move(listener.error()));
  }
  std::unique_ptr<Vsock> vsock(new Vsock(loop, cid, std::move(*listener)));
  vsock->listener_watch_ =
      loop.watch(vsock->listener_.get(), EPOLLIN,
                 [made = vsock.get()](std::uint32_t) { made->accept_client(); });
  if (!vsock->listener_watch_) {
    return std::unexpected(UnixSocketFault{UnixSocketError::kNoSocket, path, std::nullopt, errno});
  }
  return vsock;
}

Vsock::Vsock(EventLoop& loop, std::uint64_t cid, UnixListener listener)
    : loop_(loop), cid_(cid), listener_(std::move(listener)), next_port_(kFirstPort) {}

Vsock::~Vsock() = default;

std::uint32_t Vsock::id() const {
  return abi::VIRTIO_ID_VSOCK;
}

void Vsock::read_config(std::uint64_t offset, base::MutableBytes data) const {
  read_config_bytes(base::to_bytes(abi::virtio_vsock_config{Le64(cid_)}), offset, data);
}

void Vsock::activate(Activation activation) {
  active_ = std::move(activation);
}

void Vsock::reset() {
  active_.reset();
  greetings_.clear();
  connections_.clear();
  ready_.clear();
  refusals_.clear();
}

void Vsock::notify(std::size_t queue) {
  if (!active_) {
    return;
  }
  if (queue == kTransmit) {
    const auto take = [this](const Chain& chain) -> std::optional<std::uint32_t> {
      if (refusals_.size() >= kMostRefusals) {
        return std::nullopt;  // until the guest has taken those
      }
      take_packet(chain);
      return 0;
    };
    if (!serve_at_once(*active_, kTransmit, chain_, take)) {
      reset();
      return;
    }
  }
  if (queue != kEvent) {
    send_waiting();
  }
}

// ---- from the host

void Vsock::accept_client() {
  base::Fd fd = listener_.accept();
  // Without a driver nobody could answer; closing says so.
  if (!fd || !active_ || greetings_.size() >= kMostGreetings) {
    return;
  }
  const int number = fd.get();
  auto greeting = std::make_unique<Greeting>();
  greeting->fd = std::move(fd);
  greeting->watch =
      loop_.watch(number, EPOLLIN, [this, number](std::uint32_t) { read_greeting(number); });
  if (greeting->watch) {
    greetings_.insert_or_assign(number, std::move(greeting));
  }
}

void Vsock::read_greeting(int fd) {
  const auto found = greetings_.find(fd);
  Greeting& greeting = *found->second;
  // By the byte: what follows the line is the guest's.
  char next = 0;
  ssize_t got = 0;
  while ((got = ::recv(fd, &next, 1, MSG_DONTWAIT)) == 1 && next != '\n' &&
         greeting.line.size() < kLongestGreeting) {
    greeting.line.push_back(next);
  }
  if (got < 0 && would_block()) {
    return;  // the rest comes later
  }
  const auto port = got == 1 && next == '\n' ? port_of(greeting.line) : std::nullopt;
  base::Fd socket = std::move(greeting.fd);
  greeting.watch.reset();
  greetings_.erase(found);
  if (!port || connections_.size() >= kMostConnections) {
    return;
  }
  auto connection = std::make_unique<Connection>();
  do {
    connection->key = {next_port_, *port};
    next_port_ = next_port_ == UINT32_MAX ? kFirstPort : next_port_ + 1;
  } while (connections_.contains(connection->key));
  connection->fd = std::move(socket);
  connection->from_host = true;
  Connection& added = *connection;
  connections_.emplace(added.key, std::move(connection));
  want_send(added, kWantRequest);
  send_waiting();
}

void Vsock::socket_ready(const Key& key, std::uint32_t events) {
  const auto found = connections_.find(key);
  if (found == connections_.end()) {
    return;
  }
  Connection& connection = *found->second;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    connection.host_gone = true;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
    connection.readable = true;
    want_send(connection, 0);
  }
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
    flush(connection);
  }
  update_watch(connection);
  close_if_done(connection);
  send_waiting();
}

// ---- from the guest

void Vsock::take_packet(const Chain& chain) {
  std::array<std::byte, kHeader> bytes;
  if (copy_from(chain.readable, 0, bytes) != kHeader) {
    return;  // what has no header is nobody's
  }
  const auto header = std::bit_cast<abi::virtio_vsock_hdr>(bytes);
  const std::uint16_t op = header.op.get();
  const Key key{header.dst_port.get(), header.src_port.get()};
  const auto found = connections_.find(key);
  const bool addressed_well = header.src_cid.get() == cid_ &&
                              header.dst_cid.get() == abi::VMADDR_CID_HOST &&
                              header.type.get() == abi::VIRTIO_VSOCK_TYPE_STREAM;
  if (!addressed_well || header.len.get() > chain.readable_bytes - kHeader) {
    refuse(header);
    return;
  }
  if (found == connections_.end()) {
    if (op == abi::VIRTIO_VSOCK_OP_REQUEST) {
      take_request(header);
    } else if (op != abi::VIRTIO_VSOCK_OP_RST) {
      refuse(header);
    }
    return;
  }
  Connection& connection = *found->second;
  connection.peer_buf_alloc = header.buf_alloc.get();
  connection.peer_fwd_cnt = header.fwd_cnt.get();
  switch (op) {
    case abi::VIRTIO_VSOCK_OP_RESPONSE:
      if (connection.open || !connection.from_host) {
        want_send(connection, kWantReset);
        return;
      }
      connection.open = true;
      {
        const std::string answer = fmt::format("OK {}\n", key.first);
        // A new socket has room for this.
        ::send(connection.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      }
      break;
    case abi::VIRTIO_VSOCK_OP_RW:
      take_data(connection, chain, header.len.get());
      break;
    case abi::VIRTIO_VSOCK_OP_SHUTDOWN:
      take_shutdown(connection, header.flags.get());
      return;
    case abi::VIRTIO_VSOCK_OP_RST:
      connection.reset_by_guest = true;
      close_if_done(connection);
      return;
    case abi::VIRTIO_VSOCK_OP_CREDIT_REQUEST:
      want_send(connection, kWantCredit);
      break;
    case abi::VIRTIO_VSOCK_OP_CREDIT_UPDATE:
      break;
    default:
      want_send(connection, kWantReset);
      return;
  }
  want_send(connection, 0);  // there may be credit now
  update_watch(connection);
}

void Vsock::take_request(const abi::virtio_vsock_hdr& header) {
  const auto address = unix_address(fmt::format("{}_{}", listener_.path(), header.dst_port.get()));
  base::Fd fd = unix_socket();
  if (!address || !fd || connections_.size() >= kMostConnections || connect_to(fd, *address) != 0) {
    refuse(header);
    return;
  }
  auto connection = std::make_unique<Connection>();
  connection->key = {header.dst_port.get(), header.src_port.get()};
  connection->fd = std::move(fd);
  connection->open = true;
  connection->peer_buf_alloc = header.buf_alloc.get();
  connection->peer_fwd_cnt = header.fwd_cnt.get();
  Connection& added = *connection;
  connections_.emplace(added.key, std::move(connection));
  want_send(added, kWantResponse);
  update_watch(added);
}

void Vsock::take_data(Connection& connection, const Chain& chain, std::uint32_t length) {
  if (!connection.open || connection.guest_ended ||
      length > kBuffer - std::min<std::size_t>(kBuffer, connection.pending.size())) {
    want_send(connection, kWantReset);  // more than it was told that there is room for
    return;
  }
  std::size_t done = 0;
  if (connection.pending.empty() && length != 0) {
    take_part(chain.readable, kHeader, length, part_);
    const ssize_t sent = send_some(connection.fd.get(), part_);
    if (sent < 0 && !would_block()) {
      want_send(connection, kWantReset);  // nobody reads there any more
      return;
    }
    done = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    connection.forwarded += static_cast<std::uint32_t>(done);
  }
  const std::size_t before = connection.pending.size();
  connection.pending.resize(before + length - done);
  copy_from(chain.readable, kHeader + done, std::span(connection.pending).subspan(before));
  if (connection.forwarded - connection.told_forwarded >= kBuffer / 2) {
    want_send(connection, kWantCredit);
  }
}

void Vsock::take_shutdown(Connection& connection, std::uint32_t flags) {
  connection.guest_ended |= (flags & abi::VIRTIO_VSOCK_SHUTDOWN_F_SEND) != 0;
  connection.guest_deaf |= (flags & abi::VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) != 0;
  flush(connection);
  update_watch(connection);
  close_if_done(connection);
}

// What came from the guest goes on to the host as far as it is taken.
void Vsock::flush(Connection& connection) {
  while (!connection.pending.empty()) {
    part_.assign({{connection.pending.data(), connection.pending.size()}});
    const ssize_t sent = send_some(connection.fd.get(), part_);
    if (sent < 0 && would_block()) {
      return;
    }
    if (sent < 0) {
      connection.pending.clear();
      want_send(connection, kWantReset);
      return;
    }
    connection.pending.erase(connection.pending.begin(), connection.pending.begin() + sent);
    connection.forwarded += static_cast<std::uint32_t>(sent);
    if (connection.forwarded - connection.told_forwarded >= kBuffer / 2) {
      want_send(connection, kWantCredit);
    }
  }
  if (connection.guest_ended) {
    ::shutdown(connection.fd.get(), SHUT_WR);
  }
}

void Vsock::close_if_done(Connection& connection) {
  if (!connection.pending.empty()) {
    return;  // the host still gets that
  }
  if (connection.reset_by_guest) {
    connections_.erase(Key(connection.key));  // its Key may still be in ready_
  } else if (connection.guest_ended && connection.guest_deaf) {
    want_send(connection, kWantReset);  // the guest waits for this
  }
}

// Waits on the socket for what is wanted, and for nothing when nothing is: a socket that hung up
// would call again and again.
void Vsock::update_watch(Connection& connection) {
  std::uint32_t events = 0;
  const bool over = (connection.want & kWantReset) != 0;
  if (connection.open && !over && !connection.readable && !connection.host_ended &&
      !connection.guest_deaf) {
    events |= EPOLLIN | EPOLLRDHUP;
  }
  if (!over && !connection.pending.empty()) {
    events |= EPOLLOUT;
  }
  if (events == 0) {
    connection.watch.reset();
  } else if (connection.watch) {
    connection.watch.want(events);
  } else {
    connection.watch = loop_.watch(
        connection.fd.get(), events,
        [this, key = connection.key](std::uint32_t ready) { socket_ready(key, ready); });
    if (!connection.watch) {
      want_send(connection, kWantReset);
    }
  }
}

// ---- towards the guest

void Vsock::refuse(const abi::virtio_vsock_hdr& header) {
  abi::virtio_vsock_hdr answer{};
  answer.src_cid = header.dst_cid;
  answer.dst_cid = Le64(cid_);
  answer.src_port = header.dst_port;
  answer.dst_port = header.src_port;
  answer.type = header.type;
  answer.op = Le16(abi::VIRTIO_VSOCK_OP_RST);
  refusals_.push_back(answer);
}

void Vsock::want_send(Connection& connection, std::uint32_t what) {
  connection.want |= what;
  if (!connection.queued && (connection.want != 0 || connection.has_data())) {
    connection.queued = true;
    ready_.push_back(connection.key);
  }
}

void Vsock::send_waiting() {
  if (!active_ || (ready_.empty() && refusals_.empty())) {
    return;
  }
  const bool was_stalled = refusals_.size() >= kMostRefusals;
  if (!serve_at_once(*active_, kReceive, chain_,
                     [this](const Chain& chain) { return send_one(chain); })) {
    reset();
    return;
  }
  if (was_stalled && refusals_.size() < kMostRefusals) {
    notify(kTransmit);
  }
}

// Fills one buffer of the guest's; nothing when there is nothing to say.
std::optional<std::uint32_t> Vsock::send_one(const Chain& chain) {
  if (ready_.empty() && refusals_.empty()) {
    return std::nullopt;
  }
  if (chain.writable_bytes < kHeader) {
    return 0;  // the driver's own loss
  }
  if (!refusals_.empty()) {
    copy_to(chain.writable, 0, base::to_bytes(refusals_.front()));
    refusals_.pop_front();
    return kHeader;
  }
  while (!ready_.empty()) {
    const auto found = connections_.find(ready_.front());
    ready_.pop_front();
    if (found == connections_.end()) {
      continue;
    }
    Connection& connection = *found->second;
    connection.queued = false;
    const auto length = send_of(connection, chain);
    if ((connection.want & kWantReset) == 0 || !length) {
      want_send(connection, 0);
      update_watch(connection);
    } else {
      connections_.erase(found);
    }
    if (length) {
      return static_cast<std::uint32_t>(kHeader + *length);
    }
  }
  return std::nullopt;
}

// The next packet of this connection into `chain`: how many bytes are behind the header. Nothing
// when there is none.
std::optional<std::size_t> Vsock::send_of(Connection& connection, const Chain& chain) {
  const auto control = [&](std::uint32_t want, std::uint16_t op, std::uint32_t flags = 0) {
    connection.want &= ~want;
    put_header(chain, connection, op, flags, 0);
    return std::size_t{0};
  };
  if ((connection.want & kWantReset) != 0) {
    put_header(chain, connection, abi::VIRTIO_VSOCK_OP_RST, 0, 0);
    return 0;
  }
  if ((connection.want & kWantRequest) != 0) {
    return control(kWantRequest, abi::VIRTIO_VSOCK_OP_REQUEST);
  }
  if ((connection.want & kWantResponse) != 0) {
    return control(kWantResponse, abi::VIRTIO_VSOCK_OP_RESPONSE);
  }
  if (connection.has_data()) {
    const std::uint64_t room =
        std::min<std::uint64_t>({connection.credit(), chain.writable_bytes - kHeader, kBuffer});
    // A buffer for a header alone takes no data; asking the socket for 0 bytes would look like its
    // end.
    take_part(chain.writable, kHeader, room, part_);
    const ssize_t got = room == 0 ? -1 : receive_some(connection.fd.get(), part_);
    if (got > 0) {
      connection.sent += static_cast<std::uint32_t>(got);
      put_header(chain, connection, abi::VIRTIO_VSOCK_OP_RW, 0, static_cast<std::uint32_t>(got));
      return static_cast<std::size_t>(got);
    }
    if (got == 0) {
      connection.host_ended = true;
      connection.host_gone |= hung_up(connection.fd.get());
      connection.want |= kWantShutdown;
    } else if (room != 0 && would_block()) {
      connection.readable = false;
    } else if (room != 0) {
      connection.want |= kWantReset;
      put_header(chain, connection, abi::VIRTIO_VSOCK_OP_RST, 0, 0);
      return 0;
    }
  }
  if ((connection.want & kWantShutdown) != 0) {
    return control(kWantShutdown, abi::VIRTIO_VSOCK_OP_SHUTDOWN,
                   abi::VIRTIO_VSOCK_SHUTDOWN_F_SEND |
                       (connection.host_gone ? abi::VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE : 0));
  }
  if ((connection.want & kWantCredit) != 0) {
    return control(kWantCredit, abi::VIRTIO_VSOCK_OP_CREDIT_UPDATE);
  }
  return std::nullopt;
}

void Vsock::put_header(const Chain& chain, Connection& connection, std::uint16_t op,
                       std::uint32_t flags, std::uint32_t length) {
  const abi::virtio_vsock_hdr header{
      .src_cid = Le64(abi::VMADDR_CID_HOST),
      .dst_cid = Le64(cid_),
      .src_port = Le32(connection.key.first),
      .dst_port = Le32(connection.key.second),
      .len = Le32(length),
      .type = Le16(abi::VIRTIO_VSOCK_TYPE_STREAM),
      .op = Le16(op),
      .flags = Le32(flags),
      .buf_alloc = Le32(kBuffer),
      .fwd_cnt = Le32(connection.forwarded),
  };
  connection.told_forwarded = connection.forwarded;
  copy_to(chain.writable, 0, base::to_bytes(header));
}

}  // namespace pvh::devices::virtio
