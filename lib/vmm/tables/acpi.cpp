// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <pvh/abi/acpi.hpp>
#include <pvh/base/try.hpp>
#include <pvh/devices/acpi_pm.hpp>
#include <pvh/devices/cmos.hpp>
#include <pvh/devices/serial.hpp>
#include <pvh/vmm/acpi.hpp>
#include <pvh/vmm/layout.hpp>

#include "aml.hpp"
#include "checksum.hpp"

namespace pvh::vmm {
namespace {

using base::Le16;
using base::Le32;
using base::Le64;

constexpr unsigned kMaxCpus = 4096;            // C000 to CFFF
constexpr unsigned kFirstX2ApicId = 255;       // 255 is "all" to an APIC of eight bits
constexpr base::ByteSize kTableAlignment{64};  // a cache line; the FACS, absent, would need it

constexpr std::uint8_t kPressed = 0x80;  // Notify's value for a button

constexpr std::array<char, 6> kOemId{'P', 'V', 'H', ' ', ' ', ' '};
constexpr std::array<char, 8> kOemTableId{'P', 'V', 'H', 'M', 'A', 'C', 'H', 'N'};
constexpr std::array<char, 4> kCompilerId{'P', 'V', 'H', ' '};

std::unexpected<TableFault> fault(TableError code, std::string detail) {
  return std::unexpected(TableFault{code, std::move(detail), std::nullopt});
}

abi::acpi_table_header header(std::array<char, 4> signature, std::uint8_t revision,
                              std::size_t length) {
  return {
      .signature = signature,
      .length = Le32(static_cast<std::uint32_t>(length)),
      .revision = revision,
      .checksum = 0,
      .oem_id = kOemId,
      .oem_table_id = kOemTableId,
      .oem_revision = Le32(1),
      .asl_compiler_id = kCompilerId,
      .asl_compiler_revision = Le32(1),
  };
}

// A table's body behind its header, with length and checksum.
std::vector<std::byte> finish(std::array<char, 4> signature, std::uint8_t revision,
                              const std::vector<std::byte>& body) {
  std::vector<std::byte> bytes;
  append(bytes, header(signature, revision, sizeof(abi::acpi_table_header) + body.size()));
  bytes.insert(bytes.end(), body.begin(), body.end());
  bytes[offsetof(abi::acpi_table_header, checksum)] = checksum(bytes);
  return bytes;
}

// The part of a structure that lies behind its header.
template <base::Wire T>
std::vector<std::byte> body_of(const T& table) {
  const auto bytes = base::to_bytes(table);
  return {bytes.begin() + sizeof(abi::acpi_table_header), bytes.end()};
}

constexpr abi::acpi_generic_address io_byte(std::uint16_t port) {
  return {
      .space_id = abi::ACPI_ADR_SPACE_SYSTEM_IO,
      .bit_width = 8,
      .bit_offset = 0,
      .access_width = 1,
      .address = Le64(port),
  };
}

std::vector<std::byte> make_dsdt(const MachineDescription& description) {
  std::vector<aml::Term> devices;
  if (description.serial) {
    const auto port = static_cast<std::uint16_t>(devices::kCom1Port);
    devices.push_back(aml::device(
        "COM1", {aml::name("_HID", aml::eisa_id("PNP0501")), aml::name("_UID", aml::integer(1)),
                 aml::name("_CRS", aml::resources({aml::io_ports(port, devices::kSerialPorts),
                                                   aml::edge_interrupt(devices::kCom1Irq)}))}));
  }
  if (description.clock) {
    // Without its interrupt, which is not connected: drivers then offer no alarm.
    const auto port = static_cast<std::uint16_t>(devices::kCmosPort);
    devices.push_back(aml::device(
        "RTC", {aml::name("_HID", aml::eisa_id("PNP0B00")),
                aml::name("_CRS", aml::resources({aml::io_ports(port, devices::kCmosPorts)}))}));
  }
  // Hardware-reduced machines have no fixed power button: one is a device, and its event an
  // interrupt of the generic event device. [ACPI 6.5, 5.6.9]
  devices.push_back(aml::device("PWRB", {aml::name("_HID", aml::eisa_id("PNP0C0C"))}));
  devices.push_back(aml::device(
      "GED", {aml::name("_HID", aml::string("ACPI0013")),
              aml::name("_CRS", aml::resources({aml::edge_interrupt(kPowerButtonInterrupt)})),
              aml::method("_EVT", 1, {aml::notify("PWRB", kPressed)})}));
  for (unsigned i = 0; i < description.virtio.size(); ++i) {
    // The name that Linux, FreeBSD and NetBSD know the MMIO transport by.
    const VirtioSlot& slot = description.virtio[i];
    devices.push_back(aml::device(
        aml::NameSegment::numbered('V', i),
        {aml::name("_HID", aml::string("LNRO0005")), aml::name("_UID", aml::integer(i)),
         aml::name("_CCA", aml::integer(1)),
         aml::name("_CRS",
                   aml::resources({aml::memory(slot.registers), aml::edge_interrupt(slot.gsi)}))}));
  }
  for (unsigned cpu = 0; cpu < description.cpus; ++cpu) {
    devices.push_back(aml::device(
        aml::NameSegment::numbered('C', cpu),
        {aml::name("_HID", aml::string("ACPI0007")), aml::name("_UID", aml::integer(cpu))}));
  }
  const aml::Term s5 =
      aml::name("_S5", aml::package({aml::integer(devices::kSleepTypeS5), aml::integer(0),
                                     aml::integer(0), aml::integer(0)}));
  std::vector<std::byte> body = s5;
  const aml::Term system_bus = aml::scope("_SB", devices);
  body.insert(body.end(), system_bus.begin(), system_bus.end());
  return finish({'D', 'S', 'D', 'T'}, 2, body);
}

std::vector<std::byte> make_fadt(const MachineDescription& description, base::PhysAddr dsdt) {
  std::uint32_t boot_flags = abi::ACPI_FADT_NO_VGA;
  boot_flags |= description.serial ? abi::ACPI_FADT_LEGACY_DEVICES : 0u;
  boot_flags |= description.clock ? 0u : abi::ACPI_FADT_NO_CMOS_RTC;
  abi::acpi_table_fadt fadt{};
  fadt.dsdt = Le32(static_cast<std::uint32_t>(dsdt.value()));
  fadt.Xdsdt = Le64(dsdt.value());
  fadt.c2_latency = Le16(0xffff);  // no C2, no C3
  fadt.c3_latency = Le16(0xffff);
  fadt.century = description.clock ? devices::kCmosCentury : std::uint8_t{0};
  fadt.boot_flags = Le16(static_cast<std::uint16_t>(boot_flags));
  fadt.flags =
      Le32(abi::ACPI_FADT_WBINVD | abi::ACPI_FADT_POWER_BUTTON | abi::ACPI_FADT_SLEEP_BUTTON |
           abi::ACPI_FADT_FIXED_RTC | abi::ACPI_FADT_RESET_REGISTER | abi::ACPI_FADT_HEADLESS |
           abi::ACPI_FADT_HW_REDUCED);
  fadt.reset_register = io_byte(devices::kResetPort);
  fadt.reset_value = devices::kResetValue;
  fadt.minor_revision = 5;
  fadt.sleep_control = io_byte(devices::kSleepControlPort);
  fadt.sleep_status = io_byte(devices::kSleepStatusPort);
  return finish({'F', 'A', 'C', 'P'}, 6, body_of(fadt));
}

std::vector<std::byte> make_madt(const MachineDescription& description) {
  abi::acpi_table_madt madt{};
  madt.address = Le32(static_cast<std::uint32_t>(kLocalApicBase.value()));
  madt.flags = Le32(abi::ACPI_MADT_PCAT_COMPAT);
  std::vector<std::byte> body = body_of(madt);
  for (unsigned cpu = 0; cpu < std::min(description.cpus, kFirstX2ApicId); ++cpu) {
    append(body, abi::acpi_madt_local_apic{
                     .type = abi::ACPI_MADT_TYPE_LOCAL_APIC,
                     .length = sizeof(abi::acpi_madt_local_apic),
                     .processor_id = static_cast<std::uint8_t>(cpu),
                     .id = static_cast<std::uint8_t>(cpu),
                     .lapic_flags = Le32(abi::ACPI_MADT_ENABLED),
                 });
  }
  for (unsigned cpu = kFirstX2ApicId; cpu < description.cpus; ++cpu) {
    append(body, abi::acpi_madt_local_x2apic{
                     .type = abi::ACPI_MADT_TYPE_LOCAL_X2APIC,
                     .length = sizeof(abi::acpi_madt_local_x2apic),
                     .reserved = {},
                     .local_apic_id = Le32(cpu),
                     .lapic_flags = Le32(abi::ACPI_MADT_ENABLED),
                     .uid = Le32(cpu),
                 });
  }
  append(body, abi::acpi_madt_io_apic{
                   .type = abi::ACPI_MADT_TYPE_IO_APIC,
                   .length = sizeof(abi::acpi_madt_io_apic),
                   .id = 0,  // as its register says after reset
                   .reserved = 0,
                   .address = Le32(static_cast<std::uint32_t>(kIoApicBase.value())),
                   .global_irq_base = Le32(0),
               });
  append(body, abi::acpi_madt_local_apic_nmi{
                   .type = abi::ACPI_MADT_TYPE_LOCAL_APIC_NMI,
                   .length = sizeof(abi::acpi_madt_local_apic_nmi),
                   .processor_id = 0xff,
                   .inti_flags = Le16(0),
                   .lint = 1,
               });
  if (description.cpus > kFirstX2ApicId) {
    append(body, abi::acpi_madt_local_x2apic_nmi{
                     .type = abi::ACPI_MADT_TYPE_LOCAL_X2APIC_NMI,
                     .length = sizeof(abi::acpi_madt_local_x2apic_nmi),
                     .inti_flags = Le16(0),
                     .uid = Le32(0xffffffff),
                     .lint = 1,
                     .reserved = {},
                 });
  }
  return finish({'A', 'P', 'I', 'C'}, 5, body);
}

std::vector<std::byte> make_rsdp(base::PhysAddr xsdt) {
  const abi::acpi_table_rsdp rsdp{
      .signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
      .checksum = 0,
      .oem_id = kOemId,
      .revision = 2,
      .rsdt_physical_address = Le32(0),
      .length = Le32(sizeof(abi::acpi_table_rsdp)),
      .xsdt_physical_address = Le64(xsdt.value()),
      .extended_checksum = 0,
      .reserved = {},
  };
  std::vector<std::byte> bytes;
  append(bytes, rsdp);
  bytes[offsetof(abi::acpi_table_rsdp, checksum)] =
      checksum(base::Bytes(bytes).first(abi::kRsdpSizeV1));
  bytes[offsetof(abi::acpi_table_rsdp, extended_checksum)] = checksum(bytes);
  return bytes;
}

// Hands out the room from its start.
class Placer {
 public:
  explicit Placer(base::Range room) : room_(room), next_(room.first()) {}

