// SPDX-License-Identifier: BSD-2-Clause
// What has gone wrong in kernels in the field, each once, from the first byte of start_info to
// free(). The name of a test is the name of what went wrong. What no host test can have (registers
// at the entry point, notes in a file) is at the end: which test elsewhere has it.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/guest/boot.hpp>
#include <pvh/memory_map/edit.hpp>

#include "lib/guest/testing/acpi_builder.hpp"
#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest {
namespace {

using memory_map::RawEntry;
using memory_map::Type;
using testing::FakeMachine;
using testing::FakeXen;
using testing::has_reservation;

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

class Vectors : public ::testing::Test {
 protected:
  // What is left of a map, as the builder has it.
  Boot boot() {
    auto boot = builder_.boot();
    EXPECT_TRUE(boot) << name(boot.error().code) << " " << boot.error().value;
    EXPECT_EQ(testing::judge_free(*boot), "");
    return *boot;
  }
  void expect_error(BootErrorCode code) {
    const auto boot = builder_.boot();
    ASSERT_FALSE(boot);
    EXPECT_EQ(boot.error().code, code) << name(boot.error().code);
  }
  static bool is_free(const Boot& boot, std::uint64_t address) {
    return memory_map::lookup(boot.free(), base::PhysAddr(address)) != nullptr;
  }
  static std::optional<Type> type_at(const Boot& boot, std::uint64_t address) {
    const auto* const entry = memory_map::lookup(boot.memory_map(), base::PhysAddr(address));
    return entry == nullptr ? std::nullopt : std::optional(entry->type);
  }
  void put_text(std::uint64_t address, std::string text) {
    fake_.put(address, std::string_view(text.append(1, '\0')));
  }

  FakeMachine fake_;
  testing::BootBuilder builder_{fake_};
};

// ---- start_info

TEST_F(Vectors, Version0FollowedByPoison) {
  FakeXen xen(fake_);
  xen.map = {{0, 0x9fc00, 1}, {kMiB, 127 * kMiB, 1}};
  builder_.version = 0;
  builder_.place();
  // Whoever takes these for memmap_paddr and memmap_entries asks for 2.7 billion entries.
  fake_.put(builder_.start_info + 40, std::vector(16, std::byte{0xa5}));
  const auto boot = builder_.capture_at(base::PhysAddr(builder_.start_info));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->map_source(), MapSource::kXen);
  EXPECT_FALSE(boot->start_info().memmap);
  EXPECT_EQ(boot->start_info().memmap_entries, 0u);
  EXPECT_TRUE(has_reservation(*boot, ReservationKind::kStartInfo, builder_.start_info,
                              builder_.start_info + 39));
  EXPECT_EQ(testing::judge_free(*boot), "");
}

class StartInfoAt : public Vectors, public ::testing::WithParamInterface<std::uint64_t> {};

// Firecracker's place, behind the image as Xen has it, at odd addresses, across a page, across the
// reach of small page tables, and as high as EBX reaches.
TEST_P(StartInfoAt, IsFoundAndReserved) {
  const std::uint64_t at = GetParam();
  builder_.start_info = at;
  builder_.memmap = 0x9000;
  builder_.map = {{0, 0xa0000, 1}, {kMiB, 0xfff00000, 1}};
  const Boot boot = this->boot();
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kStartInfo, at, at + 55));
  EXPECT_FALSE(is_free(boot, at & ~(kPage - 1)));
  EXPECT_FALSE(is_free(boot, (at + 55) & ~(kPage - 1)));
}

INSTANTIATE_TEST_SUITE_P(Places, StartInfoAt,
                         ::testing::Values(0x6000, 0x300000, 0x6001, 0x6fff, 2 * kMiB - 56,
                                           4 * kMiB - 20, kGiB - 33, 2 * kGiB - 8, 3 * kGiB + 1,
                                           4 * kGiB - 56));

TEST_F(Vectors, StartInfoThatWrapsAfter4GiB) {
  builder_.start_info = 4 * kGiB - 55;
  expect_error(BootErrorCode::kStartInfoUnreadable);
}

// ---- the table

TEST_F(Vectors, NoEntries) {
  builder_.memmap_entries = 0;
  expect_error(BootErrorCode::kEmptyMap);
}

