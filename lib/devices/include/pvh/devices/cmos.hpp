// SPDX-License-Identifier: BSD-2-Clause
// The PC's real-time clock and its CMOS memory (MC146818), as much as operating systems ask of it:
// what time it is, and how much memory there is. A missing clock costs a Linux guest three seconds
// of waiting for a bit that never clears; this one is never in the middle of an update.
//
// The clock gives the host's time in UTC. It cannot be set: such writes are lost, as are alarms,
// and there is no interrupt. Time is BCD or binary, 12 or 24 hours, as status register B says; the
// rest of the 128 bytes is memory that forgets.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>

#include <pvh/base/address.hpp>
#include <pvh/devices/bus.hpp>

namespace pvh::devices {

inline constexpr Port kCmosPort{0x70};
inline constexpr std::uint64_t kCmosPorts = 2;
inline constexpr std::uint8_t kCmosCentury = 0x32;  // where the century is, for the FADT

class Cmos final : public Device {
 public:
  struct Options {
    base::ByteSize below_4g;  // memory from address 0 on, holes included
    base::ByteSize above_4g;  // memory from 4 GiB on
    // Seconds since 1970 in UTC; called with the lock held.
    std::function<std::int64_t()> now;
  };
  explicit Cmos(Options options);

  void read(std::uint64_t offset, base::MutableBytes data) override;
  [[nodiscard]] Action write(std::uint64_t offset, base::Bytes data) override;

 private:
  [[nodiscard]] std::uint8_t read_cell(std::uint8_t index) const;
  [[nodiscard]] std::uint8_t read_clock(std::uint8_t index) const;

  std::mutex mutex_;
  std::function<std::int64_t()> now_;
  std::uint8_t index_ = 0;
  std::array<std::uint8_t, 128> cells_{};
};

}  // namespace pvh::devices
