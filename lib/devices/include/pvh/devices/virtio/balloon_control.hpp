// SPDX-License-Identifier: BSD-2-Clause
// Where programs of the host say how much memory the guest shall give back: a Unix socket to which
// they write lines, and which answers each with one line of JSON.
//
//   512M         the guest is to give so much: {"target_bytes":536870912,"actual_bytes":0}
//   ? or nothing what it was asked for and what it has given by now
//   anything else, and more than the guest has: {"error":"..."}
//
// The guest takes its time: an answer tells the state of the moment, so a client that waits asks
// again. The target stays when a client goes.
#pragma once

#include <cstddef>
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <pvh/base/address.hpp>
#include <pvh/devices/event_loop.hpp>
#include <pvh/devices/unix_listener.hpp>
#include <pvh/devices/virtio/balloon.hpp>

namespace pvh::devices::virtio {

class BalloonControl {
 public:
  // One more is hung up on at once; so is one that sends more without an end of line.
  static constexpr std::size_t kMostClients = 16;
  static constexpr std::size_t kLongestLine = 64;

  // Listens at `path` as long as it lives, on the loop's thread. `memory` is all that the guest
  // has. `balloon` must outlive the control.
  [[nodiscard]] static std::expected<std::unique_ptr<BalloonControl>, UnixSocketFault> create(
      EventLoop& loop, Balloon& balloon, base::ByteSize memory, const std::string& path);
  BalloonControl(const BalloonControl&) = delete;
  BalloonControl& operator=(const BalloonControl&) = delete;
  ~BalloonControl() = default;

 private:
  struct Client {
    base::Fd fd;
    std::string line;  // as far as it came
    EventLoop::Watch watch;
  };

  BalloonControl(EventLoop& loop, Balloon& balloon, base::ByteSize memory, UnixListener listener)
      : loop_(loop), balloon_(balloon), memory_(memory), listener_(std::move(listener)) {}

  void accept_client();
  void read_client(int fd);
  [[nodiscard]] bool take(Client& client, std::string_view text);
  [[nodiscard]] std::string answer(std::string_view line);

  EventLoop& loop_;
  Balloon& balloon_;
  base::ByteSize memory_;
  UnixListener listener_;
  EventLoop::Watch listener_watch_;
  std::map<int, std::unique_ptr<Client>> clients_;  // by descriptor
};

}  // namespace pvh::devices::virtio