TEST_F(Vectors, NoAddress) {
  builder_.memmap = 0;
  expect_error(BootErrorCode::kMalformedMemmap);
}

TEST_F(Vectors, FourBillionEntries) {
  builder_.memmap_entries = 0xffffffff;
  expect_error(BootErrorCode::kMemmapTooLarge);
}

TEST_F(Vectors, MoreEntriesThanOthersCount) {
  for (const std::size_t count : {129u, 256u, 300u}) {
    FakeMachine fake;
    testing::BootBuilder builder(fake);
    builder.map.clear();
    for (std::size_t i = 0; i < count; ++i) {
      // The last one takes back what the first gave.
      const bool last = i == count - 1;
      builder.map.push_back({(last ? 16 : 16 + 2 * i) * kMiB, kMiB, last ? 2u : 1u});
    }
    builder.sizes.entries = count;
    const auto boot = builder.boot();
    ASSERT_TRUE(boot);
    EXPECT_EQ(boot->raw_memory_map().size(), count);
    EXPECT_FALSE(is_free(*boot, 16 * kMiB)) << count;
    EXPECT_EQ(boot->free().size(), count - 2);
  }
}

TEST_F(Vectors, Unsorted) {
  builder_.map = {{512 * kMiB, kMiB, 1}, {kGiB, kMiB, 2}, {kMiB, 15 * kMiB, 1}, {0, 0xa0000, 1}};
  const Boot boot = this->boot();
  EXPECT_TRUE(std::ranges::is_sorted(
      boot.memory_map(), {}, [](const memory_map::Entry& entry) { return entry.range.first(); }));
  EXPECT_TRUE(is_free(boot, 512 * kMiB));
  EXPECT_TRUE(is_free(boot, 15 * kMiB));
  EXPECT_FALSE(is_free(boot, kGiB));
}

TEST_F(Vectors, OneEntry) {
  builder_.map = {{0, 64 * kMiB, 1}};
  const Boot boot = this->boot();
  EXPECT_FALSE(is_free(boot, 0));
  EXPECT_TRUE(is_free(boot, 0x1000));
  EXPECT_FALSE(is_free(boot, 0xa0000));
  EXPECT_FALSE(is_free(boot, 0xff000));
  EXPECT_TRUE(is_free(boot, kMiB));
  EXPECT_FALSE(is_free(boot, 64 * kMiB));
}

TEST_F(Vectors, ZeroLength) {
  builder_.map = {{kMiB, 63 * kMiB, 1}, {2 * kMiB, 0, 2}, {128 * kMiB, 0, 1}, {0, 0, 0}};
  const Boot boot = this->boot();
  EXPECT_EQ(boot.map_report().zero_length, 3u);
  EXPECT_TRUE(is_free(boot, 4 * kMiB));
  EXPECT_FALSE(is_free(boot, 128 * kMiB));
  EXPECT_TRUE(boot.diagnostics().has(DiagnosticKind::kMapAnomaly));
}

TEST_F(Vectors, EndsExactlyAtTheTop) {
  fake_.set_physical_bits(52);
  builder_.map = {{kMiB, 63 * kMiB, 1}, {UINT64_MAX - kMiB + 1, kMiB, 2}};
  const Boot boot = this->boot();
  EXPECT_EQ(boot.map_report().wrapped_other, 0u);
  EXPECT_EQ(boot.free().back().range.last().value(), 64 * kMiB - 1);
}

TEST_F(Vectors, RamThatWrapsIsNone) {
  builder_.map = {{kMiB, 63 * kMiB, 1},
                  {512 * kMiB, UINT64_MAX - 256 * kMiB, 1},
                  {UINT64_MAX - kMiB + 1, kMiB + 1, 1}};
  const Boot boot = this->boot();
  EXPECT_EQ(boot.map_report().wrapped_ram, 2u);
  EXPECT_FALSE(is_free(boot, 512 * kMiB));
  EXPECT_EQ(boot.free().back().range.last().value(), 64 * kMiB - 1);
}

TEST_F(Vectors, ReservationThatWrapsReachesTheTop) {
  builder_.map = {{kMiB, 4095 * kMiB, 1}, {kGiB, UINT64_MAX, 2}};
  const Boot boot = this->boot();
  EXPECT_EQ(boot.map_report().wrapped_other, 1u);
  EXPECT_EQ(boot.free().back().range.last().value(), kGiB - 1);
}

