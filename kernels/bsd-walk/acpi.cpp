// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/acpi.hpp"

#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"
#include "common/aml.hpp"

namespace pvh::kernels::bsd {

namespace {

using Signature = std::array<char, 4>;

constexpr std::array<char, 8> kRsdp = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
constexpr Signature kXsdt = {'X', 'S', 'D', 'T'}, kRsdt = {'R', 'S', 'D', 'T'},
                    kFadt = {'F', 'A', 'C', 'P'}, kMadt = {'A', 'P', 'I', 'C'},
                    kDsdt = {'D', 'S', 'D', 'T'};

bool good_rsdp(std::uint64_t at) {
  if (!within(kDirectReach, at, sizeof(abi::acpi_table_rsdp))) {
    return false;
  }
  const auto rsdp = read<abi::acpi_table_rsdp>(at);
  return rsdp.signature == kRsdp && sums_to_zero(at, abi::kRsdpSizeV1) &&
         (rsdp.revision < 2 || sums_to_zero(at, sizeof(rsdp)));
}

std::uint64_t scan(std::uint64_t first, std::uint64_t size) {
  for (std::uint64_t at = first; at < first + size; at += 16) {
    if (good_rsdp(at)) {
      return at;
    }
  }
  return 0;
}

// AcpiOsGetRootPointer() and, without a word from the loader, AcpiFindRootPointer().
std::uint64_t find_root(const Boot& boot) {
  if (const std::uint64_t given = boot.info.rsdp_paddr.get(); given != 0) {
    return given;
  }
  const std::uint64_t ebda = std::uint64_t{read<base::Le16>(0x40e).get()} << 4;
  const std::uint64_t in_ebda = ebda > 0x400 ? scan(ebda, 1024) : 0;
  return in_ebda != 0 ? in_ebda : scan(0xe0000, 0x20000);
}

// map_table(): all of it can be reached and its checksum is good.
bool good_table(std::uint64_t at, Signature signature) {
  if (at == 0 || !within(kDirectReach, at, sizeof(abi::acpi_table_header))) {
    return false;
  }
  const auto header = read<abi::acpi_table_header>(at);
  return header.signature == signature && header.length.get() >= sizeof(header) &&
         within(kDirectReach, at, header.length.get()) && sums_to_zero(at, header.length.get());
}

struct Root {
  std::uint64_t table = 0;
  unsigned width = 0;
};

// acpi_find_table(): the first with this signature, 0 without one.
std::uint64_t find_table(const Root& root, Signature signature) {
  const std::uint64_t end = root.table + read<abi::acpi_table_header>(root.table).length.get();
  for (std::uint64_t at = root.table + sizeof(abi::acpi_table_header); at + root.width <= end;
       at += root.width) {
    const std::uint64_t table =
        root.width == 8 ? read<base::Le64>(at).get() : read<base::Le32>(at).get();
    if (good_table(table, signature)) {
      return table;
    }
  }
  return 0;
}

bool has_power(const Acpi& acpi) {
  const abi::acpi_table_fadt& fadt = *acpi.fadt;
  const std::uint32_t flags = fadt.flags.get();
  const bool reduced = (flags & abi::ACPI_FADT_HW_REDUCED) != 0;
  const bool sleep =
      reduced ? fadt.sleep_control.address.get() != 0 && fadt.sleep_status.address.get() != 0
              : fadt.pm1a_control_block.get() != 0;
  // QEMU's pc says nothing of a reset register; i8042 is then what FreeBSD resets by.
  const bool reset = (flags & abi::ACPI_FADT_RESET_REGISTER) == 0
                         ? !reduced
                         : fadt.reset_register.address.get() != 0;
  return sleep && reset && aml::sleep_type(acpi.dsdt);
}

void judge_fadt(const Root& root, Acpi& acpi) {
  const std::uint64_t at = find_table(root, kFadt);
  std::uint64_t dsdt = 0;
  if (at != 0) {
    // An older one is shorter: what it has not is 0.
    auto bytes = read<std::array<std::byte, sizeof(abi::acpi_table_fadt)>>(at);
    for (std::size_t i = read<abi::acpi_table_header>(at).length.get(); i < bytes.size(); ++i) {
      bytes[i] = std::byte{0};
    }
    acpi.fadt = std::bit_cast<abi::acpi_table_fadt>(bytes);
    dsdt = acpi.fadt->Xdsdt.get() != 0 ? acpi.fadt->Xdsdt.get() : acpi.fadt->dsdt.get();
  }
  const bool good = at != 0 && good_table(dsdt, kDsdt);
  judge(Claim::kAcpiFadt, good, Line().text("FADT "sv).hex(at).text(" DSDT "sv).hex(dsdt));
  if (!good) {
    return;
  }
  acpi.dsdt = {reinterpret_cast<const char*>(dsdt + kDirectMap),
               read<abi::acpi_table_header>(dsdt).length.get()};
  acpi.dsdt.remove_prefix(sizeof(abi::acpi_table_header));
  judge(Claim::kAcpiPower, has_power(acpi),
        Line().text("FADT flags "sv).hex(acpi.fadt->flags.get()));
}

// ---- madt.c

constexpr std::uint32_t kMostIds = 1024;

struct Madt {
  bool ends = false;  // where the table does
  bool ids_differ = true;
  bool boot_processor = false;
  std::uint32_t processors = 0;
  std::uint32_t io_apics = 0;
  std::uint32_t silent = 0;  // I/O APICs that do not answer
  bool from_zero = false;
  std::uint32_t inputs = 0;
  std::uint32_t bad_overrides = 0;
};

void add_processor(Madt& madt, std::uint32_t id, std::uint32_t flags) {
  static bool seen[kMostIds];
  if ((flags & abi::ACPI_MADT_ENABLED) == 0) {
    return;
  }
  ++madt.processors;
  madt.ids_differ = madt.ids_differ && id < kMostIds && !seen[id % kMostIds];
  seen[id % kMostIds] = true;
  madt.boot_processor = madt.boot_processor || id == cpuid(1).ebx >> 24;
}

void add_io_apic(Madt& madt, const abi::acpi_madt_io_apic& entry) {
  const std::uint32_t inputs = io_apic_inputs(entry.address.get());
  ++madt.io_apics;
  madt.silent += inputs == 0 ? 1u : 0u;
  madt.from_zero = madt.from_zero || entry.global_irq_base.get() == 0;
  madt.inputs += inputs;
}

void walk_entry(Madt& madt, std::uint64_t at, std::uint8_t type) {
  switch (type) {
    case abi::ACPI_MADT_TYPE_LOCAL_APIC: {
      const auto entry = read<abi::acpi_madt_local_apic>(at);
      add_processor(madt, entry.id, entry.lapic_flags.get());
      break;
    }
    case abi::ACPI_MADT_TYPE_LOCAL_X2APIC: {
      const auto entry = read<abi::acpi_madt_local_x2apic>(at);
      add_processor(madt, entry.local_apic_id.get(), entry.lapic_flags.get());
      break;
    }
    case abi::ACPI_MADT_TYPE_IO_APIC:
      add_io_apic(madt, read<abi::acpi_madt_io_apic>(at));
      break;
    default:
      break;
  }
}

// madt_walk_table(): its handlers go through it once each, the I/O APICs before the overrides.
Madt walk_madt(std::uint64_t table) {
  Madt madt;
  const std::uint64_t end = table + read<abi::acpi_table_header>(table).length.get();
  std::uint64_t at = table + sizeof(abi::acpi_table_madt);
  for (std::uint8_t length = 0; at + 2 <= end; at += length) {
    length = read<std::uint8_t>(at + 1);
    if (length < 2 || at + length > end) {
      return madt;
    }
    walk_entry(madt, at, read<std::uint8_t>(at));
  }
  madt.ends = at == end;
  for (at = table + sizeof(abi::acpi_table_madt); at + 2 <= end; at += read<std::uint8_t>(at + 1)) {
    if (read<std::uint8_t>(at) == abi::ACPI_MADT_TYPE_INTERRUPT_OVERRIDE) {
      const auto entry = read<abi::acpi_madt_interrupt_override>(at);
      const bool good =
          entry.bus == 0 && entry.source_irq < 16 && entry.global_irq.get() < madt.inputs;
      madt.bad_overrides += good ? 0u : 1u;
    }
  }
  return madt;
}

void judge_madt(const Root& root, const Environment& environment, Acpi& acpi) {
  const std::uint64_t table = find_table(root, kMadt);
  acpi.madt = table != 0;
  judge(Claim::kAcpiMadt, acpi.madt, Line().text("none, or its checksum is bad"sv));
  if (!acpi.madt) {
    return;
  }
  const Madt madt = walk_madt(table);
  acpi.inputs = madt.inputs;
  judge(Claim::kMadtEntries, madt.ends, Line().text("an entry passes the end of the table"sv));
  const auto asked = environment.number("bsd.cpus"sv);
  judge(Claim::kMadtProcessors,
        madt.ids_differ && madt.processors != 0 && (!asked || madt.processors == *asked),
        Line().decimal(madt.processors).text(madt.ids_differ ? ""sv : ", an id twice"sv));
  judge(Claim::kMadtBoot, madt.boot_processor,
        Line().text("no entry for id "sv).decimal(cpuid(1).ebx >> 24));
  judge(Claim::kMadtIoApic, madt.io_apics != 0 && madt.silent == 0 && madt.from_zero,
        Line().decimal(madt.io_apics).text(", silent: "sv).decimal(madt.silent));
  judge(Claim::kMadtOverrides, madt.bad_overrides == 0,
        Line().decimal(madt.bad_overrides).text(" that lead nowhere"sv));
}

}  // namespace

bool sums_to_zero(std::uint64_t address, std::uint64_t size) {
  std::uint8_t sum = 0;
  for (std::uint64_t i = 0; i < size; ++i) {
    sum = static_cast<std::uint8_t>(sum + read<std::uint8_t>(address + i));
  }
  return sum == 0;
}

// sys/x86/x86/io_apic.c, ioapic_create(): the version register.
std::uint32_t io_apic_inputs(std::uint64_t address) {
  constexpr std::uint32_t kVersion = 1;
  constexpr std::uint64_t kWindow = 0x10;
  if (address == 0 || !within(kDirectReach, address, kPage)) {
    return 0;
  }
  write_register(address, kVersion);
  const std::uint32_t value = read_register(address + kWindow);
  return value == UINT32_MAX || (value & 0xff) < 0x11 ? 0 : (value >> 16 & 0xff) + 1;
}

Acpi walk_acpi(const Boot& boot, const Environment& environment) {
  Acpi acpi;
  const std::uint64_t rsdp = find_root(boot);
  if (rsdp == 0) {
    for (const Claim claim :
         {Claim::kAcpiRoot, Claim::kAcpiXsdt, Claim::kAcpiFadt, Claim::kAcpiPower, Claim::kAcpiMadt,
          Claim::kMadtEntries, Claim::kMadtProcessors, Claim::kMadtBoot, Claim::kMadtIoApic,
          Claim::kMadtOverrides}) {
      skip(claim, "no ACPI"sv);
    }
    return acpi;
  }
  acpi.root = good_rsdp(rsdp);
  judge(Claim::kAcpiRoot, acpi.root, Line().text("RSDP "sv).hex(rsdp));
  if (!acpi.root) {
    return acpi;
  }
  const auto pointer = read<abi::acpi_table_rsdp>(rsdp);
  const bool extended = pointer.revision >= 2 && pointer.xsdt_physical_address.get() != 0;
  const Root root = {
      extended ? pointer.xsdt_physical_address.get() : pointer.rsdt_physical_address.get(),
      extended ? 8u : 4u};
  const bool good = good_table(root.table, extended ? kXsdt : kRsdt);
  judge(Claim::kAcpiXsdt, good, Line().text("root table "sv).hex(root.table));
  if (!good) {
    return acpi;
  }
  judge_fadt(root, acpi);
  judge_madt(root, environment, acpi);
  return acpi;
}

}  // namespace pvh::kernels::bsd
