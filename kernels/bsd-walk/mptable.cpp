// SPDX-License-Identifier: BSD-2-Clause
#include "bsd-walk/mptable.hpp"

#include <pvh/abi/mp_table.hpp>

#include "bsd-walk/acpi.hpp"
#include "bsd-walk/claims.hpp"
#include "bsd-walk/machine.hpp"

namespace pvh::kernels::bsd {

namespace {

constexpr std::uint32_t kIds = 256;
constexpr std::uint8_t kAll = 0xff;
constexpr std::uint64_t kEbdaSegment = 0x40e;  // in the BIOS's data area, as is the next
constexpr std::uint64_t kBaseMemorySize = 0x413;
constexpr std::uint64_t kBios = 0xf0000, kBiosSize = 0x10000;
constexpr std::uint8_t kCom1Irq = 4;

// search_for_sig(): neither the checksum nor anything else is looked at.
std::uint64_t search(std::uint64_t first, std::uint64_t size) {
  constexpr std::array<char, 4> kSignature = {'_', 'M', 'P', '_'};
  for (std::uint64_t at = first; at < first + size; at += 16) {
    if (read<std::array<char, 4>>(at) == kSignature) {
      return at;
    }
  }
  return 0;
}

// mptable_probe(): base memory is searched only when there is no EBDA.
std::uint64_t probe(std::uint32_t base_memory) {
  const std::uint64_t ebda = std::uint64_t{read<base::Le16>(kEbdaSegment).get()} << 4;
  const std::uint64_t found = search(ebda != 0 ? ebda : base_memory * 1024 - 1024, 1024);
  return found != 0 ? found : search(kBios, kBiosSize);
}

// NetBSD: mpbios_probe() searches base memory up to where the BIOS says it ends, and checks sums.
std::uint64_t probe_netbsd() {
  constexpr std::uint64_t kHole = 0xa0000;
  const std::uint64_t ebda = std::uint64_t{read<base::Le16>(kEbdaSegment).get()} << 4;
  const std::uint64_t top = std::uint64_t{read<base::Le16>(kBaseMemorySize).get()} << 10;
  std::uint64_t found = ebda != 0 && ebda < kHole ? search(ebda, 1024) : 0;
  if (found == 0 && top >= 1024 && top <= kHole) {
    found = search(top - 1024, 1024);
  }
  return found != 0 ? found : search(kBios, kBiosSize);
}

// basetable_entry_types: 0 for one that makes FreeBSD panic.
std::uint32_t entry_size(std::uint8_t type) {
  switch (type) {
    case abi::MP_ENTRY_PROCESSOR:
      return sizeof(abi::mp_processor);
    case abi::MP_ENTRY_BUS:
      return sizeof(abi::mp_bus);
    case abi::MP_ENTRY_IO_APIC:
      return sizeof(abi::mp_io_apic);
    case abi::MP_ENTRY_IO_INTERRUPT:
    case abi::MP_ENTRY_LOCAL_INTERRUPT:
      return sizeof(abi::mp_interrupt);
    default:
      return 0;
  }
}

struct Table {
  std::uint64_t first;  // entry
  std::uint32_t count;
};

// mptable_walk_table(). Gives where it ends, 0 after an unknown entry.
template <typename Handler>
std::uint64_t walk(const Table& table, Handler handler) {
  std::uint64_t at = table.first;
  for (std::uint32_t i = 0; i < table.count; ++i) {
    const auto type = read<std::uint8_t>(at);
    const std::uint32_t size = entry_size(type);
    if (size == 0) {
      return 0;
    }
    handler(type, at);
    at += size;
  }
  return at;
}

// compute_entry_count(), which a FreeBSD with MPTABLE_LINUX_BUG_COMPAT has for a count of 0.
std::uint32_t count_entries(std::uint64_t at, std::uint64_t end) {
  std::uint32_t count = 0;
  for (std::uint32_t size = 1; at < end && size != 0; at += size) {
    size = entry_size(read<std::uint8_t>(at));
    count += size != 0 ? 1u : 0u;
  }
  return count;
}

struct Machine {
  std::uint32_t processors = 0;
  bool boot_processor = true;  // the one that runs, and no other
  bool isa = false;
  bool buses_known = true;
  std::uint32_t io_apics = 0;
  bool io_apics_good = true;
  std::uint32_t inputs = 0;
  bool com1 = false;
  std::uint32_t bad_interrupts = 0;
  std::uint32_t inputs_of[kIds] = {};  // of each I/O APIC
  bool bus[kIds] = {};
};

void add_processor(Machine& machine, const abi::mp_processor& entry) {
  if ((entry.cpu_flags & abi::MP_CPU_ENABLED) == 0) {
    return;
  }
  ++machine.processors;
  const bool marked = (entry.cpu_flags & abi::MP_CPU_BOOTSTRAP) != 0;
  machine.boot_processor =
      machine.boot_processor && marked == (entry.local_apic_id == cpuid(1).ebx >> 24);
}

// lookup_bus_type(): another name makes conforming_polarity() panic.
void add_bus(Machine& machine, const abi::mp_bus& entry) {
  const std::string_view name(entry.bus_type_string.data(), entry.bus_type_string.size());
  const bool isa = name == "ISA   "sv;
  machine.isa = machine.isa || isa;
  machine.buses_known = machine.buses_known && (isa || name == "PCI   "sv || name == "EISA  "sv);
  machine.bus[entry.bus_id] = true;
}

void add_io_apic(Machine& machine, const abi::mp_io_apic& entry) {
  if ((entry.io_apic_flags & abi::MP_IO_APIC_ENABLED) == 0) {
    return;
  }
  const std::uint32_t inputs = io_apic_inputs(entry.address.get());
  ++machine.io_apics;
  machine.io_apics_good =
      machine.io_apics_good && inputs != 0 && machine.inputs_of[entry.io_apic_id] == 0;
  machine.inputs_of[entry.io_apic_id] = inputs;
  machine.inputs += inputs;
}

// mptable_parse_io_int(), with its two reasons to ignore an entry.
void add_interrupt(Machine& machine, const abi::mp_interrupt& entry) {
  const std::uint32_t inputs = entry.destination_apic_id == kAll && machine.io_apics == 1
                                   ? machine.inputs
                                   : machine.inputs_of[entry.destination_apic_id];
  const bool good = entry.destination_apic_intin < inputs && machine.bus[entry.source_bus_id] &&
                    (entry.flags.get() & 3) != 2 && (entry.flags.get() >> 2 & 3) != 2;
  machine.bad_interrupts += good ? 0u : 1u;
  machine.com1 = machine.com1 || (good && entry.interrupt_type == abi::MP_INTERRUPT_INT &&
                                  entry.source_bus_irq == kCom1Irq);
}

Machine parse(const Table& table) {
  Machine machine;
  walk(table, [&machine](std::uint8_t type, std::uint64_t at) {
    if (type == abi::MP_ENTRY_PROCESSOR) {
      add_processor(machine, read<abi::mp_processor>(at));
    } else if (type == abi::MP_ENTRY_BUS) {
      add_bus(machine, read<abi::mp_bus>(at));
    } else if (type == abi::MP_ENTRY_IO_APIC) {
      add_io_apic(machine, read<abi::mp_io_apic>(at));
    }
  });
  walk(table, [&machine](std::uint8_t type, std::uint64_t at) {
    if (type == abi::MP_ENTRY_IO_INTERRUPT) {
      add_interrupt(machine, read<abi::mp_interrupt>(at));
    }
  });
  return machine;
}

void judge_machine(const Machine& machine, const Environment& environment) {
  const auto asked = environment.number("bsd.cpus"sv);
  judge(
      Claim::kMpProcessors,
      machine.processors != 0 && machine.boot_processor && (!asked || machine.processors == *asked),
      Line()
          .decimal(machine.processors)
          .text(machine.boot_processor ? ""sv : ", another one is marked"sv));
  judge(Claim::kMpBuses, machine.isa && machine.buses_known,
        Line().text(machine.isa ? "one that is not known"sv : "no ISA"sv));
  judge(Claim::kMpIoApic, machine.io_apics != 0 && machine.io_apics_good,
        Line().decimal(machine.io_apics).text(" enabled"sv));
  judge(Claim::kMpInterrupts, machine.com1 && machine.bad_interrupts == 0,
        Line()
            .decimal(machine.bad_interrupts)
            .text(machine.com1 ? " lead nowhere"sv : " lead nowhere, none is COM1's"sv));
}

// From this claim on.
void skip_all(Claim first, std::string_view why) {
  for (const Claim claim :
       {Claim::kMpFound, Claim::kMpConfig, Claim::kMpEntries, Claim::kMpProcessors, Claim::kMpBuses,
        Claim::kMpIoApic, Claim::kMpInterrupts, Claim::kMpNetBsd}) {
    if (claim >= first) {
      skip(claim, why);
    }
  }
}

}  // namespace

std::uint32_t walk_mp_table(std::uint32_t base_memory, const Environment& environment,
                            bool needed) {
  std::uint64_t pointer = probe(base_memory);
  if (pointer == 0 && !needed) {
    skip_all(Claim::kMpFound, "ACPI describes the processors"sv);
    return 0;
  }
  // Where Linux looks whatever the map says. A FreeBSD with MPTABLE_LINUX_BUG_COMPAT does too.
  const std::uint64_t compatible = pointer != 0 ? 0 : search(639 * 1024, 1024);
  judge(Claim::kMpFound, pointer != 0,
        Line().text(compatible != 0 ? "only at 639 KiB, outside base memory"sv : "nowhere"sv));
  pointer = pointer != 0 ? pointer : compatible;
  if (pointer == 0) {
    skip_all(Claim::kMpConfig, "no MP table"sv);
    return 0;
  }
  const auto floating = read<abi::mp_floating_pointer>(pointer);
  const std::uint64_t at = floating.physical_address.get();
  const bool reached = floating.feature_byte_1 == 0 && at < kMiB;
  const auto header = read<abi::mp_configuration_table>(reached ? at : 0);
  const std::uint32_t size = header.base_table_length.get();
  const bool config =
      reached && at + size < kMiB && header.signature == std::array<char, 4>{'P', 'C', 'M', 'P'};
  judge(Claim::kMpConfig, config, Line().text("table at "sv).hex(at));
  if (!config) {
    return 0;
  }
  Table table = {at + sizeof(header), header.entry_count.get()};
  const bool counted = table.count != 0;
  if (!counted) {
    table.count = count_entries(table.first, at + size);
  }
  const std::uint64_t end = walk(table, [](std::uint8_t, std::uint64_t) {});
  judge(Claim::kMpEntries, counted && end == at + size,
        counted ? Line()
                      .decimal(table.count)
                      .text(" entries end at "sv)
                      .hex(end)
                      .text(", the table at "sv)
                      .hex(at + size)
                : Line().text("entry_count is 0, of "sv).decimal(table.count));
  judge(Claim::kMpNetBsd,
        probe_netbsd() == pointer && sums_to_zero(pointer, sizeof(floating)) &&
            sums_to_zero(at, size),
        Line().text("not found, or a bad checksum"sv));
  if (end == 0) {
    return 0;
  }
  const Machine machine = parse(table);
  judge_machine(machine, environment);
  return machine.inputs;
}

}  // namespace pvh::kernels::bsd
