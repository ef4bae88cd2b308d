// SPDX-License-Identifier: BSD-2-Clause
// A TAP interface of the host's: frames go through its network stack, a bridge perhaps.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include <pvh/base/fd.hpp>
#include <pvh/devices/net/end.hpp>
#include <pvh/devices/net/error.hpp>

namespace pvh::devices::net {

class TapEnd final : public NetEnd {
 public:
  // Takes hold of the interface, which must be there: it is not made here, so that its name cannot
  // be mistyped.
  [[nodiscard]] static std::expected<std::unique_ptr<TapEnd>, NetFault> open(
      const std::string& name);
  // Anything that reads and writes whole frames without blocking: a queue of a TAP, and in tests a
  // socket.
  TapEnd(base::Fd queue, std::string name);

  [[nodiscard]] int descriptor() const override { return queue_.get(); }
  [[nodiscard]] base::Bytes peek() override;
  void pop() override { waiting_ = 0; }
  [[nodiscard]] bool send(std::span<const iovec> frame) override;
  [[nodiscard]] bool flush() override { return true; }
  [[nodiscard]] bool down() const override { return down_; }
  void cut() override { down_ = true; }
  [[nodiscard]] std::string last_words() override;

 private:
  base::Fd queue_;
  std::string name_;
  std::vector<std::byte> frame_;
  std::size_t waiting_ = 0;  // bytes of frame_
  bool down_ = false;
};

}  // namespace pvh::devices::net
