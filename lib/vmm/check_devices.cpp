// SPDX-License-Identifier: BSD-2-Clause
#include "internal/check_devices.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <pvh/base/checked.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/acpi_pm.hpp>
#include <pvh/devices/cmos.hpp>
#include <pvh/devices/debug_console.hpp>
#include <pvh/devices/debug_exit.hpp>
#include <pvh/devices/i8042.hpp>
#include <pvh/devices/serial.hpp>
#include <pvh/vmm/layout.hpp>

namespace pvh::vmm::internal {
namespace {

// Addresses that are somebody's, of either space.
struct Taken {
  std::uint64_t first;
  std::uint64_t last;
  std::string_view whose;
};

std::vector<Taken> taken_ports(const MachineOptions& options) {
  // Those inside KVM never come to us.
  std::vector<Taken> taken{{0x20, 0x21, "an interrupt controller"},
                           {0x40, 0x43, "the timer"},
                           {0x61, 0x61, "the speaker's port"},
                           {0xa0, 0xa1, "an interrupt controller"},
                           {0x4d0, 0x4d1, "an interrupt controller"}};
  const auto add = [&taken](devices::Port first, std::uint64_t count, std::string_view whose) {
    taken.push_back(
        {devices::address_value(first), devices::address_value(first) + count - 1, whose});
  };
  add(devices::kCom1Port, devices::kSerialPorts, "the serial line");
  add(devices::kI8042DataPort, 1, "the keyboard controller");
  add(devices::kI8042CommandPort, 1, "the keyboard controller");
  add(devices::kAcpiPmPort, devices::kAcpiPmPorts, "the power register");
  add(devices::kCmosPort, devices::kCmosPorts, "the clock");
  if (options.debug_exit) {
    add(devices::kDebugExitPort, devices::kDebugExitPorts, "the debug exit");
  }
  if (options.debug_console) {
    add(devices::kDebugConsolePort, devices::kDebugConsolePorts, "the debug console");
  }
  return taken;
}

std::vector<Taken> taken_addresses(std::span<const base::Range> ram,
                                   std::optional<base::Range> table_memory,
                                   std::span<const VirtioSlot> virtio) {
  std::vector<Taken> taken;
  const auto add = [&taken](base::Range range, std::string_view whose) {
    taken.push_back({range.first().value(), range.last().value(), whose});
  };
  for (const base::Range& range : ram) {
    add(range, "RAM");
  }
  if (table_memory) {
    add(*table_memory, "memory for tables");
  }
  for (const VirtioSlot& slot : virtio) {
    add(slot.registers, "a virtio device");
  }
  const auto page = [&](base::PhysAddr first, std::uint64_t pages, std::string_view whose) {
    taken.push_back({first.value(), first.value() + pages * base::kPageSize.value() - 1, whose});
  };
  page(kIoApicBase, 1, "the I/O APIC");
  page(kLocalApicBase, 1, "the local APIC");
  page(kIdentityMapBase, 4, "KVM's own memory");
  return taken;
}

std::string place(std::string_view space, std::uint64_t first, std::uint64_t last) {
  return first == last ? fmt::format("{} {:#x}", space, first)
                       : fmt::format("{} {:#x}-{:#x}", space, first, last);
}

std::unexpected<Failure> refuse(std::string text, std::string subject) {
  return std::unexpected(Failure{FailureKind::kRequest, std::move(text), std::move(subject)});
}

// One more device in a space that ends with `limit`.
Result<void> claim(std::vector<Taken>& taken, std::string_view space, std::uint64_t first,
                   std::uint64_t count, std::uint64_t limit, std::string_view remedy) {
  const auto last = count == 0 ? std::nullopt : base::checked_add(first, count - 1);
  if (!last || *last > limit) {
    return refuse(fmt::format("a device claims {:#x} addresses: at least one, and none above {:#x}",
                              count, limit),
                  place(space, first, first));
  }
  const auto other = std::ranges::find_if(
      taken, [&](const Taken& each) { return each.first <= *last && first <= each.last; });
  if (other != taken.end()) {
    return refuse(fmt::format("a device claims what is {}'s, {}; {}", other->whose,
                              place(space, other->first, other->last), remedy),
                  place(space, first, *last));
  }
  taken.push_back({first, *last, "another such device"});
  return {};
}

}  // namespace

Result<void> check_devices(const MachineOptions& options, std::span<const base::Range> ram,
                           std::optional<base::Range> table_memory,
                           std::span<const VirtioSlot> virtio) {
  if (options.port_devices.empty() && options.mmio_devices.empty()) {
    return {};  // as most machines: nothing is to be compared
  }
  std::vector<Taken> ports = taken_ports(options);
  for (const PortDevice& device : options.port_devices) {
    const std::uint64_t first = devices::address_value(device.first);
    TRY(claim(ports, "port", first, device.count, UINT16_MAX,
              "choose ports that are free, such as from 0x510 on"));
    if (!device.device) {
      return refuse("there is no device for it", place("port", first, first));
    }
  }
  std::vector<Taken> addresses = taken_addresses(ram, table_memory, virtio);
  const std::string remedy = fmt::format("{:#x}-{:#x} is kept free for such devices",
                                         kCustomMmio.first().value(), kCustomMmio.last().value());
  for (const MmioDevice& device : options.mmio_devices) {
    TRY(claim(addresses, "address", device.first.value(), device.size.value(), UINT64_MAX, remedy));
    if (!device.device) {
      return refuse("there is no device for it",
                    place("address", device.first.value(), device.first.value()));
    }
  }
  return {};
}

}  // namespace pvh::vmm::internal