TEST_F(Vectors, RamSmallerThanAPageAndUnaligned) {
  builder_.map = {{kMiB, 63 * kMiB, 1},
                  {0x10000100, 0x800, 1},    // within a page
                  {0x10002800, 0x1000, 1},   // across two, none of them whole
                  {0x10010800, 0x2000, 1}};  // one whole page
  const Boot boot = this->boot();
  for (const std::uint64_t page : {0x10000000u, 0x10002000u, 0x10003000u, 0x10010000u}) {
    EXPECT_FALSE(is_free(boot, page)) << std::hex << page;
  }
  EXPECT_TRUE(is_free(boot, 0x10011000));
  EXPECT_FALSE(is_free(boot, 0x10012000));
  EXPECT_EQ(boot.map_report().sub_page_ram, 2u);
}

TEST_F(Vectors, RamAndReservedOverlapInBothOrders) {
  for (const bool ram_first : {true, false}) {
    const RawEntry ram{16 * kMiB, 16 * kMiB, 1};
    const RawEntry reserved{20 * kMiB + 0x10, 0x20, 2};
    builder_.map = ram_first ? std::vector{ram, reserved} : std::vector{reserved, ram};
    const Boot boot = this->boot();
    EXPECT_TRUE(is_free(boot, 20 * kMiB - kPage));
    EXPECT_FALSE(is_free(boot, 20 * kMiB)) << "the whole page of 32 reserved bytes";
    EXPECT_TRUE(is_free(boot, 20 * kMiB + kPage));
    EXPECT_EQ(type_at(boot, 20 * kMiB), Type::kReserved);
  }
}

TEST_F(Vectors, TypesThatNobodyKnows) {
  for (const std::uint32_t type : {0u, 7u, 8u, 12u, 0xffffffffu}) {
    builder_.map = {{kMiB, 63 * kMiB, 1}, {8 * kMiB, kMiB, type}, {128 * kMiB, kMiB, type}};
    const Boot boot = this->boot();
    EXPECT_FALSE(is_free(boot, 8 * kMiB)) << type;
    EXPECT_FALSE(is_free(boot, 128 * kMiB)) << type;
    EXPECT_EQ(type_at(boot, 8 * kMiB), Type{type}) << "the number stays as it came";
    EXPECT_TRUE(is_free(boot, 9 * kMiB));
  }
}

class TableAt : public Vectors, public ::testing::WithParamInterface<std::uint64_t> {};

TEST_P(TableAt, IsReadAndReserved) {
  fake_.set_physical_bits(46);
  builder_.map = {{0, 0xa0000, 1}, {kMiB, 64 * kGiB, 1}};
  builder_.memmap = GetParam();
  const Boot boot = this->boot();
  EXPECT_TRUE(std::ranges::equal(boot.raw_memory_map(), builder_.map));
  EXPECT_TRUE(
      has_reservation(boot, ReservationKind::kMemoryMap, GetParam(), GetParam() + 2 * 24 - 1));
  EXPECT_FALSE(is_free(boot, GetParam()));
  EXPECT_FALSE(is_free(boot, GetParam() + 2 * 24 - 1));
}

INSTANTIATE_TEST_SUITE_P(Places, TableAt,
                         ::testing::Values(kGiB, 2 * kGiB, 4 * kGiB - 8, 5 * kGiB + 0x10));

// ---- modules

TEST_F(Vectors, ModuleRecordOfZeros) {
  builder_.modules = {{0, 0, 0, 0}, {16 * kMiB, 0x2000, 0, 0}};
  const Boot boot = this->boot();
  ASSERT_EQ(boot.modules().size(), 2u);
  EXPECT_FALSE(boot.modules()[0].range);
  EXPECT_EQ(boot.modules()[0].command_line, "");
  EXPECT_NE(boot.modules()[0].command_line.data(), nullptr);
  EXPECT_EQ(boot.modules()[1].index, 1u);
  EXPECT_FALSE(is_free(boot, 16 * kMiB));
}

