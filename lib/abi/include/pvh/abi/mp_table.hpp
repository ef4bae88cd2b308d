// SPDX-License-Identifier: BSD-2-Clause
// How a multiprocessor PC described itself before ACPI, and how FreeBSD's and NetBSD's small
// kernels still want it. Source: Intel MultiProcessor Specification, version 1.4, chapter 4.
//
//   floating pointer --> configuration table header, then entries in ascending order of type
//
// The header counts the entries and names the length of all; readers use the one or the other, so
// both must be right. A checksum makes the bytes that it covers sum up to 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

struct mp_floating_pointer {
  std::array<char, 4> signature;  // "_MP_"
  base::Le32 physical_address;    // of the configuration table
  std::uint8_t length;            // of this, in units of 16 bytes
  std::uint8_t spec_rev;
  std::uint8_t checksum;
  std::uint8_t feature_byte_1;  // 0: there is a configuration table
  std::uint8_t feature_byte_2;  // bit 7: IMCR present
  std::array<std::uint8_t, 3> feature_bytes_3_to_5;
};

struct mp_configuration_table {
  std::array<char, 4> signature;  // "PCMP"
  base::Le16 base_table_length;   // header and entries
  std::uint8_t spec_rev;
  std::uint8_t checksum;  // of the base table
  std::array<char, 8> oem_id;
  std::array<char, 12> product_id;
  base::Le32 oem_table_pointer;
  base::Le16 oem_table_size;
  base::Le16 entry_count;
  base::Le32 address_of_local_apic;
  base::Le16 extended_table_length;
  std::uint8_t extended_table_checksum;
  std::uint8_t reserved;
};

inline constexpr std::uint8_t kMpSpecRev14 = 4;

inline constexpr std::uint8_t MP_ENTRY_PROCESSOR = 0;
inline constexpr std::uint8_t MP_ENTRY_BUS = 1;
inline constexpr std::uint8_t MP_ENTRY_IO_APIC = 2;
inline constexpr std::uint8_t MP_ENTRY_IO_INTERRUPT = 3;
inline constexpr std::uint8_t MP_ENTRY_LOCAL_INTERRUPT = 4;

struct mp_processor {
  std::uint8_t entry_type;
  std::uint8_t local_apic_id;
  std::uint8_t local_apic_version;
  std::uint8_t cpu_flags;    // MP_CPU_*
  base::Le32 cpu_signature;  // CPUID.1:EAX
  base::Le32 feature_flags;  // CPUID.1:EDX
  std::array<std::uint8_t, 8> reserved;
};

inline constexpr std::uint8_t MP_CPU_ENABLED = 1u << 0;
inline constexpr std::uint8_t MP_CPU_BOOTSTRAP = 1u << 1;

struct mp_bus {
  std::uint8_t entry_type;
  std::uint8_t bus_id;
  std::array<char, 6> bus_type_string;  // padded with blanks
};

struct mp_io_apic {
  std::uint8_t entry_type;
  std::uint8_t io_apic_id;
  std::uint8_t io_apic_version;
  std::uint8_t io_apic_flags;  // bit 0: enabled
  base::Le32 address;
};

inline constexpr std::uint8_t MP_IO_APIC_ENABLED = 1u << 0;

// Of an I/O APIC or of a local APIC, by entry_type.
struct mp_interrupt {
  std::uint8_t entry_type;
  std::uint8_t interrupt_type;  // MP_INTERRUPT_*
  base::Le16 flags;             // 0: polarity and trigger as usual on the bus
  std::uint8_t source_bus_id;
  std::uint8_t source_bus_irq;
  std::uint8_t destination_apic_id;  // 0xff: all
  std::uint8_t destination_apic_intin;
};

inline constexpr std::uint8_t MP_INTERRUPT_INT = 0;
inline constexpr std::uint8_t MP_INTERRUPT_NMI = 1;
inline constexpr std::uint8_t MP_INTERRUPT_SMI = 2;
inline constexpr std::uint8_t MP_INTERRUPT_EXTINT = 3;

