// SPDX-License-Identifier: BSD-2-Clause
// Who answers when the guest touches a port or an address that is no memory.
//
// A device gets offsets into its own range and may ask the machine for something (Action). The
// buses are filled before the first vCPU runs and never change afterwards: every access is a binary
// search over a sorted table, without lock and without allocation, from any thread. A device that
// has state locks it by itself.
//
// As on the wire, a read that nobody claims gives all ones and such a write is lost; an access that
// straddles the end of a device is split into bytes. The bus does not own devices: they must
// outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>

namespace pvh::devices {

enum class BusError {
  kOverlap,    // another device has one of these addresses
  kEmptyRange  // no address at all, or more than the space has
};

[[nodiscard]] base::Explanation explain(BusError code);

using BusFault = base::Fault<BusError>;

// What the guest, by touching a device, asks of the machine as a whole.
enum class Request : std::uint8_t {
  kNone,
  kPowerOff,
  kReset,
  kDebugExit,  // value: the number that the guest wrote
  kStop,       // of a device that is not this library's; value: what it likes
  // The place where a device's output goes has gone away; said once, then the output is dropped and
  // the guest goes on. value: the errno.
  kOutputLost
};

struct Action {
  Request kind = Request::kNone;
  std::uint32_t value = 0;

  friend constexpr bool operator==(Action, Action) = default;
};

class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  // One access of data.size() bytes (never 0), all of it inside the device's range.
  virtual void read(std::uint64_t offset, base::MutableBytes data) = 0;
  [[nodiscard]] virtual Action write(std::uint64_t offset, base::Bytes data) = 0;

  // The string instructions: data.size() / width accesses to one and the same offset. Writing stops
  // at the first element that asks the machine for something.
  virtual void read_string(std::uint64_t offset, base::MutableBytes data, std::size_t width);
  [[nodiscard]] virtual Action write_string(std::uint64_t offset, base::Bytes data,
                                            std::size_t width);
};

// Where a device's interrupt goes. Called with the device's lock held, on changes of level only:
// set() must not call back into the device.
class InterruptLine {
 public:
  InterruptLine() = default;
  InterruptLine(const InterruptLine&) = delete;
  InterruptLine& operator=(const InterruptLine&) = delete;
  virtual ~InterruptLine() = default;

  virtual void set(bool level) = 0;
};

// Where a device's output goes: standard output, a file, a test's buffer.
class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;

  // Takes all of `data` (waiting if it must) and gives 0, or gives an errno.
  [[nodiscard]] virtual int write(base::Bytes data) = 0;
};

enum class Port : std::uint16_t {};

[[nodiscard]] constexpr std::uint64_t address_value(Port port) {
  return static_cast<std::uint16_t>(port);
}
[[nodiscard]] constexpr std::uint64_t address_value(base::PhysAddr address) {
  return address.value();
}

// The table behind both buses: addresses are plain 64-bit numbers here, and nowhere else.
class DeviceTable {
 public:
  // `limit` is the last address of the space.
  explicit DeviceTable(std::uint64_t limit) : limit_(limit) {}

  [[nodiscard]] std::expected<void, BusFault> add(std::uint64_t first, std::uint64_t count,
                                                  Device& device);
  [[nodiscard]] bool claims(std::uint64_t address) const { return find(address) != nullptr; }
  void read(std::uint64_t address, base::MutableBytes data, std::size_t width) const;
  [[nodiscard]] Action write(std::uint64_t address, base::Bytes data, std::size_t width) const;

 private:
  struct Entry {
    std::uint64_t first;
    std::uint64_t last;
    Device* device;
  };
  // The entry that holds `address`, or null.
  [[nodiscard]] const Entry* find(std::uint64_t address) const;
  [[nodiscard]] const Entry* find_whole(std::uint64_t address, std::size_t width) const;
  [[nodiscard]] Action write_bytes(std::uint64_t address, base::Bytes data) const;
  void read_bytes(std::uint64_t address, base::MutableBytes data) const;

  std::uint64_t limit_;
  std::vector<Entry> entries_;  // sorted, disjoint
};

template <typename Address, std::uint64_t kLimit>
class Bus {
 public:
  // Claims `count` addresses from `first` on.
  [[nodiscard]] std::expected<void, BusFault> add(Address first, std::uint64_t count,
                                                  Device& device) {
    return table_.add(address_value(first), count, device);
  }

  // Whether a device is there.
  [[nodiscard]] bool claims(Address address) const { return table_.claims(address_value(address)); }

  void read(Address address, base::MutableBytes data) const {
    table_.read(address_value(address), data, data.size());
  }
  [[nodiscard]] Action write(Address address, base::Bytes data) const {
    return table_.write(address_value(address), data, data.size());
  }

  // INS and OUTS: elements of `width` bytes, one after the other, at one address. What is left over
  // after the last whole element is not looked at.
  void read_string(Address address, base::MutableBytes data, std::size_t width) const {
    table_.read(address_value(address), data, width);
  }
  [[nodiscard]] Action write_string(Address address, base::Bytes data, std::size_t width) const {
    return table_.write(address_value(address), data, width);
  }

 private:
  DeviceTable table_{kLimit};
};

using PortBus = Bus<Port, UINT16_MAX>;
using MmioBus = Bus<base::PhysAddr, UINT64_MAX>;

}  // namespace pvh::devices
