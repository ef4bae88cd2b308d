// SPDX-License-Identifier: BSD-2-Clause
// Randomness for the guest from the host's getrandom(2) (virtio 1.2, 5.4).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <pvh/devices/virtio/backend.hpp>

namespace pvh::devices::virtio {

class Rng final : public Backend {
 public:
  [[nodiscard]] std::uint32_t id() const override;
  [[nodiscard]] std::uint64_t features() const override { return 0; }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void read_config(std::uint64_t offset, base::MutableBytes data) const override;

  void activate(Activation activation) override;
  void notify(std::size_t queue) override;
  void reset() override;

 private:
  static constexpr std::array<std::uint16_t, 1> kQueueSizes{64};

  std::optional<Activation> active_;
  Chain chain_;
};

}  // namespace pvh::devices::virtio
