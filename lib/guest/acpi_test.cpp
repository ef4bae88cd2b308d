// SPDX-License-Identifier: BSD-2-Clause
#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/acpi.hpp>
#include <pvh/guest/acpi.hpp>

#include "lib/guest/testing/acpi_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"

namespace pvh::guest {
namespace {

using testing::acpi_rsdp;
using testing::acpi_rsdt;
using testing::acpi_table;
using testing::acpi_xsdt;
using testing::AcpiBytes;
using testing::append;
using ::testing::ElementsAre;
using testing::FakeMachine;
using ::testing::IsEmpty;
using testing::local_apic;
using testing::local_x2apic;
using ::testing::SizeIs;

base::Range range(std::uint64_t first, std::uint64_t last) {
  return *base::Range::from_last(base::PhysAddr(first), base::PhysAddr(last));
}

AcpiBytes filled(std::size_t size) {
  return AcpiBytes(size, std::byte{0x5a});
}

// Turns one bit of the byte at `address` over.
void damage(FakeMachine& fake, std::uint64_t address) {
  fake.put(address, base::Le<std::uint8_t>(
                        static_cast<std::uint8_t>(*fake.get<std::uint8_t>(address) ^ 0x10)));
}

class Acpi : public ::testing::Test {
 protected:
  Machine& machine() { return fake_.machine(); }
  std::optional<Rsdp> read(std::uint64_t address) {
    return read_rsdp(machine(), base::PhysAddr(address));
  }
  std::optional<Rsdp> find(std::optional<std::uint64_t> passed, bool may_search = true) {
    return find_rsdp(machine(), passed ? std::optional(base::PhysAddr(*passed)) : std::nullopt,
                     may_search, diagnostics_);
  }
  std::vector<std::uint64_t> tables(const Rsdp& rsdp) {
    std::vector<std::uint64_t> found;
    AcpiTables walk(machine(), rsdp, diagnostics_);
    while (const auto table = walk.next()) {
      EXPECT_TRUE(table->right);
      found.push_back(table->range.first().value());
    }
    EXPECT_EQ(walk.next(), std::nullopt) << "the end is the end";
    return found;
  }
  std::vector<base::Range> ranges(const Rsdp& rsdp, std::size_t room = 16) {
    std::vector<base::Range> out(room);
    const AcpiRanges result = acpi_ranges(machine(), rsdp, out, diagnostics_);
    needed_ = result.needed;
    return {result.ranges.begin(), result.ranges.end()};
  }
  // Right after `from`, or at it; what is listed is listed by an XSDT at 0x9000.
  Rsdp with_xsdt(const std::vector<std::uint64_t>& listed) {
    fake_.put(0x9000, acpi_xsdt(listed));
    fake_.put(0x8000, acpi_rsdp(0, 0x9000));
    return read(0x8000).value_or(Rsdp{});
  }

