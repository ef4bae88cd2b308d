// SPDX-License-Identifier: BSD-2-Clause
// Memory that the guest does not need goes back to the host (virtio 1.2, 5.5): what the driver puts
// into the balloon because it was asked to, and what it reports as free by itself. Either way the
// host drops the pages' content, and the guest finds zeros where it touches them again.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include <pvh/base/address.hpp>
#include <pvh/devices/virtio/backend.hpp>

namespace pvh::devices::virtio {

class Balloon final : public Backend {
 public:
  // Asks the driver for so much of the guest's memory, in whole pages; it gives what it can, when
  // it can. On the loop's thread.
  void set_target(base::ByteSize target);
  // What was asked for, and what the driver says it has given. From any thread.
  [[nodiscard]] base::ByteSize target() const;
  [[nodiscard]] base::ByteSize actual() const;

  [[nodiscard]] std::uint32_t id() const override;
  [[nodiscard]] std::uint64_t features() const override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override;
  void write_config(std::uint64_t offset, base::Bytes data) override;

  void activate(Activation activation) override;
  void notify(std::size_t queue) override;
  void reset() override;

 private:
  // Linux numbers the queues that exist, without gaps for those whose features are not there; so do
  // QEMU and Firecracker, whatever 5.5.2 says.
  enum : std::size_t { kInflate, kDeflate, kReporting };
  static constexpr std::array<std::uint16_t, 3> kQueueSizes{128, 128, 128};

  void inflate(const Chain& chain);

  std::optional<Activation> active_;
  Chain chain_;
  std::atomic<std::uint32_t> num_pages_ = 0;
  std::atomic<std::uint32_t> actual_ = 0;
};

}  // namespace pvh::devices::virtio
