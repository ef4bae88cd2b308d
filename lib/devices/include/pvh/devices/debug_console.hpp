// SPDX-License-Identifier: BSD-2-Clause
// Bochs' and Xen's port 0xe9: every byte written to it is a character for the monitor's user; a
// read gives 0xe9, by which a guest knows that the port is there.
#pragma once

#include <cstdint>
#include <mutex>

#include <pvh/devices/bus.hpp>

namespace pvh::devices {

inline constexpr Port kDebugConsolePort{0xe9};
inline constexpr std::uint64_t kDebugConsolePorts = 1;

class DebugConsole final : public Device {
 public:
  // `sink` must outlive the device.
  explicit DebugConsole(Sink& sink) : sink_(sink) {}

  void read(std::uint64_t offset, base::MutableBytes data) override;
  // A string of bytes is one write to the sink. kOutputLost once, when the sink fails.
  [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;
  [[nodiscard]] Action write_string(std::uint64_t offset, base::Bytes data,
                                    std::size_t width) override;

 private:
  std::mutex mutex_;
  Sink& sink_;
  bool lost_ = false;
};

}  // namespace pvh::devices
