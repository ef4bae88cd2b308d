// SPDX-License-Identifier: BSD-2-Clause
// The tables as bytes, and as ACPICA's own compiler reads them (iasl, package acpica-tools).
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/acpi.hpp>
#include <pvh/devices/acpi_pm.hpp>
#include <pvh/vmm/acpi.hpp>

#include "aml.hpp"
#include "checksum.hpp"

namespace pvh::vmm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

MachineDescription machine(unsigned cpus, std::uint64_t room = 0x20000) {
  return {
      .cpus = cpus,
      .acpi_room = *base::Range::from_size(base::PhysAddr(0xe0040), base::ByteSize(room)),
      .rsdp = base::PhysAddr(0xe0000),
      .mp_table = {},
  };
}

const Table& named(const std::vector<Table>& tables, std::string_view name) {
  return *std::ranges::find(tables, name, &Table::name);
}

TEST(Acpi, SumsToZeroAndSaysItsLength) {
  for (const unsigned cpus : {1u, 2u, 255u, 256u, 4096u}) {
    const auto tables = build_acpi(machine(cpus, 0x100000));
    ASSERT_TRUE(tables) << to_text(tables.error());
    for (const Table& table : *tables) {
      EXPECT_EQ(byte_sum(table.bytes), 0) << table.name;
      const std::uint64_t length_at = table.name == "RSDP" ? 20 : 4;
      EXPECT_EQ(base::read_at<base::Le32>(table.bytes, length_at)->get(), table.bytes.size())
          << table.name;
    }
  }
}

TEST(Acpi, LeadsFromTheRootToEveryTable) {
  const auto tables = build_acpi(machine(2));
  ASSERT_TRUE(tables);
  ASSERT_EQ(tables->front().name, "RSDP");
  EXPECT_EQ(tables->front().address, base::PhysAddr(0xe0000));
  const auto rsdp = base::read_at<abi::acpi_table_rsdp>(tables->front().bytes, 0);
  ASSERT_TRUE(rsdp);
  EXPECT_EQ(byte_sum(base::Bytes(tables->front().bytes).first(20)), 0) << "for revision 0 readers";
  const Table& xsdt = named(*tables, "XSDT");
  EXPECT_EQ(rsdp->xsdt_physical_address.get(), xsdt.address.value());
  ASSERT_EQ(xsdt.bytes.size(), 36u + 2 * 8);
  EXPECT_EQ(base::read_at<base::Le64>(xsdt.bytes, 36)->get(),
            named(*tables, "FADT").address.value());
  EXPECT_EQ(base::read_at<base::Le64>(xsdt.bytes, 44)->get(),
            named(*tables, "MADT").address.value());
  const auto fadt = base::read_at<abi::acpi_table_fadt>(named(*tables, "FADT").bytes, 0);
  ASSERT_TRUE(fadt);
  EXPECT_EQ(fadt->Xdsdt.get(), named(*tables, "DSDT").address.value());
  EXPECT_EQ(fadt->dsdt.get(), fadt->Xdsdt.get());
}

TEST(Acpi, PlacesItsTablesApartInTheRoom) {
  const MachineDescription description = machine(255, 0x3000);
  const auto tables = build_acpi(description);
  ASSERT_TRUE(tables) << to_text(tables.error());
  std::optional<base::Range> before;
  for (const Table& table : *tables | std::views::drop(1)) {
    const auto range = base::Range::from_size(table.address, base::ByteSize(table.bytes.size()));
    ASSERT_TRUE(range);
    EXPECT_TRUE(description.acpi_room.contains(*range)) << table.name;
    EXPECT_TRUE(!before || before->last() < range->first()) << table.name;
    before = range;
  }
}

TEST(Acpi, NamesThePortsOfTheDevice) {
  const auto tables = build_acpi(machine(1));
  const auto fadt = base::read_at<abi::acpi_table_fadt>(named(*tables, "FADT").bytes, 0);
  EXPECT_EQ(fadt->reset_register.address.get(), devices::kResetPort);
  EXPECT_EQ(fadt->reset_register.space_id, abi::ACPI_ADR_SPACE_SYSTEM_IO);
  EXPECT_EQ(fadt->reset_value, devices::kResetValue);
  EXPECT_EQ(fadt->sleep_control.address.get(), devices::kSleepControlPort);
  EXPECT_EQ(fadt->sleep_status.address.get(), devices::kSleepStatusPort);
  constexpr std::uint32_t kFlags = abi::ACPI_FADT_HW_REDUCED | abi::ACPI_FADT_RESET_REGISTER;
  EXPECT_EQ(fadt->flags.get() & kFlags, kFlags);
}

TEST(Acpi, SaysWhichLegacyDevicesThereAre) {
  MachineDescription description = machine(1);
  const auto flags = [&description] {
    const auto tables = build_acpi(description);
    return base::read_at<abi::acpi_table_fadt>(named(*tables, "FADT").bytes, 0)->boot_flags.get();
  };
  EXPECT_EQ(flags(), abi::ACPI_FADT_LEGACY_DEVICES | abi::ACPI_FADT_NO_VGA);
  description.clock = false;
  description.serial = false;
  EXPECT_EQ(flags(), abi::ACPI_FADT_NO_CMOS_RTC | abi::ACPI_FADT_NO_VGA);
}