TEST_F(Vectors, ModuleWithAGarbageTextPointer) {
  for (const std::uint64_t garbage : {std::uint64_t{0x965000000}, UINT64_MAX,
                                      std::uint64_t{0xf0000000}, std::uint64_t{1} << 63}) {
    builder_.modules = {{16 * kMiB, 0x2000, garbage, 0xa5a5a5a5a5a5a5a5}};
    const Boot boot = this->boot();
    ASSERT_EQ(boot.modules().size(), 1u);
    EXPECT_TRUE(boot.modules()[0].range);
    EXPECT_EQ(boot.modules()[0].command_line, "");
    EXPECT_FALSE(fake_.was_read(garbage)) << "it may be a device";
    EXPECT_TRUE(boot.diagnostics().has(DiagnosticKind::kModuleStringNotInRam));
    EXPECT_FALSE(is_free(boot, 16 * kMiB));
  }
}

TEST_F(Vectors, ModuleOverTheImage) {
  builder_.modules = {{16 * kMiB, kMiB, 0, 0}, {kMiB, kMiB + 1, 0, 0}};
  const auto boot = builder_.boot();
  ASSERT_FALSE(boot);
  EXPECT_EQ(boot.error(), (BootError{BootErrorCode::kModuleOverImage, 1}));
  builder_.modules[1].size = kMiB;  // it ends where the image begins
  EXPECT_EQ(this->boot().modules().size(), 2u);
}

TEST_F(Vectors, ModuleWhoseSizeWraps) {
  builder_.modules = {{16 * kMiB, UINT64_MAX, 0, 0}};
  const Boot boot = this->boot();
  ASSERT_EQ(boot.modules().size(), 1u);
  EXPECT_FALSE(boot.modules()[0].range);
  EXPECT_TRUE(boot.diagnostics().has(DiagnosticKind::kModuleWraps));
}

TEST_F(Vectors, ListOfNoModules) {
  builder_.nr_modules = 0;
  builder_.modlist = 0xdeadbeef000;
  EXPECT_TRUE(boot().modules().empty());
  EXPECT_FALSE(fake_.was_read(0xdeadbeef000));
}

TEST_F(Vectors, ModulesWithoutAList) {
  builder_.nr_modules = 3;
  builder_.modlist = 0;
  const Boot boot = this->boot();
  EXPECT_TRUE(boot.modules().empty());
  EXPECT_TRUE(boot.diagnostics().has(DiagnosticKind::kModuleListMissing));
}

// ---- command line

TEST_F(Vectors, CommandLineWithoutAnEnd) {
  builder_.place();
  fake_.add_memory(16 * kMiB, 0x20000);
  fake_.put(16 * kMiB, std::string_view(std::string(0x20000, 'x')));
  builder_.command_line = "";
  builder_.command_line_address = 8 * kMiB;
  builder_.place();
  fake_.put(builder_.start_info + 24, base::Le64(16 * kMiB));
  const auto boot = builder_.capture_at(base::PhysAddr(builder_.start_info));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), "");
  EXPECT_TRUE(boot->diagnostics().has(DiagnosticKind::kStringUnterminated));
  EXPECT_FALSE(fake_.was_read(16 * kMiB + kLongestString)) << "the search has a limit";
  EXPECT_FALSE(is_free(*boot, 16 * kMiB)) << "somebody put something there";
}

TEST_F(Vectors, CommandLineUpToTheLastByteOfMemory) {
  const std::string text = "console=ttyS0";
  builder_.command_line = text;
  builder_.command_line_address = 16 * kMiB - (text.size() + 1);
  const Boot boot = this->boot();
  EXPECT_EQ(boot.command_line(), text);
  EXPECT_TRUE(has_reservation(boot, ReservationKind::kCommandLine, builder_.command_line_address,
                              16 * kMiB - 1));
}

TEST_F(Vectors, CommandLineThatMemoryCutsOff) {
  fake_.put(16 * kMiB - 4, std::string_view("quie"));
  builder_.place();
  fake_.put(builder_.start_info + 24, base::Le64(16 * kMiB - 4));
  const auto boot = builder_.capture_at(base::PhysAddr(builder_.start_info));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), "");
  EXPECT_FALSE(is_free(*boot, 16 * kMiB - kPage));
}

TEST_F(Vectors, NoCommandLine) {
  // Address 0 is absent, and not the interrupt vectors.
  builder_.place();
  put_text(0, "not this");
  const auto boot = builder_.capture_at(base::PhysAddr(builder_.start_info));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), "");
  EXPECT_NE(boot->command_line().data(), nullptr);
}