  FakeMachine fake_;
  Diagnostics diagnostics_;
  std::size_t needed_ = 0;
};

// ---- the root pointer

TEST_F(Acpi, RsdpOfRevision2HasAnXsdt) {
  fake_.put(0x1000, acpi_rsdp(0x5000, 0x1'2345'6000));
  EXPECT_EQ(read(0x1000), (Rsdp{.address = base::PhysAddr(0x1000),
                                .revision = 2,
                                .root = base::PhysAddr(0x1'2345'6000),
                                .root_is_xsdt = true}));
  EXPECT_EQ(read(0x1000)->size(), base::ByteSize(36));
}

TEST_F(Acpi, RsdpOfRevision0Has20Bytes) {
  fake_.put(0x1000, acpi_rsdp(0x5000, 0));
  EXPECT_EQ(read(0x1000), (Rsdp{.address = base::PhysAddr(0x1000), .root = base::PhysAddr(0x5000)}))
      << "nothing behind the 20 bytes is there to be read";
  EXPECT_EQ(read(0x1000)->size(), base::ByteSize(20));
}

TEST_F(Acpi, EveryDamagedByteOfAnRsdpIsSeen) {
  fake_.put(0x1000, acpi_rsdp(0x5000, 0x6000));
  for (std::uint64_t at = 0x1000; at < 0x1024; ++at) {
    damage(fake_, at);
    EXPECT_EQ(read(0x1000), std::nullopt) << at;
    damage(fake_, at);
  }
  EXPECT_NE(read(0x1000), std::nullopt);
}

TEST_F(Acpi, RsdpThatEndsTooEarlyIsNone) {
  auto bytes = acpi_rsdp(0x5000, 0x6000);
  bytes.resize(35);
  fake_.put(0x1000, bytes);
  EXPECT_EQ(read(0x1000), std::nullopt);
  // Length 20 with revision 2: the length lies in the second half, so only the second sum notices.
  bytes = acpi_rsdp(0x5000, 0x6000);
  bytes[20] = std::byte{20};
  bytes[32] = static_cast<std::byte>(std::to_integer<unsigned>(bytes[32]) + 16);
  fake_.put(0x2000, bytes);
  EXPECT_EQ(read(0x2000), std::nullopt);
  EXPECT_EQ(read(UINT64_MAX), std::nullopt);
  EXPECT_EQ(read(UINT64_MAX - 19), std::nullopt);
}

TEST_F(Acpi, SearchFindsWhatFirecrackerLeaves) {
  fake_.add_memory(0, 0x100000);
  fake_.put(0xe0000, acpi_rsdp(0, 0xe0040));
  const auto rsdp = find(std::nullopt);
  ASSERT_TRUE(rsdp);
  EXPECT_EQ(rsdp->address, base::PhysAddr(0xe0000));
  EXPECT_FALSE(rsdp->passed);
  EXPECT_THAT(diagnostics_.all(), IsEmpty());
}

TEST_F(Acpi, SearchFindsEveryPlaceAndNoOther) {
  fake_.add_memory(0, 0x100000);
  const auto zeros = AcpiBytes(36);
  for (const std::uint64_t at : {0xe0000u, 0xe0010u, 0xe00f0u, 0xe0100u, 0xf1230u, 0xfffd0u}) {
    fake_.put(at, acpi_rsdp(0x5000, 0x6000));
    EXPECT_EQ(search_rsdp(machine()).value_or(Rsdp{}).address, base::PhysAddr(at));
    fake_.put(at, zeros);
  }
  // Where 20 bytes are still inside.
  fake_.put(0xfffe0, acpi_rsdp(0x5000, 0));
  EXPECT_EQ(search_rsdp(machine()).value_or(Rsdp{}).address, base::PhysAddr(0xfffe0));
  fake_.put(0xfffe0, AcpiBytes(20));
  for (const std::uint64_t at : {0xdfff0u, 0xe0008u, 0xf1231u, 0x9fc00u, 0x10u}) {
    fake_.put(at, acpi_rsdp(0x5000, 0x6000));
    EXPECT_EQ(search_rsdp(machine()), std::nullopt) << std::hex << at;
    fake_.put(at, zeros);
  }
}

TEST_F(Acpi, SearchGoesOnBehindAWrongOne) {
  fake_.add_memory(0, 0x100000);
  auto wrong = acpi_rsdp(0x5000, 0x6000);
  wrong[35] = std::byte{1};
  fake_.put(0xe0020, wrong);
  fake_.put(0xe0050, acpi_rsdp(0x5000, 0x6000));
  EXPECT_EQ(search_rsdp(machine()).value_or(Rsdp{}).address, base::PhysAddr(0xe0050));
}

TEST_F(Acpi, SearchTakesTheEbdaFirst) {
  fake_.add_memory(0, 0x100000);
  fake_.put(0x40e, base::Le16(0x9fc0));
  fake_.put(0xe0000, acpi_rsdp(0x5000, 0));
  fake_.put(0x9fff0, acpi_rsdp(0x7000, 0));
  EXPECT_EQ(search_rsdp(machine()).value_or(Rsdp{}).root, base::PhysAddr(0x7000))
      << "the last place of its first KiB";
  fake_.put(0x9fff0, AcpiBytes(20));
  fake_.put(0x9fbf0, acpi_rsdp(0x7000, 0));
  EXPECT_EQ(search_rsdp(machine()).value_or(Rsdp{}).root, base::PhysAddr(0x5000));
}

TEST_F(Acpi, SearchOfWhatIsOnlyPartlyThere) {
  EXPECT_EQ(search_rsdp(machine()), std::nullopt);
  fake_.put(0xf0010, acpi_rsdp(0x5000, 0));
  EXPECT_EQ(search_rsdp(machine()).value_or(Rsdp{}).root, base::PhysAddr(0x5000));
}

TEST_F(Acpi, PassedRsdpIsNotSearched) {
  fake_.add_memory(0xe0000, 0x20000);
  fake_.put(0xa0000, acpi_rsdp(0, 0xa0040));
  fake_.put(0xe0000, acpi_rsdp(0x5000, 0));
  const auto rsdp = find(0xa0000);
  ASSERT_TRUE(rsdp);
  EXPECT_TRUE(rsdp->passed);
  EXPECT_EQ(rsdp->address, base::PhysAddr(0xa0000));
  EXPECT_FALSE(fake_.was_read(0xe0000));
}

TEST_F(Acpi, WrongRsdpIsToldAndSearched) {
  fake_.add_memory(0, 0x100000);
  fake_.put(0xe0000, acpi_rsdp(0x5000, 0));
  const auto rsdp = find(0x4000);
  ASSERT_TRUE(rsdp);
  EXPECT_FALSE(rsdp->passed);
  EXPECT_THAT(diagnostics_.all(), ElementsAre(Diagnostic{DiagnosticKind::kRsdpBad, 0, 0x4000}));
}

TEST_F(Acpi, NothingIsSearchedOnXen) {
  fake_.add_memory(0, 0x100000);
  fake_.put(0xe0000, acpi_rsdp(0x5000, 0));
  EXPECT_EQ(find(std::nullopt, false), std::nullopt);
  EXPECT_EQ(find(0x4000, false), std::nullopt);
  EXPECT_FALSE(fake_.was_read(0xe0000));
  EXPECT_TRUE(diagnostics_.has(DiagnosticKind::kRsdpBad));
  EXPECT_TRUE(diagnostics_.has(DiagnosticKind::kRsdpMissing));
}

// ---- the tables

TEST_F(Acpi, TablesOfAnXsdtAreAbove4GiBToo) {
  fake_.put(0x1'0000'0000, acpi_table("AAAA", filled(100)));
  fake_.put(0x2000, acpi_table("BBBB", {}));
  EXPECT_THAT(tables(with_xsdt({0x1'0000'0000, 0x2000})), ElementsAre(0x1'0000'0000u, 0x2000u));
  EXPECT_THAT(diagnostics_.all(), IsEmpty());
  EXPECT_EQ(find_acpi_table(machine(), *read(0x8000), "BBBB", diagnostics_),
            (AcpiTable{{'B', 'B', 'B', 'B'}, range(0x2000, 0x2023), true}));
  EXPECT_EQ(find_acpi_table(machine(), *read(0x8000), "CCCC", diagnostics_), std::nullopt);
}

TEST_F(Acpi, TablesOfAnRsdt) {
  fake_.put(0x2000, acpi_table("AAAA", {}));
  fake_.put(0xf000'0000, acpi_table("BBBB", {}));
  fake_.put(0x9000, acpi_rsdt({0x2000, 0xf000'0000}));
  fake_.put(0x8000, acpi_rsdp(0x9000, 0));
  EXPECT_THAT(tables(*read(0x8000)), ElementsAre(0x2000u, 0xf000'0000u));
}

TEST_F(Acpi, SumsOfAnyLengthAreRight) {
  for (std::size_t size = 0; size < 700; ++size) {
    FakeMachine fake;
    AcpiBytes body(size);
    for (std::size_t i = 0; i < size; ++i) {
      body[i] = static_cast<std::byte>(255 - i % 7);
    }
    for (const std::uint64_t limit : {std::uint64_t{1} << 32, std::uint64_t{0}}) {
      fake.view_limit = limit;
      fake.put(0x2000, acpi_table("AAAA", body));
      fake.put(0x9000, acpi_xsdt({0x2000}));
      Diagnostics diagnostics;
      const Rsdp rsdp{.address = {}, .root = base::PhysAddr(0x9000), .root_is_xsdt = true};
      EXPECT_TRUE(find_acpi_table(fake.machine(), rsdp, "AAAA", diagnostics)) << size;
      damage(fake, 0x2000 + 35 + size);
      EXPECT_FALSE(find_acpi_table(fake.machine(), rsdp, "AAAA", diagnostics)) << size;
    }
  }
}

TEST_F(Acpi, WrongTablesAreToldAndSkipped) {
  fake_.put(0x2000, acpi_table("AAAA", filled(8)));
  damage(fake_, 0x2028);
  fake_.put(0x3000, acpi_table("BBBB", {}));
  auto endless = acpi_table("CCCC", {});
  endless[4] = endless[5] = endless[6] = endless[7] = std::byte{0xff};
  fake_.put(0x4000, endless);
  auto short_one = acpi_table("DDDD", {});
  short_one[4] = std::byte{35};
  fake_.put(0x5000, short_one);
  EXPECT_THAT(tables(with_xsdt({0x2000, 0, 0x4000, 0x5000, 0x7777'0000, UINT64_MAX, 0x3000})),
              ElementsAre(0x3000u));
  const auto bad = [](std::uint64_t address, std::uint32_t signature) {
    return Diagnostic{DiagnosticKind::kAcpiTableBad, signature, address};
  };
  EXPECT_THAT(diagnostics_.all(),
              ElementsAre(bad(0x2000, 0x41414141), bad(0x4000, 0x43434343), bad(0x5000, 0x44444444),
                          bad(0x7777'0000, 0), bad(UINT64_MAX, 0)));
}

TEST_F(Acpi, WrongRootHasNoTables) {
  fake_.put(0x2000, acpi_table("AAAA", {}));
  const Rsdp rsdp = with_xsdt({0x2000});
  damage(fake_, 0x9020);
  EXPECT_THAT(tables(rsdp), IsEmpty());
  EXPECT_THAT(diagnostics_.all(), SizeIs(1));
  // But it lies there.
  EXPECT_THAT(ranges(rsdp), ElementsAre(range(0x8000, 0x902b), range(0x2000, 0x2023)));
  EXPECT_THAT(tables(Rsdp{}), IsEmpty());
}

TEST_F(Acpi, RootMayHaveAnyName) {
  fake_.put(0x2000, acpi_table("AAAA", {}));
  AcpiBytes body;
  append(body, base::Le64(0x2000));
  fake_.put(0x9000, acpi_table(std::string_view("S\xff\0\xf0", 4), body));
  fake_.put(0x8000, acpi_rsdp(0, 0x9000));
  EXPECT_THAT(tables(*read(0x8000)), ElementsAre(0x2000u)) << "as Xen 4.17 makes it for a dom0";
  EXPECT_THAT(ranges(*read(0x8000)), ElementsAre(range(0x8000, 0x902b), range(0x2000, 0x2023)));
  EXPECT_THAT(diagnostics_.all(), IsEmpty());
}

TEST_F(Acpi, RootThatListsItselfEnds) {
  const Rsdp rsdp = with_xsdt({0x9000, 0x9000, 0x9000});
  EXPECT_THAT(tables(rsdp), SizeIs(3));
  EXPECT_THAT(ranges(rsdp), SizeIs(1));
}

TEST_F(Acpi, WalkEndsAfterTheMost) {
  fake_.put(0x2000, acpi_table("AAAA", {}));
  fake_.put(0x2'0000, acpi_xsdt(std::vector<std::uint64_t>(kMostAcpiTables + 5, 0x2000)));
  fake_.put(0x1'0000, acpi_rsdp(0, 0x2'0000));
  EXPECT_THAT(tables(*read(0x1'0000)), SizeIs(kMostAcpiTables));
}

TEST_F(Acpi, RootThatEndsInTheMiddleOfAnEntry) {
  fake_.put(0x2000, acpi_table("AAAA", {}));
  AcpiBytes body;
  append(body, base::Le64(0x2000));
  append(body, base::Le32(0x2000));
  fake_.put(0x9000, acpi_table("XSDT", body));
  fake_.put(0x8000, acpi_rsdp(0, 0x9000));
  EXPECT_THAT(tables(*read(0x8000)), ElementsAre(0x2000u));
}

// ---- what is reserved

TEST_F(Acpi, RangesAreAllThatIsPointedAt) {
  abi::acpi_table_fadt fadt{};
  fadt.dsdt = base::Le32(0x3'0000);
  fadt.Xdsdt = base::Le64(0x1'4000'0000);
  fadt.facs = base::Le32(0x5'0000);
  fake_.put(0x1'0000, testing::acpi_fadt(fadt));
  fake_.put(0x3'0000, testing::acpi_dsdt("old"));
  fake_.put(0x1'4000'0000, testing::acpi_dsdt("new"));
  fake_.put(0x5'0000, acpi_table("FACS", AcpiBytes(28)));
  damage(fake_, 0x5'0009);  // it has no checksum
  fake_.put(0x7'0000, acpi_table("APIC", filled(0x2000)));
  damage(fake_, 0x7'1000);
  const Rsdp rsdp = with_xsdt({0x1'0000, 0x7'0000});
  EXPECT_THAT(ranges(rsdp),
              ElementsAre(range(0x8000, 0x9033), range(0x1'0000, 0x1'0113),
                          range(0x3'0000, 0x3'0026), range(0x1'4000'0000, 0x1'4000'0026),
                          range(0x5'0000, 0x5'003f), range(0x7'0000, 0x7'2023)))
      << "and what has a wrong checksum still lies there";
  EXPECT_EQ(needed_, 6u);
  EXPECT_THAT(ranges(rsdp, 2), ElementsAre(range(0x8000, 0x9033), range(0x1'0000, 0x1'0113)));
  EXPECT_EQ(needed_, 6u);
  EXPECT_THAT(ranges(rsdp, 0), IsEmpty());
  EXPECT_GT(needed_, 0u);
}

TEST_F(Acpi, OldFadtHasNoWideFields) {
  abi::acpi_table_fadt fadt{};
  fadt.dsdt = base::Le32(0x3'0000);
  fadt.Xdsdt = base::Le64(0x4'0000);
  fake_.put(0x1'0000, testing::acpi_fadt(fadt, 116));
  fake_.put(0x3'0000, testing::acpi_dsdt(""));
  fake_.put(0x4'0000, testing::acpi_dsdt(""));
  EXPECT_THAT(
      ranges(with_xsdt({0x1'0000})),
      ElementsAre(range(0x8000, 0x902b), range(0x1'0000, 0x1'0073), range(0x3'0000, 0x3'0023)));
}

TEST_F(Acpi, PointerToNothingIsTold) {
  abi::acpi_table_fadt fadt{};
  fadt.dsdt = base::Le32(0x3'0000);
  fake_.put(0x1'0000, testing::acpi_fadt(fadt));
  EXPECT_THAT(ranges(with_xsdt({0x1'0000})), SizeIs(2));
  EXPECT_THAT(diagnostics_.all(),
              ElementsAre(Diagnostic{DiagnosticKind::kAcpiTableBad, 0, 0x3'0000}));
}

TEST_F(Acpi, FindAcpiAsksStartInfo) {
  fake_.add_memory(0, 0x10'0000);
  fake_.put(0xe0000, acpi_rsdp(0, 0xe0040));
  fake_.put(0xe0040, acpi_xsdt({}));
  std::array<base::Range, 4> out;
  StartInfo info;
  AcpiFound found = find_acpi(machine(), info, false, out, diagnostics_);
  ASSERT_TRUE(found.rsdp);
  EXPECT_THAT(found.ranges.ranges, ElementsAre(range(0xe0000, 0xe0063)));
  found = find_acpi(machine(), info, true, out, diagnostics_);
  EXPECT_FALSE(found.rsdp);
  EXPECT_EQ(found.ranges.needed, 0u);
  info.rsdp = base::PhysAddr(0xe0000);
  found = find_acpi(machine(), info, true, out, diagnostics_);
  EXPECT_TRUE(found.rsdp && found.rsdp->passed);
}

// ---- processors

class Madt : public Acpi {
 protected:
  // `entries` behind the MADT's fields.
  std::vector<Processor> processors(const AcpiBytes& entries, std::size_t room = 16,
                                    std::uint8_t revision = 4) {
    AcpiBytes body;
    append(body, base::Le32(0xfee0'0000));
    append(body, base::Le32(1));
    body.insert(body.end(), entries.begin(), entries.end());
    FakeMachine fake;
    fake.put(0x2000, acpi_table("APIC", body, revision));
    fake.put(0x9000, acpi_xsdt({0x2000}));
    std::vector<Processor> out(room);
    const auto found = acpi_processors(
        fake.machine(), {.address = {}, .root = base::PhysAddr(0x9000), .root_is_xsdt = true}, out,
        diagnostics_);
    needed_ = found.needed;
    return {found.processors.begin(), found.processors.end()};
  }
};

TEST_F(Madt, BothKindsInTheirOrder) {
  AcpiBytes entries;
  append(entries, local_apic(0, 0));
  append(entries, abi::acpi_madt_io_apic{.type = 1,
                                         .length = 12,
                                         .id = 0,
                                         .reserved = 0,
                                         .address = base::Le32(0xfec0'0000),
                                         .global_irq_base = {}});
  append(entries, local_apic(1, 4, 0));
  append(entries, local_x2apic(300, 0x1234));
  EXPECT_THAT(processors(entries), ElementsAre(Processor{0, 0, true}, Processor{4, 1, false},
                                               Processor{0x1234, 300, true}));
  EXPECT_EQ(needed_, 3u);
}

TEST_F(Madt, NoneWithoutATable) {
  std::array<Processor, 2> out;
  fake_.put(0x8000, acpi_rsdp(0, 0x9000));
  EXPECT_EQ(acpi_processors(machine(), *read(0x8000), out, diagnostics_).needed, 0u);
  EXPECT_THAT(processors({}), IsEmpty());
}

TEST_F(Madt, EachProcessorOnce) {
  AcpiBytes entries;
  append(entries, local_apic(7, 1));
  append(entries, local_apic(8, 1));
  append(entries, local_x2apic(9, 1));
  append(entries, local_x2apic(9, 2));
  EXPECT_THAT(processors(entries), ElementsAre(Processor{1, 7, true}, Processor{2, 9, true}));
  EXPECT_EQ(needed_, 2u);
}

TEST_F(Madt, BroadcastIdsAreNoProcessors) {
  AcpiBytes entries;
  append(entries, local_apic(1, 0xff));
  append(entries, local_x2apic(2, 0xffffffff));
  append(entries, local_x2apic(3, 0xff));
  EXPECT_THAT(processors(entries), ElementsAre(Processor{0xff, 3, true}));
}

TEST_F(Madt, WhoCanNeverBeEnabledIsLeftOutWhereThatIsTold) {
  AcpiBytes entries;
  append(entries, local_apic(1, 1, 0));
  append(entries, local_apic(2, 2, abi::ACPI_MADT_ONLINE_CAPABLE));
  append(entries, local_apic(3, 3, abi::ACPI_MADT_ENABLED));
  EXPECT_THAT(processors(entries, 16, 5),
              ElementsAre(Processor{2, 2, false}, Processor{3, 3, true}));
  EXPECT_THAT(processors(entries, 16, 4), SizeIs(3));
}

TEST_F(Madt, NoRoomIsCounted) {
  AcpiBytes entries;
  for (std::uint8_t i = 0; i < 5; ++i) {
    append(entries, local_apic(i, i));
  }
  EXPECT_THAT(processors(entries, 2), SizeIs(2));
  EXPECT_EQ(needed_, 5u);
  EXPECT_THAT(processors(entries, 0), IsEmpty());
  EXPECT_EQ(needed_, 5u);
}

TEST_F(Madt, EntryWithoutAnEndIsTheLast) {
  const AcpiBytes one = [] {
    AcpiBytes entries;
    append(entries, local_apic(0, 0));
    return entries;
  }();
  const auto with = [&](std::initializer_list<int> tail) {
    AcpiBytes entries = one;
    for (const int byte : tail) {
      entries.push_back(static_cast<std::byte>(byte));
    }
    return entries;
  };
  // Length 0 and 1, longer than what is left, and a lone byte.
  for (const auto& entries : {with({0, 0, 1, 1, 1, 0, 0, 0}), with({0, 1, 1, 1, 1, 0, 0, 0}),
                              with({0, 9, 1, 1, 1, 0, 0, 0}), with({0})}) {
    EXPECT_THAT(processors(entries), SizeIs(1));
  }
  // Too short for what it says it is; what follows is read.
  AcpiBytes entries = with({0, 7, 1, 1, 1, 0, 0});
  append(entries, local_apic(2, 2));
  EXPECT_THAT(processors(entries), ElementsAre(Processor{0, 0, true}, Processor{2, 2, true}));
}

}  // namespace
}  // namespace pvh::guest