// Walks the MADT as a guest does.
std::vector<std::uint32_t> processors(const std::vector<std::byte>& madt, unsigned* x2apic) {
  std::vector<std::uint32_t> ids;
  for (std::uint64_t at = sizeof(abi::acpi_table_madt); at < madt.size();) {
    const auto type = std::to_integer<unsigned>(madt[at]);
    if (type == abi::ACPI_MADT_TYPE_LOCAL_APIC) {
      const auto entry = base::read_at<abi::acpi_madt_local_apic>(madt, at);
      EXPECT_EQ(entry->processor_id, entry->id);
      ids.push_back(entry->id);
    } else if (type == abi::ACPI_MADT_TYPE_LOCAL_X2APIC) {
      const auto entry = base::read_at<abi::acpi_madt_local_x2apic>(madt, at);
      EXPECT_EQ(entry->uid, entry->local_apic_id);
      ids.push_back(entry->local_apic_id.get());
      ++*x2apic;
    }
    const auto length = std::to_integer<unsigned>(madt[at + 1]);
    EXPECT_GE(length, 2u);
    at += std::max(length, 1u);
    EXPECT_LE(at, madt.size());
  }
  return ids;
}

TEST(Acpi, ListsEveryProcessorOnce) {
  for (const unsigned cpus : {1u, 2u, 254u, 255u, 256u, 1000u}) {
    const auto tables = build_acpi(machine(cpus));
    ASSERT_TRUE(tables);
    unsigned x2apic = 0;
    const auto ids = processors(named(*tables, "MADT").bytes, &x2apic);
    ASSERT_EQ(ids.size(), cpus);
    for (unsigned i = 0; i < cpus; ++i) {
      EXPECT_EQ(ids[i], i);
    }
    EXPECT_EQ(x2apic, cpus > 255 ? cpus - 255 : 0) << "from id 255 on";
  }
}

TEST(Acpi, RefusesWhatItCannotDescribe) {
  EXPECT_EQ(build_acpi(machine(0)).error().code, TableError::kCpuCount);
  EXPECT_EQ(build_acpi(machine(4097, 0x100000)).error().code, TableError::kCpuCount);
  EXPECT_EQ(build_acpi(machine(255, 0x1000)).error().code, TableError::kNoRoom);
  EXPECT_EQ(build_acpi(machine(1, 1)).error().code, TableError::kNoRoom);
  MachineDescription description = machine(1);
  description.rsdp = base::PhysAddr(0xe0008);
  EXPECT_EQ(build_acpi(description).error().code, TableError::kMisaligned);
  description = machine(1);
  description.acpi_room =
      *base::Range::from_size(base::PhysAddr(UINT32_MAX), base::ByteSize(0x10000));
  EXPECT_EQ(build_acpi(description).error().code, TableError::kOutOfReach);
}

TEST(Acpi, FitsExactlyOrNotAtAll) {
  const auto tables = build_acpi(machine(3));
  const Table& last = tables->back();
  const std::uint64_t used = last.address.value() + last.bytes.size() - 0xe0040;
  EXPECT_TRUE(build_acpi(machine(3, used)));
  EXPECT_EQ(build_acpi(machine(3, used - 1)).error().code, TableError::kNoRoom);
}

TEST(Aml, WritesTheShortestIntegers) {
  const auto size = [](std::uint64_t value) { return aml::integer(value).size(); };
  EXPECT_EQ(size(0), 1u);
  EXPECT_EQ(size(1), 1u);
  EXPECT_EQ(size(2), 2u);
  EXPECT_EQ(size(0xff), 2u);
  EXPECT_EQ(size(0x100), 3u);
  EXPECT_EQ(size(0xffff), 3u);
  EXPECT_EQ(size(0x10000), 5u);
  EXPECT_EQ(size(0xffffffff), 5u);
  EXPECT_EQ(size(0x100000000), 9u);
}

TEST(Aml, PacksEisaIds) {
  const aml::Term pnp0501{std::byte{0x0c}, std::byte{0x41}, std::byte{0xd0}, std::byte{0x05},
                          std::byte{0x01}};
  EXPECT_EQ(aml::eisa_id("PNP0501"), pnp0501);
}

// PkgLength: what it says, counted from itself, is where the package ends.
TEST(Aml, CountsItsPackagesOwnLength) {
  for (const std::size_t size : {0u, 55u, 56u, 57u, 58u, 59u, 60u, 4080u, 4085u, 4086u, 4087u,
                                 4088u, 4089u, 4090u, 5000u, 70000u, 1100000u}) {
    const aml::Term scope = aml::scope("_SB", {aml::Term(size)});
    const auto lead = std::to_integer<std::size_t>(scope[1]);
    const std::size_t more = lead >> 6;
    std::size_t length = more == 0 ? lead & 0x3f : lead & 0x0f;
    for (std::size_t i = 0; i < more; ++i) {
      length |= std::to_integer<std::size_t>(scope[2 + i]) << (4 + 8 * i);
    }
    EXPECT_EQ(length + 1, scope.size()) << size;
  }
}

