// SPDX-License-Identifier: BSD-2-Clause
// Frames over a stream socket, each after its length in 32 bits, big-endian: what passt and QEMU's
// `-netdev stream` speak.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <pvh/base/fd.hpp>
#include <pvh/devices/net/end.hpp>

namespace pvh::devices::net {

class StreamEnd : public NetEnd {
 public:
  // passt takes none longer than this, Ethernet's header included; longer ones are lost.
  static constexpr std::size_t kMostSent = 65535;

  explicit StreamEnd(base::Fd socket);

  [[nodiscard]] int descriptor() const override { return socket_.get(); }
  [[nodiscard]] base::Bytes peek() override;
  void pop() override;
  [[nodiscard]] bool send(std::span<const iovec> frame) override;
  [[nodiscard]] bool flush() override;
  [[nodiscard]] bool down() const override { return down_; }
  void cut() override { down_ = true; }
  // Of the protocol: empty when the other side just hung up.
  [[nodiscard]] std::string last_words() override { return last_words_; }

 protected:
  // The other side shall notice.
  void hang_up() {
    down_ = true;
    socket_.reset();
  }

 private:
  // The bytes received and not yet popped.
  [[nodiscard]] base::Bytes waiting() const;
  // Makes room behind them and reads; false when there is nothing now.
  [[nodiscard]] bool read_more();

  base::Fd socket_;
  std::vector<std::byte> received_;  // of fixed size: twice the longest frame
  std::size_t first_ = 0;            // of waiting()
  std::size_t end_ = 0;
  std::vector<std::byte> unsent_;  // the rest of a frame that the socket took a part of
  std::size_t unsent_first_ = 0;
  std::vector<iovec> pieces_;  // of the frame that is sent, its length before it
  bool down_ = false;
  std::string last_words_;
};

}  // namespace pvh::devices::net
