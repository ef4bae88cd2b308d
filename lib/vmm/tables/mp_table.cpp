// SPDX-License-Identifier: BSD-2-Clause
#include <cstddef>

#include <fmt/format.h>
#include <pvh/abi/mp_table.hpp>
#include <pvh/vmm/layout.hpp>
#include <pvh/vmm/mp_table.hpp>

#include "checksum.hpp"

namespace pvh::vmm {
namespace {

using base::Le16;
using base::Le32;

constexpr unsigned kMaxCpus = 255;  // ids of eight bits, and 255 is "all"
constexpr std::uint8_t kAllApics = 0xff;
constexpr std::uint8_t kIsaBus = 0;
constexpr std::uint8_t kIsaInterrupts = 16;
constexpr std::uint8_t kCascade = 2;              // between the 8259s: no device's interrupt
constexpr std::uint8_t kLocalApicVersion = 0x14;  // as KVM's registers say
constexpr std::uint8_t kIoApicVersion = 0x11;
constexpr std::uint32_t kAnyP6 = 0x600;       // for readers that print it; CPUID has the truth
constexpr std::uint32_t kFpuAndApic = 0x201;  // likewise
constexpr base::PhysAddr kReach{1u << 20};    // FreeBSD maps the first MiB only

constexpr std::size_t kInterruptEntries = (kIsaInterrupts - 1) + 2;
constexpr std::size_t kFixedEntries = 1 + 1 + kInterruptEntries;
constexpr std::size_t kFixedSize =
    sizeof(abi::mp_floating_pointer) + sizeof(abi::mp_configuration_table) + sizeof(abi::mp_bus) +
    sizeof(abi::mp_io_apic) + kInterruptEntries * sizeof(abi::mp_interrupt);

std::unexpected<TableFault> fault(TableError code, std::string detail) {
  return std::unexpected(TableFault{code, std::move(detail), std::nullopt});
}

abi::mp_interrupt interrupt(std::uint8_t entry, std::uint8_t type, std::uint8_t irq,
                            std::uint8_t apic, std::uint8_t pin) {
  return {
      .entry_type = entry,
      .interrupt_type = type,
      .flags = Le16(0),
      .source_bus_id = kIsaBus,
      .source_bus_irq = irq,
      .destination_apic_id = apic,
      .destination_apic_intin = pin,
  };
}

// The inputs of the I/O APIC that no ISA interrupt has. Guests without ACPI learn from here that
// they exist; as ISA interrupts of the same number they are edges, as the devices make them.
std::vector<std::uint8_t> further_interrupts(const MachineDescription& description) {
  std::vector<std::uint8_t> further;
  for (const VirtioSlot& slot : description.virtio) {
    if (slot.gsi >= kIsaInterrupts) {
      further.push_back(static_cast<std::uint8_t>(slot.gsi));
    }
  }
  return further;
}

// In ascending order of type, as the specification wants it.
std::vector<std::byte> make_entries(unsigned cpus, const std::vector<std::uint8_t>& further) {
  // An id that no processor has, as long as there is one.
  const auto io_apic = static_cast<std::uint8_t>(cpus < kMaxCpus ? cpus : 0);
  std::vector<std::byte> entries;
  for (unsigned cpu = 0; cpu < cpus; ++cpu) {
    append(entries, abi::mp_processor{
                        .entry_type = abi::MP_ENTRY_PROCESSOR,
                        .local_apic_id = static_cast<std::uint8_t>(cpu),
                        .local_apic_version = kLocalApicVersion,
                        .cpu_flags = static_cast<std::uint8_t>(
                            abi::MP_CPU_ENABLED | (cpu == 0 ? abi::MP_CPU_BOOTSTRAP : 0u)),
                        .cpu_signature = Le32(kAnyP6),
                        .feature_flags = Le32(kFpuAndApic),
                        .reserved = {},
                    });
  }
  append(entries, abi::mp_bus{
                      .entry_type = abi::MP_ENTRY_BUS,
                      .bus_id = kIsaBus,
                      .bus_type_string = {'I', 'S', 'A', ' ', ' ', ' '},
                  });
  append(entries, abi::mp_io_apic{
                      .entry_type = abi::MP_ENTRY_IO_APIC,
                      .io_apic_id = io_apic,
                      .io_apic_version = kIoApicVersion,
                      .io_apic_flags = abi::MP_IO_APIC_ENABLED,
                      .address = Le32(static_cast<std::uint32_t>(kIoApicBase.value())),
                  });
  for (std::uint8_t irq = 0; irq < kIsaInterrupts; ++irq) {
    if (irq != kCascade) {
      append(entries,
             interrupt(abi::MP_ENTRY_IO_INTERRUPT, abi::MP_INTERRUPT_INT, irq, io_apic, irq));
    }
  }
  for (const std::uint8_t irq : further) {
    append(entries,
           interrupt(abi::MP_ENTRY_IO_INTERRUPT, abi::MP_INTERRUPT_INT, irq, io_apic, irq));
  }
  append(entries,
         interrupt(abi::MP_ENTRY_LOCAL_INTERRUPT, abi::MP_INTERRUPT_EXTINT, 0, /*apic=*/0, 0));
  append(entries, interrupt(abi::MP_ENTRY_LOCAL_INTERRUPT, abi::MP_INTERRUPT_NMI, 0, kAllApics, 1));
  return entries;
}

std::vector<std::byte> make_configuration(const MachineDescription& description) {
  const std::vector<std::uint8_t> further = further_interrupts(description);
  const std::vector<std::byte> entries = make_entries(description.cpus, further);
  const abi::mp_configuration_table header{
      .signature = {'P', 'C', 'M', 'P'},
      .base_table_length = Le16(static_cast<std::uint16_t>(sizeof(header) + entries.size())),
      .spec_rev = abi::kMpSpecRev14,
      .checksum = 0,
      .oem_id = {'P', 'V', 'H', ' ', ' ', ' ', ' ', ' '},
      .product_id = {'M', 'A', 'C', 'H', 'I', 'N', 'E', ' ', ' ', ' ', ' ', ' '},
      .oem_table_pointer = Le32(0),
      .oem_table_size = Le16(0),
      .entry_count =
          Le16(static_cast<std::uint16_t>(kFixedEntries + description.cpus + further.size())),
      .address_of_local_apic = Le32(static_cast<std::uint32_t>(kLocalApicBase.value())),
      .extended_table_length = Le16(0),
      .extended_table_checksum = 0,
      .reserved = 0,
  };
  std::vector<std::byte> bytes;
  append(bytes, header);
  bytes.insert(bytes.end(), entries.begin(), entries.end());
  bytes[offsetof(abi::mp_configuration_table, checksum)] = checksum(bytes);
  return bytes;
}

}  // namespace

base::ByteSize mp_table_size(const MachineDescription& description) {
  return base::ByteSize(kFixedSize + std::uint64_t{description.cpus} * sizeof(abi::mp_processor) +
                        further_interrupts(description).size() * sizeof(abi::mp_interrupt));
}

std::expected<Table, TableFault> build_mp_table(const MachineDescription& description) {
  const unsigned cpus = description.cpus;
  const base::PhysAddr at = description.mp_table;
  if (cpus == 0 || cpus > kMaxCpus) {
    return fault(TableError::kCpuCount,
                 fmt::format("{}, an MP table names 1 to {}", cpus, kMaxCpus));
  }
  if (!at.is_aligned(base::ByteSize(16))) {
    return fault(TableError::kMisaligned, fmt::format("MP table at {:#x}", at.value()));
  }
  const base::ByteSize size = mp_table_size(description);
  if (size > description.mp_table_room) {
    return fault(TableError::kNoRoom, fmt::format("an MP table of {} bytes in {}", size.value(),
                                                  description.mp_table_room.value()));
  }
  const auto end = at.checked_add(size);
  if (!end || *end >= kReach) {
    return fault(TableError::kOutOfReach, fmt::format("MP table at {:#x}", at.value()));
  }
  const auto configuration = at.value() + sizeof(abi::mp_floating_pointer);
  const abi::mp_floating_pointer pointer{
      .signature = {'_', 'M', 'P', '_'},
      .physical_address = Le32(static_cast<std::uint32_t>(configuration)),
      .length = 1,
      .spec_rev = abi::kMpSpecRev14,
      .checksum = 0,
      .feature_byte_1 = 0,
      .feature_byte_2 = 0,
      .feature_bytes_3_to_5 = {},
  };
  std::vector<std::byte> bytes;
  append(bytes, pointer);
  bytes[offsetof(abi::mp_floating_pointer, checksum)] = checksum(bytes);
  const std::vector<std::byte> table = make_configuration(description);
  bytes.insert(bytes.end(), table.begin(), table.end());
  return Table{"MP table", at, std::move(bytes)};
}

}  // namespace pvh::vmm