// What iasl says, in a folder of its own.
class Iasl : public ::testing::Test {
 protected:
  void SetUp() override {
    // NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe): a test in one thread that needs a shell
    ASSERT_EQ(std::system("command -v iasl > /dev/null"), 0)
        << "iasl is missing; it is in the package acpica-tools";
    std::string name = ::testing::TempDir() + "pvh-acpi-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string run(const std::string& command) {
    const std::string line = "cd '" + folder_.string() + "' && " + command + " > out 2>&1";
    // NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe)
    const int status = std::system(line.c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << command;
    return read("out");
  }
  std::string read(const std::string& name) {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const Table& table) {
    std::ofstream file(folder_ / (table.name + ".aml"), std::ios::binary);
    for (const std::byte byte : table.bytes) {
      file.put(static_cast<char>(byte));
    }
  }

  std::filesystem::path folder_;
};

TEST_F(Iasl, AcceptsEveryTableAndTheDsdtItDisassembles) {
  for (const unsigned cpus : {1u, 2u, 255u, 300u}) {
    const auto tables = build_acpi(machine(cpus));
    ASSERT_TRUE(tables);
    for (const Table& table : *tables) {
      write(table);
      // The RSDP has no header; its fields are tested above.
      if (table.name == "RSDP") {
        continue;
      }
      const std::string said = run("iasl -d " + table.name + ".aml");
      EXPECT_THAT(said, AllOf(Not(HasSubstr("rror")), Not(HasSubstr("arning")),
                              Not(HasSubstr("nknown")), Not(HasSubstr("nvalid"))))
          << table.name;
      const std::string text = read(table.name + ".dsl");
      EXPECT_THAT(text, AllOf(Not(HasSubstr("ncorrect")), Not(HasSubstr("nknown")),
                              Not(HasSubstr("nvalid"))))
          << table.name;
    }
    const std::string said = run("iasl -p again DSDT.dsl");
    EXPECT_THAT(said, HasSubstr("0 Errors, 0 Warnings, 0 Remarks")) << said;
    const std::string before = read("DSDT.aml").substr(sizeof(abi::acpi_table_header));
    const std::string after = read("again.aml").substr(sizeof(abi::acpi_table_header));
    EXPECT_TRUE(before == after) << "not the same machine language for " << cpus;
  }
}

TEST_F(Iasl, SeesTheDevices) {
  const auto tables = build_acpi(machine(2));
  ASSERT_TRUE(tables);
  write(named(*tables, "DSDT"));
  run("iasl -d DSDT.aml");
  const std::string text = read("DSDT.dsl");
  for (const char* const part :
       {"Name (_S5, Package (0x04)", "Device (COM1)", "EisaId (\"PNP0501\")", "IO (Decode16,",
        "0x03F8,", "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive", "0x00000004,",
        "Device (PWRB)", "EisaId (\"PNP0C0C\")", "Device (GED)", "\"ACPI0013\"", "0x00000009,",
        "Method (_EVT, 1, NotSerialized)", "Notify (PWRB, 0x80)", "Device (RTC)",
        "EisaId (\"PNP0B00\")", "Device (C000)", "Device (C001)", "\"ACPI0007\""}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("Device (C002)")));
  EXPECT_THAT(text, Not(HasSubstr("LNRO0005")));
}

TEST_F(Iasl, SeesTheVirtioDevices) {
  MachineDescription description = machine(1);
  for (unsigned i = 0; i < 17; ++i) {
    const base::PhysAddr first(0xd0000000 + std::uint64_t{i} * 0x1000);
    description.virtio.push_back({*base::Range::from_size(first, base::ByteSize(0x1000)), i + 5});
  }
  const auto tables = build_acpi(description);
  ASSERT_TRUE(tables);
  write(named(*tables, "DSDT"));
  run("iasl -d DSDT.aml");
  const std::string text = read("DSDT.dsl");
  const std::size_t at = text.find("Device (V010)");
  ASSERT_NE(at, std::string::npos);
  const std::string last = text.substr(at, text.find("Device (C000)") - at);
  for (const char* const part :
       {"\"LNRO0005\"", "Name (_UID, 0x10)", "Name (_CCA, One)", "Memory32Fixed (ReadWrite,",
        "0xD0010000,", "0x00001000,", "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive",
        "0x00000015,"}) {
    EXPECT_THAT(last, HasSubstr(part));
  }
  const std::string said = run("iasl -p again DSDT.dsl");
  EXPECT_THAT(said, HasSubstr("0 Errors, 0 Warnings, 0 Remarks")) << said;
}

}  // namespace
}  // namespace pvh::vmm
