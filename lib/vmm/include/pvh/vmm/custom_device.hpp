// SPDX-License-Identifier: BSD-2-Clause
// Devices that the embedding program brings: at ports, or at addresses outside of RAM.
//
// A device is called by the thread of the vCPU that touched it, only while the machine runs. Two
// vCPUs may touch it at once, so what it changes it must lock. Until it returns that vCPU stands
// still, and the machine cannot end; a system call in which it waits is interrupted (EINTR) when
// the machine is to end. It must not throw.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/devices/bus.hpp>

namespace pvh::vmm {

// A device as two functions. Each gets one access of 1, 2, 4 or 8 bytes that lies in the device's
// range, at `offset` from its beginning; an access that straddles an end comes as single bytes.
struct Handlers {
  std::function<void(std::uint64_t offset, base::MutableBytes data)> read{};  // else: all ones
  // Gives {} or what it asks of the machine: {devices::Request::kStop, VALUE} ends it.
  std::function<devices::Action(std::uint64_t offset, base::Bytes data)> write{};  // else: lost
};

[[nodiscard]] std::shared_ptr<devices::Device> make_device(Handlers handlers);

struct PortDevice {
  devices::Port first;
  std::uint64_t count;
  std::shared_ptr<devices::Device> device;
};

// Nothing tells the guest of it; layout.hpp's kCustomMmio is never anything else's.
struct MmioDevice {
  base::PhysAddr first;
  base::ByteSize size;
  std::shared_ptr<devices::Device> device;
};

}  // namespace pvh::vmm