// ---- ACPI

class AcpiVectors : public Vectors {
 protected:
  // One table, at 32 MiB in RAM.
  void put_root(std::uint64_t address) {
    fake_.put(address, testing::acpi_rsdp(0, 33 * kMiB));
    if (!fake_.get<std::uint8_t>(33 * kMiB)) {
      fake_.put(33 * kMiB, testing::acpi_xsdt({34 * kMiB}));
      fake_.put(34 * kMiB, testing::acpi_table("TEST", testing::AcpiBytes(0x1000)));
    }
  }
  static void expect_tables_reserved(const Boot& boot) {
    EXPECT_FALSE(is_free(boot, 33 * kMiB));
    EXPECT_FALSE(is_free(boot, 34 * kMiB));
    EXPECT_FALSE(is_free(boot, 34 * kMiB + kPage));
    EXPECT_TRUE(is_free(boot, 34 * kMiB + 2 * kPage));
  }
};

TEST_F(AcpiVectors, RsdpNotPassed) {
  builder_.place();
  put_root(0xe0000);
  const auto boot = builder_.capture_at(base::PhysAddr(builder_.start_info));
  ASSERT_TRUE(boot && boot->rsdp());
  EXPECT_EQ(boot->rsdp()->address.value(), 0xe0000u);
  EXPECT_FALSE(boot->rsdp()->passed);
  expect_tables_reserved(*boot);
}

TEST_F(AcpiVectors, RsdpWithABadSum) {
  builder_.rsdp = 0x50000;
  builder_.place();
  put_root(0x50000);
  put_root(0xe0000);
  fake_.put(0x50009, base::Le<std::uint8_t>(0x77));
  const auto boot = builder_.capture_at(base::PhysAddr(builder_.start_info));
  ASSERT_TRUE(boot && boot->rsdp());
  EXPECT_EQ(boot->rsdp()->address.value(), 0xe0000u);
  EXPECT_TRUE(boot->diagnostics().has(DiagnosticKind::kRsdpBad));
  expect_tables_reserved(*boot);
}

TEST_F(AcpiVectors, RsdpInAHoleOfTheMap) {
  builder_.rsdp = 0xa0000;
  builder_.map = {{0, 0xa0000, 1}, {kMiB, 127 * kMiB, 1}};
  builder_.place();
  put_root(0xa0000);
  const auto boot = builder_.capture_at(base::PhysAddr(builder_.start_info));
  ASSERT_TRUE(boot && boot->rsdp());
  EXPECT_TRUE(boot->rsdp()->passed);
  expect_tables_reserved(*boot);
}

TEST_F(AcpiVectors, NoneAtAll) {
  const Boot boot = this->boot();
  EXPECT_FALSE(boot.rsdp());
  EXPECT_TRUE(boot.diagnostics().has(DiagnosticKind::kRsdpMissing));
}

// ---- Xen

TEST_F(Vectors, XenBehindViridian) {
  FakeXen xen(fake_, FakeXen::Viridian::kInFront);
  xen.map = {{0, 0xa0000, 1}, {kMiB, 127 * kMiB, 1}};
  builder_.version = 0;
  const Boot boot = this->boot();
  EXPECT_EQ(boot.map_source(), MapSource::kXen);
  ASSERT_TRUE(boot.xen());
  EXPECT_EQ(boot.xen()->cpuid_base(), 0x40000100u);
  EXPECT_TRUE(fake_.written_msrs.empty()) << "no hypercall page is needed on this processor";
}

// The page's MSR is the leaf's, which is not Xen's first leaf.
TEST_F(Vectors, XenBehindViridianByTheHypercallPage) {
  FakeXen xen(fake_, FakeXen::Viridian::kInFront);
  fake_.set_vendor("Unheard of!!");
  xen.map = {{0, 0xa0000, 1}, {kMiB, 127 * kMiB, 1}};
  alignas(kPage) static std::array<std::byte, kPage> page;
  xen.hypercall_page = page;
  xen.hypercall_page_address = builder_.image.first().value();
  builder_.detect.hypercall_page = page;
  builder_.detect.hypercall_page_address = builder_.image.first();
  builder_.version = 0;
  const Boot boot = this->boot();
  EXPECT_EQ(boot.map_source(), MapSource::kXen);
  ASSERT_EQ(fake_.written_msrs.size(), 1u);
  EXPECT_EQ(fake_.written_msrs[0].first, 0x40000200u);
}

