// SPDX-License-Identifier: BSD-2-Clause
// What the tables tell the guest about its machine, and where they go. The processors' APIC ids are
// 0 .. cpus-1, as KVM numbers its vCPUs; the interrupts are those of KVM's irqchip with its default
// routing: ISA interrupt n is pin n of the one I/O APIC, the timer's included.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/fault.hpp>

namespace pvh::vmm {

// One virtio device behind the MMIO transport.
struct VirtioSlot {
  base::Range registers;
  std::uint32_t gsi = 0;  // edge-triggered
};

struct MachineDescription {
  unsigned cpus = 1;
  bool serial = true;  // COM1
  bool clock = true;   // the CMOS clock
  std::vector<VirtioSlot> virtio{};
  base::Range acpi_room{};         // for everything but the RSDP; below 4 GiB
  base::PhysAddr rsdp{};           // 36 bytes; aligned to 16, for guests that search
  base::PhysAddr mp_table{};       // the floating pointer; the configuration table follows it
  base::ByteSize mp_table_room{};  // for both
};

enum class TableError {
  kCpuCount,    // none, or more than the table can name
  kMisaligned,  // the guest searches at multiples of 16
  kNoRoom,      // the tables are larger than the place that they are given
  kOutOfReach   // the place is above what the table's addresses or its readers reach
};

[[nodiscard]] base::Explanation explain(TableError code);

using TableFault = base::Fault<TableError>;

// Bytes and the address for which they were made.
struct Table {
  std::string name;
  base::PhysAddr address;
  std::vector<std::byte> bytes;
};

}  // namespace pvh::vmm
