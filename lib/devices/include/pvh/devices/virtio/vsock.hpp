// SPDX-License-Identifier: BSD-2-Clause
// Sockets between the guest and programs on the host, which need no network and no vsock of the
// host's (virtio 1.2, 5.10). The host's side are Unix sockets, by the convention that Firecracker
// made:
//
//   from the host   connect to PATH and send "CONNECT PORT\n"; the answer is "OK PORT\n" when the
//                   guest accepted, and the connection closes when it did not
//   from the guest  a connection to port P of the host (CID 2) arrives at the Unix socket PATH_P
//
// Streams, closed in either direction by itself. A reader that is slow on either side makes the
// writer wait: for each connection at most 64 KiB are kept here, and the guest cannot make that
// more.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pvh/abi/virtio_vsock.hpp>
#include <pvh/base/fd.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/unix_listener.hpp>
#include <pvh/devices/virtio/backend.hpp>

namespace pvh::devices::virtio {

class Vsock final : public Backend {
 public:
  // Listens at `path`, which is taken away again in the end. `cid` is 3 or more.
  [[nodiscard]] static std::expected<std::unique_ptr<Vsock>, UnixSocketFault> create(
      EventLoop& loop, std::uint64_t cid, const std::string& path);
  ~Vsock() override;

  [[nodiscard]] std::uint32_t id() const override;
  [[nodiscard]] std::uint64_t features() const override { return 0; }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override;

  void activate(Activation activation) override;
  void notify(std::size_t queue) override;
  void reset() override;

 private:
  enum : std::size_t { kReceive, kTransmit, kEvent };  // as the driver sees it
  static constexpr std::array<std::uint16_t, 3> kQueueSizes{128, 128, 16};

  struct Connection;
  struct Greeting;  // a client that has not said yet what it wants
  using Key = std::pair<std::uint32_t, std::uint32_t>;  // host's port, guest's port

  Vsock(EventLoop& loop, std::uint64_t cid, UnixListener listener);

  // From the host.
  void accept_client();
  void read_greeting(int fd);
  void socket_ready(const Key& key, std::uint32_t events);
  // From the guest.
  void take_packet(const Chain& chain);
  void take_request(const abi::virtio_vsock_hdr& header);
  void take_data(Connection& connection, const Chain& chain, std::uint32_t length);
  void take_shutdown(Connection& connection, std::uint32_t flags);
  // Towards the guest.
  void refuse(const abi::virtio_vsock_hdr& header);
  void send_waiting();
  [[nodiscard]] std::optional<std::uint32_t> send_one(const Chain& chain);
  [[nodiscard]] std::optional<std::size_t> send_of(Connection& connection, const Chain& chain);
  void want_send(Connection& connection, std::uint32_t what);
  void put_header(const Chain& chain, Connection& connection, std::uint16_t op, std::uint32_t flags,
                  std::uint32_t length);

  void flush(Connection& connection);
  void update_watch(Connection& connection);
  void close_if_done(Connection& connection);

  EventLoop& loop_;
  std::uint64_t cid_;
  UnixListener listener_;
  EventLoop::Watch listener_watch_;
  std::optional<Activation> active_;
  Chain chain_;
  std::vector<iovec> part_;  // of what a socket gives or takes; kept for its room
  std::map<int, std::unique_ptr<Greeting>> greetings_;  // by descriptor
  std::map<Key, std::unique_ptr<Connection>> connections_;
  std::deque<Key> ready_;                       // those with something for the guest
  std::deque<abi::virtio_vsock_hdr> refusals_;  // of what belongs to no connection
  std::uint32_t next_port_;
};

}  // namespace pvh::devices::virtio