TEST_F(Vectors, XenWithoutTheHypercall) {
  FakeXen xen(fake_);  // without a map it is -ENOSYS, as in QEMU
  EXPECT_EQ(boot().map_source(), MapSource::kTable);
  builder_.version = 0;
  const auto refused = builder_.boot();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), (BootError{BootErrorCode::kMapHypercallFailed, 38}));
}

TEST_F(Vectors, XensMapExactlyAtCapacity) {
  FakeXen xen(fake_);
  builder_.version = 0;
  for (const std::size_t more : {0u, 1u, 2u, 100u}) {
    builder_.sizes.entries = 128;
    xen.map.emplace();
    for (std::size_t i = 0; i < 128 + more; ++i) {
      xen.map->push_back({kMiB * (16 + 2 * i), kMiB, 1});
    }
    const Boot boot = this->boot();
    EXPECT_EQ(boot.map_possibly_truncated(), more != 0) << more;
    EXPECT_TRUE(is_free(boot, kMiB * (16 + 2 * 127)));
    EXPECT_FALSE(is_free(boot, kMiB * (16 + 2 * 128))) << "what was cut off is not RAM";
  }
}

TEST_F(Vectors, XensMapCutOffWhereItHidesAReservation) {
  FakeXen xen(fake_);
  builder_.version = 0;
  builder_.sizes.entries = 128;
  xen.map.emplace(1, RawEntry{16 * kMiB, 8 * kGiB, 1});
  for (std::size_t i = 0; i < 200; ++i) {
    xen.map->push_back({kGiB + kMiB * 2 * i, kMiB, 2});
  }
  expect_error(BootErrorCode::kMapStorageTooSmall);
  builder_.sizes.entries = 256;
  EXPECT_FALSE(is_free(boot(), kGiB + kMiB * 2 * 199));
}

TEST_F(Vectors, XenThatClaimsMoreThanThereIsRoomFor) {
  FakeXen xen(fake_);
  builder_.version = 0;
  xen.map = {{kMiB, 127 * kMiB, 1}};
  xen.claimed_entries = 0xffffffff;
  expect_error(BootErrorCode::kMapHypercallFailed);
}

TEST_F(Vectors, Version0WithoutXen) {
  builder_.version = 0;
  expect_error(BootErrorCode::kVersion0WithoutXen);
}

// ---- elsewhere

struct Elsewhere {
  std::string_view vector;
  std::string_view file;
  std::string_view test;
};

// Registers need a processor, notes need a file. The poisoned shapes have DF, the tables' registers
// and every other register hostile; qboot's has Multiboot's magic number in EAX and a TR that was
// never loaded.
constexpr std::array kElsewhere{
    Elsewhere{"EAX=0x2BADB002", "tests/host_kvm_test.py",
              "test_a_peers_shape_is_a_shape_that_boots"},
    Elsewhere{"DF=1", "tests/host_kvm_test.py", "test_poison_changes_only_what_is_unspecified"},
    Elsewhere{"TR and LDTR junk", "tests/host_kvm_test.py",
              "test_poison_changes_only_what_is_unspecified"},
    Elsewhere{"notes: descsz, p_align, two PT_NOTEs", "lib/loader/notes_test.cpp",
              "EveryLayoutLeadsToTheEntry"},
    Elsewhere{"the same, booted", "tests/note_matrix_test.py",
              "test_the_note_is_found_and_the_kernel_boots"},
    Elsewhere{"FreeBSD's and Linux's choices", "tests/round_trip/differential_test.cpp",
              "ACaptureIsNeverLessSafeThanFreeBsdOrLinux"},
};

TEST(VectorsElsewhere, AreWhereItSaysThatTheyAre) {
  for (const Elsewhere& row : kElsewhere) {
    std::ifstream file(std::filesystem::path(PVH_SOURCE_DIR) / row.file);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_TRUE(text.contains(row.test)) << row.vector << ": " << row.file;
  }
}

}  // namespace
}  // namespace pvh::guest