static_assert(sizeof(mp_floating_pointer) == 16);
static_assert(offsetof(mp_floating_pointer, signature) == 0);
static_assert(offsetof(mp_floating_pointer, physical_address) == 4);
static_assert(offsetof(mp_floating_pointer, length) == 8);
static_assert(offsetof(mp_floating_pointer, spec_rev) == 9);
static_assert(offsetof(mp_floating_pointer, checksum) == 10);
static_assert(offsetof(mp_floating_pointer, feature_byte_1) == 11);
static_assert(offsetof(mp_floating_pointer, feature_byte_2) == 12);
static_assert(offsetof(mp_floating_pointer, feature_bytes_3_to_5) == 13);
static_assert(std::has_unique_object_representations_v<mp_floating_pointer>);
static_assert(std::is_trivially_copyable_v<mp_floating_pointer>);

static_assert(sizeof(mp_configuration_table) == 44);
static_assert(offsetof(mp_configuration_table, signature) == 0);
static_assert(offsetof(mp_configuration_table, base_table_length) == 4);
static_assert(offsetof(mp_configuration_table, spec_rev) == 6);
static_assert(offsetof(mp_configuration_table, checksum) == 7);
static_assert(offsetof(mp_configuration_table, oem_id) == 8);
static_assert(offsetof(mp_configuration_table, product_id) == 16);
static_assert(offsetof(mp_configuration_table, oem_table_pointer) == 28);
static_assert(offsetof(mp_configuration_table, oem_table_size) == 32);
static_assert(offsetof(mp_configuration_table, entry_count) == 34);
static_assert(offsetof(mp_configuration_table, address_of_local_apic) == 36);
static_assert(offsetof(mp_configuration_table, extended_table_length) == 40);
static_assert(offsetof(mp_configuration_table, extended_table_checksum) == 42);
static_assert(offsetof(mp_configuration_table, reserved) == 43);
static_assert(std::has_unique_object_representations_v<mp_configuration_table>);
static_assert(std::is_trivially_copyable_v<mp_configuration_table>);

static_assert(sizeof(mp_processor) == 20);
static_assert(offsetof(mp_processor, entry_type) == 0);
static_assert(offsetof(mp_processor, local_apic_id) == 1);
static_assert(offsetof(mp_processor, local_apic_version) == 2);
static_assert(offsetof(mp_processor, cpu_flags) == 3);
static_assert(offsetof(mp_processor, cpu_signature) == 4);
static_assert(offsetof(mp_processor, feature_flags) == 8);
static_assert(offsetof(mp_processor, reserved) == 12);
static_assert(std::has_unique_object_representations_v<mp_processor>);
static_assert(std::is_trivially_copyable_v<mp_processor>);

static_assert(sizeof(mp_bus) == 8);
static_assert(offsetof(mp_bus, entry_type) == 0);
static_assert(offsetof(mp_bus, bus_id) == 1);
static_assert(offsetof(mp_bus, bus_type_string) == 2);
static_assert(std::has_unique_object_representations_v<mp_bus>);
static_assert(std::is_trivially_copyable_v<mp_bus>);

static_assert(sizeof(mp_io_apic) == 8);
static_assert(offsetof(mp_io_apic, entry_type) == 0);
static_assert(offsetof(mp_io_apic, io_apic_id) == 1);
static_assert(offsetof(mp_io_apic, io_apic_version) == 2);
static_assert(offsetof(mp_io_apic, io_apic_flags) == 3);
static_assert(offsetof(mp_io_apic, address) == 4);
static_assert(std::has_unique_object_representations_v<mp_io_apic>);
static_assert(std::is_trivially_copyable_v<mp_io_apic>);

static_assert(sizeof(mp_interrupt) == 8);
static_assert(offsetof(mp_interrupt, entry_type) == 0);
static_assert(offsetof(mp_interrupt, interrupt_type) == 1);
static_assert(offsetof(mp_interrupt, flags) == 2);
static_assert(offsetof(mp_interrupt, source_bus_id) == 4);
static_assert(offsetof(mp_interrupt, source_bus_irq) == 5);
static_assert(offsetof(mp_interrupt, destination_apic_id) == 6);
static_assert(offsetof(mp_interrupt, destination_apic_intin) == 7);
static_assert(std::has_unique_object_representations_v<mp_interrupt>);
static_assert(std::is_trivially_copyable_v<mp_interrupt>);

}  // namespace pvh::abi
