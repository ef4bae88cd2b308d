// SPDX-License-Identifier: BSD-2-Clause
// QEMU's isa-debug-exit: a number written to the port ends the machine. Reads give 0. No state.
#pragma once

#include <cstdint>

#include <pvh/devices/bus.hpp>

namespace pvh::devices {

inline constexpr Port kDebugExitPort{0xf4};
inline constexpr std::uint64_t kDebugExitPorts = 4;

class DebugExit final : public Device {
 public:
  void read(std::uint64_t offset, base::MutableBytes data) override;
  // kDebugExit with the number as written, 1, 2 or 4 bytes of it.
  [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;
};

}  // namespace pvh::devices