  std::expected<base::PhysAddr, TableFault> place(std::size_t size) {
    const auto first = next_ ? next_->align_up(kTableAlignment) : std::nullopt;
    const auto range = first ? base::Range::from_size(*first, base::ByteSize(size)) : std::nullopt;
    if (!range || !room_.contains(*range)) {
      return fault(TableError::kNoRoom, fmt::format("ACPI in {:#x} bytes", room_.size().value()));
    }
    next_ = range->end();
    return range->first();
  }

 private:
  base::Range room_;
  std::optional<base::PhysAddr> next_;
};

}  // namespace

base::Explanation explain(TableError code) {
  switch (code) {
    case TableError::kCpuCount:
      return {"the machine's tables cannot describe this number of CPUs", ""};
    case TableError::kMisaligned:
      return {"a table that guests search for is not aligned to 16 bytes", ""};
    case TableError::kNoRoom:
      return {"the machine's tables do not fit into the room for them", "ask for fewer --cpus"};
    case TableError::kOutOfReach:
      return {"a table lies where its readers cannot reach it", ""};
  }
  return {"unknown error", ""};
}

std::expected<std::vector<Table>, TableFault> build_acpi(const MachineDescription& description) {
  if (description.cpus == 0 || description.cpus > kMaxCpus) {
    return fault(TableError::kCpuCount,
                 fmt::format("{}, ACPI names 1 to {}", description.cpus, kMaxCpus));
  }
  if (!description.rsdp.is_aligned(base::ByteSize(16))) {
    return fault(TableError::kMisaligned, fmt::format("RSDP at {:#x}", description.rsdp.value()));
  }
  if (description.acpi_room.last() > base::PhysAddr(UINT32_MAX)) {
    return fault(TableError::kOutOfReach,
                 fmt::format("ACPI up to {:#x}", description.acpi_room.last().value()));
  }
  constexpr std::size_t kTables = 2;  // in the XSDT
  Placer placer(description.acpi_room);
  const base::PhysAddr xsdt_at =
      TRY(placer.place(sizeof(abi::acpi_table_header) + kTables * sizeof(Le64)));
  const base::PhysAddr fadt_at = TRY(placer.place(sizeof(abi::acpi_table_fadt)));
  std::vector<std::byte> madt = make_madt(description);
  const base::PhysAddr madt_at = TRY(placer.place(madt.size()));
  std::vector<std::byte> dsdt = make_dsdt(description);
  const base::PhysAddr dsdt_at = TRY(placer.place(dsdt.size()));

  std::vector<std::byte> list;
  append(list, Le64(fadt_at.value()));
  append(list, Le64(madt_at.value()));
  return std::vector<Table>{
      {"RSDP", description.rsdp, make_rsdp(xsdt_at)},
      {"XSDT", xsdt_at, finish({'X', 'S', 'D', 'T'}, 1, list)},
      {"FADT", fadt_at, make_fadt(description, dsdt_at)},
      {"MADT", madt_at, std::move(madt)},
      {"DSDT", dsdt_at, std::move(dsdt)},
  };
}

}  // namespace pvh::vmm
