// SPDX-License-Identifier: BSD-2-Clause
// Walks the table as the strictest reader does (FreeBSD): by the number of entries, where an
// unknown type is fatal, and by the table's length, where the last entry must end.
#include <array>
#include <expected>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/mp_table.hpp>
#include <pvh/vmm/mp_table.hpp>

#include "checksum.hpp"

namespace pvh::vmm {
namespace {

using ::testing::HasSubstr;

MachineDescription machine(unsigned cpus, std::uint64_t at = 0xf0000,
                           std::uint64_t room = 0x10000) {
  return {
      .cpus = cpus,
      .acpi_room = *base::Range::from_size(base::PhysAddr(0xe0040), base::ByteSize(0x1000)),
      .rsdp = {},
      .mp_table = base::PhysAddr(at),
      .mp_table_room = base::ByteSize(room),
  };
}

struct Walked {
  std::vector<abi::mp_processor> processors;
  std::vector<abi::mp_bus> buses;
  std::vector<abi::mp_io_apic> io_apics;
  std::vector<abi::mp_interrupt> interrupts;
  std::vector<abi::mp_interrupt> local_interrupts;
};

template <typename T>
bool take(base::Bytes bytes, std::uint64_t& at, std::vector<T>& into) {
  const auto entry = base::read_at<T>(bytes, at);
  if (entry) {
    into.push_back(*entry);
    at += sizeof(T);
  }
  return entry.has_value();
}

// What is in the table, or why a reader would not take it.
std::expected<Walked, std::string> walk(const Table& table) {
  const base::Bytes bytes = table.bytes;
  const auto pointer = base::read_at<abi::mp_floating_pointer>(bytes, 0);
  if (!pointer || pointer->signature != std::array{'_', 'M', 'P', '_'} || pointer->length != 1 ||
      byte_sum(bytes.first(16)) != 0 || pointer->feature_byte_1 != 0) {
    return std::unexpected("floating pointer");
  }
  const std::uint64_t start = pointer->physical_address.get() - table.address.value();
  const auto header = base::read_at<abi::mp_configuration_table>(bytes, start);
  if (!header || header->signature != std::array{'P', 'C', 'M', 'P'} || header->spec_rev != 4) {
    return std::unexpected("header");
  }
  const std::uint64_t length = header->base_table_length.get();
  const auto whole = base::slice(bytes, start, length);
  if (!whole || byte_sum(*whole) != 0) {
    return std::unexpected("length or checksum");
  }
  Walked walked;
  std::uint64_t at = sizeof(*header);
  unsigned last_type = 0;
  for (unsigned i = 0; i < header->entry_count.get(); ++i) {
    if (at >= length) {
      return std::unexpected("more entries than bytes");
    }
    const auto type = std::to_integer<unsigned>((*whole)[at]);
    if (type < last_type) {
      return std::unexpected("not in ascending order");
    }
    last_type = type;
    const bool taken = type == abi::MP_ENTRY_PROCESSOR      ? take(*whole, at, walked.processors)
                       : type == abi::MP_ENTRY_BUS          ? take(*whole, at, walked.buses)
                       : type == abi::MP_ENTRY_IO_APIC      ? take(*whole, at, walked.io_apics)
                       : type == abi::MP_ENTRY_IO_INTERRUPT ? take(*whole, at, walked.interrupts)
                       : type == abi::MP_ENTRY_LOCAL_INTERRUPT
                           ? take(*whole, at, walked.local_interrupts)
                           : false;
    if (!taken) {
      return std::unexpected("unknown or cut entry " + std::to_string(type));
    }
  }
  if (at != length) {
    return std::unexpected("entries do not end with the table");
  }
  return walked;
}

TEST(MpTable, IsReadByTheStrictestWalker) {
  for (const unsigned cpus : {1u, 2u, 31u, 254u, 255u}) {
    const auto table = build_mp_table(machine(cpus));
    ASSERT_TRUE(table) << to_text(table.error());
    EXPECT_EQ(table->address, base::PhysAddr(0xf0000));
    const auto walked = walk(*table);
    ASSERT_TRUE(walked) << walked.error();
    EXPECT_EQ(walked->processors.size(), cpus);
    EXPECT_EQ(walked->buses.size(), 1u);
    EXPECT_EQ(walked->io_apics.size(), 1u);
    EXPECT_EQ(walked->interrupts.size(), 15u);
    EXPECT_EQ(walked->local_interrupts.size(), 2u);
  }
}

TEST(MpTable, WalkerRefusesAWrongCountALengthAndAType) {
  const auto table = build_mp_table(machine(2));
  ASSERT_TRUE(walk(*table));
  constexpr std::size_t kLength = 16 + 4;
  constexpr std::size_t kSum = 16 + 7;
  constexpr std::size_t kCount = 16 + 34;
  constexpr std::size_t kFirstEntry = 16 + 44;
  const auto broken = [&table](std::size_t at, int by) {
    Table copy = *table;
    const auto add = [&copy](std::size_t where, int what) {
      copy.bytes[where] =
          static_cast<std::byte>((std::to_integer<int>(copy.bytes[where]) + what) & 0xff);
    };
    add(at, by);
    add(kSum, -by);  // the checksum stays right
    return walk(copy);
  };
  EXPECT_FALSE(broken(kCount, 1)) << "as Firecracker's";
  EXPECT_FALSE(broken(kCount, -1));
  EXPECT_FALSE(broken(kLength, -8));
  EXPECT_FALSE(broken(kFirstEntry, 5));
}

TEST(MpTable, HasOneBootProcessorAndDistinctIds) {
  const auto walked = walk(*build_mp_table(machine(254)));
  ASSERT_TRUE(walked);
  std::set<unsigned> ids{walked->io_apics[0].io_apic_id};
  for (const abi::mp_processor& processor : walked->processors) {
    const bool first = processor.local_apic_id == 0;
    EXPECT_EQ(processor.cpu_flags, first ? 3 : 1);
    EXPECT_TRUE(ids.insert(processor.local_apic_id).second) << unsigned{processor.local_apic_id};
  }
  EXPECT_FALSE(ids.contains(0xff));
}

TEST(MpTable, RoutesIsaInterruptsAsKvmDoes) {
  const auto walked = walk(*build_mp_table(machine(1)));
  ASSERT_TRUE(walked);
  std::set<unsigned> irqs;
  for (const abi::mp_interrupt& interrupt : walked->interrupts) {
    EXPECT_EQ(interrupt.source_bus_irq, interrupt.destination_apic_intin);
    EXPECT_EQ(interrupt.destination_apic_id, walked->io_apics[0].io_apic_id);
    EXPECT_EQ(interrupt.source_bus_id, walked->buses[0].bus_id);
    irqs.insert(interrupt.source_bus_irq);
  }
  EXPECT_EQ(irqs.size(), 15u);
  EXPECT_FALSE(irqs.contains(2)) << "the cascade";
  EXPECT_EQ(walked->local_interrupts[0].interrupt_type, abi::MP_INTERRUPT_EXTINT);
  EXPECT_EQ(walked->local_interrupts[1].interrupt_type, abi::MP_INTERRUPT_NMI);
  EXPECT_EQ(walked->local_interrupts[1].destination_apic_intin, 1);
}

TEST(MpTable, NamesTheInterruptsOfVirtioDevicesThatIsaDoesNotHave) {
  MachineDescription description = machine(2);
  for (const std::uint32_t gsi : {5u, 15u, 16u, 23u}) {
    description.virtio.push_back({.registers = {}, .gsi = gsi});
  }
  const auto table = build_mp_table(description);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->bytes.size(), mp_table_size(description).value());
  const auto walked = walk(*table);
  ASSERT_TRUE(walked);
  ASSERT_EQ(walked->interrupts.size(), 17u);
  EXPECT_EQ(walked->interrupts[15].source_bus_irq, 16);
  EXPECT_EQ(walked->interrupts[15].destination_apic_intin, 16);
  EXPECT_EQ(walked->interrupts[16].destination_apic_intin, 23);
}

TEST(MpTable, SaysHowMuchRoomItNeeds) {
  EXPECT_EQ(mp_table_size({.cpus = 1}).value(), 232u);
  for (const unsigned cpus : {1u, 40u, 255u}) {
    const std::uint64_t size = mp_table_size({.cpus = cpus}).value();
    const auto table = build_mp_table(machine(cpus, 0xf0000, size));
    ASSERT_TRUE(table);
    EXPECT_EQ(table->bytes.size(), size);
    const auto refused = build_mp_table(machine(cpus, 0xf0000, size - 1));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, TableError::kNoRoom);
    EXPECT_THAT(to_text(refused.error()), HasSubstr(std::to_string(size)));
  }
  EXPECT_TRUE(build_mp_table(machine(40, 0x9fc00, 0x400))) << "what the last KiB holds";
  EXPECT_FALSE(build_mp_table(machine(41, 0x9fc00, 0x400)));
}

TEST(MpTable, RefusesWhatItCannotDescribe) {
  EXPECT_EQ(build_mp_table(machine(0)).error().code, TableError::kCpuCount);
  EXPECT_EQ(build_mp_table(machine(256)).error().code, TableError::kCpuCount);
  EXPECT_EQ(build_mp_table(machine(1, 0xf0004)).error().code, TableError::kMisaligned);
  EXPECT_EQ(build_mp_table(machine(1, 0x100000)).error().code, TableError::kOutOfReach);
  EXPECT_EQ(build_mp_table(machine(1, 0xfff20)).error().code, TableError::kOutOfReach)
      << "FreeBSD wants it to end before 1 MiB";
  EXPECT_TRUE(build_mp_table(machine(1, 0xfff10)));
  EXPECT_EQ(build_mp_table(machine(1, ~std::uint64_t{15})).error().code, TableError::kOutOfReach);
}

}  // namespace
}  // namespace pvh::vmm
