// SPDX-License-Identifier: BSD-2-Clause
// The ACPI tables that a small machine needs: root pointer, XSDT, FADT, MADT.
// Source: ACPI specification 6.5, chapter 5 (tables), 4.8 (sleep and reset registers).
//
//   RSDP --> XSDT --> FADT --> DSDT (AML)
//                 \-> MADT (processors, I/O APIC)
//
// A checksum makes the bytes that it covers sum up to 0. The names are ACPICA's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <pvh/base/little_endian.hpp>

namespace pvh::abi {

struct acpi_table_rsdp {
  std::array<char, 8> signature;  // "RSD PTR "
  std::uint8_t checksum;          // of the first 20 bytes
  std::array<char, 6> oem_id;
  std::uint8_t revision;
  base::Le32 rsdt_physical_address;
  // From here on revision 2.
  base::Le32 length;
  base::Le64 xsdt_physical_address;
  std::uint8_t extended_checksum;  // of all 36
  std::array<std::uint8_t, 3> reserved;
};

inline constexpr std::size_t kRsdpSizeV1 = 20;

struct acpi_table_header {
  std::array<char, 4> signature;
  base::Le32 length;  // of the whole table
  std::uint8_t revision;
  std::uint8_t checksum;
  std::array<char, 6> oem_id;
  std::array<char, 8> oem_table_id;
  base::Le32 oem_revision;
  std::array<char, 4> asl_compiler_id;
  base::Le32 asl_compiler_revision;
};

struct acpi_generic_address {
  std::uint8_t space_id;  // ACPI_ADR_SPACE_*
  std::uint8_t bit_width;
  std::uint8_t bit_offset;
  std::uint8_t access_width;  // 1: byte
  base::Le64 address;
};

inline constexpr std::uint8_t ACPI_ADR_SPACE_SYSTEM_MEMORY = 0;
inline constexpr std::uint8_t ACPI_ADR_SPACE_SYSTEM_IO = 1;

struct acpi_table_fadt {
  acpi_table_header header;  // "FACP"
  base::Le32 facs;
  base::Le32 dsdt;
  std::uint8_t model;
  std::uint8_t preferred_profile;
  base::Le16 sci_interrupt;
  base::Le32 smi_command;
  std::uint8_t acpi_enable;
  std::uint8_t acpi_disable;
  std::uint8_t s4_bios_request;
  std::uint8_t pstate_control;
  base::Le32 pm1a_event_block;
  base::Le32 pm1b_event_block;
  base::Le32 pm1a_control_block;
  base::Le32 pm1b_control_block;
  base::Le32 pm2_control_block;
  base::Le32 pm_timer_block;
  base::Le32 gpe0_block;
  base::Le32 gpe1_block;
  std::uint8_t pm1_event_length;
  std::uint8_t pm1_control_length;
  std::uint8_t pm2_control_length;
  std::uint8_t pm_timer_length;
  std::uint8_t gpe0_block_length;
  std::uint8_t gpe1_block_length;
  std::uint8_t gpe1_base;
  std::uint8_t cst_control;
  base::Le16 c2_latency;
  base::Le16 c3_latency;
  base::Le16 flush_size;
  base::Le16 flush_stride;
  std::uint8_t duty_offset;
  std::uint8_t duty_width;
  std::uint8_t day_alarm;
  std::uint8_t month_alarm;
  std::uint8_t century;   // its place in CMOS
  base::Le16 boot_flags;  // ACPI_FADT_* below
  std::uint8_t reserved;
  base::Le32 flags;  // ACPI_FADT_* below
  acpi_generic_address reset_register;
  std::uint8_t reset_value;
  base::Le16 arm_boot_flags;
  std::uint8_t minor_revision;
  base::Le64 Xfacs;
  base::Le64 Xdsdt;
  acpi_generic_address xpm1a_event_block;
  acpi_generic_address xpm1b_event_block;
  acpi_generic_address xpm1a_control_block;
  acpi_generic_address xpm1b_control_block;
  acpi_generic_address xpm2_control_block;
  acpi_generic_address xpm_timer_block;
  acpi_generic_address xgpe0_block;
  acpi_generic_address xgpe1_block;
  acpi_generic_address sleep_control;
  acpi_generic_address sleep_status;
  base::Le64 hypervisor_id;
};

// boot_flags
inline constexpr std::uint16_t ACPI_FADT_LEGACY_DEVICES = 1u << 0;
inline constexpr std::uint16_t ACPI_FADT_8042 = 1u << 1;
inline constexpr std::uint16_t ACPI_FADT_NO_VGA = 1u << 2;
inline constexpr std::uint16_t ACPI_FADT_NO_CMOS_RTC = 1u << 5;

// flags
inline constexpr std::uint32_t ACPI_FADT_WBINVD = 1u << 0;
inline constexpr std::uint32_t ACPI_FADT_POWER_BUTTON = 1u << 4;  // set: no such fixed button
inline constexpr std::uint32_t ACPI_FADT_SLEEP_BUTTON = 1u << 5;  // set: no such fixed button
inline constexpr std::uint32_t ACPI_FADT_FIXED_RTC = 1u << 6;     // set: no fixed wake by the RTC
inline constexpr std::uint32_t ACPI_FADT_RESET_REGISTER = 1u << 10;
inline constexpr std::uint32_t ACPI_FADT_HEADLESS = 1u << 12;
inline constexpr std::uint32_t ACPI_FADT_HW_REDUCED = 1u << 20;

struct acpi_table_madt {
  acpi_table_header header;  // "APIC"
  base::Le32 address;        // of the local APICs
  base::Le32 flags;
};

inline constexpr std::uint32_t ACPI_MADT_PCAT_COMPAT = 1u << 0;  // two 8259 as well

inline constexpr std::uint8_t ACPI_MADT_TYPE_LOCAL_APIC = 0;
inline constexpr std::uint8_t ACPI_MADT_TYPE_IO_APIC = 1;
inline constexpr std::uint8_t ACPI_MADT_TYPE_INTERRUPT_OVERRIDE = 2;
inline constexpr std::uint8_t ACPI_MADT_TYPE_LOCAL_APIC_NMI = 4;
inline constexpr std::uint8_t ACPI_MADT_TYPE_LOCAL_X2APIC = 9;
inline constexpr std::uint8_t ACPI_MADT_TYPE_LOCAL_X2APIC_NMI = 10;

inline constexpr std::uint32_t ACPI_MADT_ENABLED = 1u << 0;
inline constexpr std::uint32_t ACPI_MADT_ONLINE_CAPABLE = 1u << 1;  // since MADT revision 5

struct acpi_madt_local_apic {
  std::uint8_t type;
  std::uint8_t length;
  std::uint8_t processor_id;  // _UID
  std::uint8_t id;            // APIC id, below 255
  base::Le32 lapic_flags;
};

struct acpi_madt_io_apic {
  std::uint8_t type;
  std::uint8_t length;
  std::uint8_t id;
  std::uint8_t reserved;
  base::Le32 address;
  base::Le32 global_irq_base;
};

struct acpi_madt_interrupt_override {
  std::uint8_t type;
  std::uint8_t length;
  std::uint8_t bus;  // 0: ISA
  std::uint8_t source_irq;
  base::Le32 global_irq;
  base::Le16 inti_flags;
};

struct acpi_madt_local_apic_nmi {
  std::uint8_t type;
  std::uint8_t length;
  std::uint8_t processor_id;  // 0xff: all
  base::Le16 inti_flags;
  std::uint8_t lint;
};

struct acpi_madt_local_x2apic {
  std::uint8_t type;
  std::uint8_t length;
  base::Le16 reserved;
  base::Le32 local_apic_id;
  base::Le32 lapic_flags;
  base::Le32 uid;
};

struct acpi_madt_local_x2apic_nmi {
  std::uint8_t type;
  std::uint8_t length;
  base::Le16 inti_flags;
  base::Le32 uid;  // 0xffffffff: all
  std::uint8_t lint;
  std::array<std::uint8_t, 3> reserved;
};

static_assert(sizeof(acpi_table_rsdp) == 36);
static_assert(offsetof(acpi_table_rsdp, signature) == 0);
static_assert(offsetof(acpi_table_rsdp, checksum) == 8);
static_assert(offsetof(acpi_table_rsdp, oem_id) == 9);
static_assert(offsetof(acpi_table_rsdp, revision) == 15);
static_assert(offsetof(acpi_table_rsdp, rsdt_physical_address) == 16);
static_assert(offsetof(acpi_table_rsdp, length) == 20);
static_assert(offsetof(acpi_table_rsdp, xsdt_physical_address) == 24);
static_assert(offsetof(acpi_table_rsdp, extended_checksum) == 32);
static_assert(offsetof(acpi_table_rsdp, reserved) == 33);
static_assert(std::has_unique_object_representations_v<acpi_table_rsdp>);
static_assert(std::is_trivially_copyable_v<acpi_table_rsdp>);

static_assert(sizeof(acpi_table_header) == 36);
static_assert(offsetof(acpi_table_header, signature) == 0);
static_assert(offsetof(acpi_table_header, length) == 4);
static_assert(offsetof(acpi_table_header, revision) == 8);
static_assert(offsetof(acpi_table_header, checksum) == 9);
static_assert(offsetof(acpi_table_header, oem_id) == 10);
static_assert(offsetof(acpi_table_header, oem_table_id) == 16);
static_assert(offsetof(acpi_table_header, oem_revision) == 24);
static_assert(offsetof(acpi_table_header, asl_compiler_id) == 28);
static_assert(offsetof(acpi_table_header, asl_compiler_revision) == 32);
static_assert(std::has_unique_object_representations_v<acpi_table_header>);
static_assert(std::is_trivially_copyable_v<acpi_table_header>);

static_assert(sizeof(acpi_generic_address) == 12);
static_assert(offsetof(acpi_generic_address, space_id) == 0);
static_assert(offsetof(acpi_generic_address, bit_width) == 1);
static_assert(offsetof(acpi_generic_address, bit_offset) == 2);
static_assert(offsetof(acpi_generic_address, access_width) == 3);
static_assert(offsetof(acpi_generic_address, address) == 4);
static_assert(std::has_unique_object_representations_v<acpi_generic_address>);
static_assert(std::is_trivially_copyable_v<acpi_generic_address>);

static_assert(sizeof(acpi_table_fadt) == 276);
static_assert(offsetof(acpi_table_fadt, header) == 0);
static_assert(offsetof(acpi_table_fadt, facs) == 36);
static_assert(offsetof(acpi_table_fadt, dsdt) == 40);
static_assert(offsetof(acpi_table_fadt, model) == 44);
static_assert(offsetof(acpi_table_fadt, preferred_profile) == 45);
static_assert(offsetof(acpi_table_fadt, sci_interrupt) == 46);
static_assert(offsetof(acpi_table_fadt, smi_command) == 48);
static_assert(offsetof(acpi_table_fadt, acpi_enable) == 52);
static_assert(offsetof(acpi_table_fadt, acpi_disable) == 53);
static_assert(offsetof(acpi_table_fadt, s4_bios_request) == 54);
static_assert(offsetof(acpi_table_fadt, pstate_control) == 55);
static_assert(offsetof(acpi_table_fadt, pm1a_event_block) == 56);
static_assert(offsetof(acpi_table_fadt, pm1b_event_block) == 60);
static_assert(offsetof(acpi_table_fadt, pm1a_control_block) == 64);
static_assert(offsetof(acpi_table_fadt, pm1b_control_block) == 68);
static_assert(offsetof(acpi_table_fadt, pm2_control_block) == 72);
static_assert(offsetof(acpi_table_fadt, pm_timer_block) == 76);
static_assert(offsetof(acpi_table_fadt, gpe0_block) == 80);
static_assert(offsetof(acpi_table_fadt, gpe1_block) == 84);
static_assert(offsetof(acpi_table_fadt, pm1_event_length) == 88);
static_assert(offsetof(acpi_table_fadt, pm1_control_length) == 89);
static_assert(offsetof(acpi_table_fadt, pm2_control_length) == 90);
static_assert(offsetof(acpi_table_fadt, pm_timer_length) == 91);
static_assert(offsetof(acpi_table_fadt, gpe0_block_length) == 92);
static_assert(offsetof(acpi_table_fadt, gpe1_block_length) == 93);
static_assert(offsetof(acpi_table_fadt, gpe1_base) == 94);
static_assert(offsetof(acpi_table_fadt, cst_control) == 95);
static_assert(offsetof(acpi_table_fadt, c2_latency) == 96);
static_assert(offsetof(acpi_table_fadt, c3_latency) == 98);
static_assert(offsetof(acpi_table_fadt, flush_size) == 100);
static_assert(offsetof(acpi_table_fadt, flush_stride) == 102);
static_assert(offsetof(acpi_table_fadt, duty_offset) == 104);
static_assert(offsetof(acpi_table_fadt, duty_width) == 105);
static_assert(offsetof(acpi_table_fadt, day_alarm) == 106);
static_assert(offsetof(acpi_table_fadt, month_alarm) == 107);
static_assert(offsetof(acpi_table_fadt, century) == 108);
static_assert(offsetof(acpi_table_fadt, boot_flags) == 109);
static_assert(offsetof(acpi_table_fadt, reserved) == 111);
static_assert(offsetof(acpi_table_fadt, flags) == 112);
static_assert(offsetof(acpi_table_fadt, reset_register) == 116);
static_assert(offsetof(acpi_table_fadt, reset_value) == 128);
static_assert(offsetof(acpi_table_fadt, arm_boot_flags) == 129);
static_assert(offsetof(acpi_table_fadt, minor_revision) == 131);
static_assert(offsetof(acpi_table_fadt, Xfacs) == 132);
static_assert(offsetof(acpi_table_fadt, Xdsdt) == 140);
static_assert(offsetof(acpi_table_fadt, xpm1a_event_block) == 148);
static_assert(offsetof(acpi_table_fadt, xpm1b_event_block) == 160);
static_assert(offsetof(acpi_table_fadt, xpm1a_control_block) == 172);
static_assert(offsetof(acpi_table_fadt, xpm1b_control_block) == 184);
static_assert(offsetof(acpi_table_fadt, xpm2_control_block) == 196);
static_assert(offsetof(acpi_table_fadt, xpm_timer_block) == 208);
static_assert(offsetof(acpi_table_fadt, xgpe0_block) == 220);
static_assert(offsetof(acpi_table_fadt, xgpe1_block) == 232);
static_assert(offsetof(acpi_table_fadt, sleep_control) == 244);
static_assert(offsetof(acpi_table_fadt, sleep_status) == 256);
static_assert(offsetof(acpi_table_fadt, hypervisor_id) == 268);
static_assert(std::has_unique_object_representations_v<acpi_table_fadt>);
static_assert(std::is_trivially_copyable_v<acpi_table_fadt>);

static_assert(sizeof(acpi_table_madt) == 44);
static_assert(offsetof(acpi_table_madt, header) == 0);
static_assert(offsetof(acpi_table_madt, address) == 36);
static_assert(offsetof(acpi_table_madt, flags) == 40);
static_assert(std::has_unique_object_representations_v<acpi_table_madt>);
static_assert(std::is_trivially_copyable_v<acpi_table_madt>);

static_assert(sizeof(acpi_madt_local_apic) == 8);
static_assert(offsetof(acpi_madt_local_apic, type) == 0);
static_assert(offsetof(acpi_madt_local_apic, length) == 1);
static_assert(offsetof(acpi_madt_local_apic, processor_id) == 2);
static_assert(offsetof(acpi_madt_local_apic, id) == 3);
static_assert(offsetof(acpi_madt_local_apic, lapic_flags) == 4);
static_assert(std::has_unique_object_representations_v<acpi_madt_local_apic>);
static_assert(std::is_trivially_copyable_v<acpi_madt_local_apic>);

static_assert(sizeof(acpi_madt_io_apic) == 12);
static_assert(offsetof(acpi_madt_io_apic, type) == 0);
static_assert(offsetof(acpi_madt_io_apic, length) == 1);
static_assert(offsetof(acpi_madt_io_apic, id) == 2);
static_assert(offsetof(acpi_madt_io_apic, reserved) == 3);
static_assert(offsetof(acpi_madt_io_apic, address) == 4);
static_assert(offsetof(acpi_madt_io_apic, global_irq_base) == 8);
static_assert(std::has_unique_object_representations_v<acpi_madt_io_apic>);
static_assert(std::is_trivially_copyable_v<acpi_madt_io_apic>);

static_assert(sizeof(acpi_madt_interrupt_override) == 10);
static_assert(offsetof(acpi_madt_interrupt_override, type) == 0);
static_assert(offsetof(acpi_madt_interrupt_override, length) == 1);
static_assert(offsetof(acpi_madt_interrupt_override, bus) == 2);
static_assert(offsetof(acpi_madt_interrupt_override, source_irq) == 3);
static_assert(offsetof(acpi_madt_interrupt_override, global_irq) == 4);
static_assert(offsetof(acpi_madt_interrupt_override, inti_flags) == 8);
static_assert(std::has_unique_object_representations_v<acpi_madt_interrupt_override>);
static_assert(std::is_trivially_copyable_v<acpi_madt_interrupt_override>);

static_assert(sizeof(acpi_madt_local_apic_nmi) == 6);
static_assert(offsetof(acpi_madt_local_apic_nmi, type) == 0);
static_assert(offsetof(acpi_madt_local_apic_nmi, length) == 1);
static_assert(offsetof(acpi_madt_local_apic_nmi, processor_id) == 2);
static_assert(offsetof(acpi_madt_local_apic_nmi, inti_flags) == 3);
static_assert(offsetof(acpi_madt_local_apic_nmi, lint) == 5);
static_assert(std::has_unique_object_representations_v<acpi_madt_local_apic_nmi>);
static_assert(std::is_trivially_copyable_v<acpi_madt_local_apic_nmi>);

static_assert(sizeof(acpi_madt_local_x2apic) == 16);
static_assert(offsetof(acpi_madt_local_x2apic, type) == 0);
static_assert(offsetof(acpi_madt_local_x2apic, length) == 1);
static_assert(offsetof(acpi_madt_local_x2apic, reserved) == 2);
static_assert(offsetof(acpi_madt_local_x2apic, local_apic_id) == 4);
static_assert(offsetof(acpi_madt_local_x2apic, lapic_flags) == 8);
static_assert(offsetof(acpi_madt_local_x2apic, uid) == 12);
static_assert(std::has_unique_object_representations_v<acpi_madt_local_x2apic>);
static_assert(std::is_trivially_copyable_v<acpi_madt_local_x2apic>);

static_assert(sizeof(acpi_madt_local_x2apic_nmi) == 12);
static_assert(offsetof(acpi_madt_local_x2apic_nmi, type) == 0);
static_assert(offsetof(acpi_madt_local_x2apic_nmi, length) == 1);
static_assert(offsetof(acpi_madt_local_x2apic_nmi, inti_flags) == 2);
static_assert(offsetof(acpi_madt_local_x2apic_nmi, uid) == 4);
static_assert(offsetof(acpi_madt_local_x2apic_nmi, lint) == 8);
static_assert(offsetof(acpi_madt_local_x2apic_nmi, reserved) == 9);
static_assert(std::has_unique_object_representations_v<acpi_madt_local_x2apic_nmi>);
static_assert(std::is_trivially_copyable_v<acpi_madt_local_x2apic_nmi>);

}  // namespace pvh::abi
