// SPDX-License-Identifier: BSD-2-Clause
// The remarks of the review that this runtime grew from, each as a test that carries its name.
//
// FreeBSD's "x86: Add support for PVH version 1 memmap" (reviews.freebsd.org D35800, committed as
// 023a025b5cb1, reviewed by royger) taught a kernel that knew only Xen's hypercall to take the
// memory map from start_info. What the review came to, in our words:
//
//   ConstViews               what the loader handed over is only read, so the types say const
//   SizeTCounts              counts and lengths are size_t; and a count is not a size in bytes
//   PhysicalToVirtualOffset  an address in start_info is physical: it needs an explicit way to a
//                            pointer, and the early page tables do not reach everything
//   TypesEqualToSmap         the numbers of the map's types are those of the BIOS's, by assertion
//                            and not by coincidence
//   HypercallOnlyOnXen       a start_info of version 0 is no proof of Xen: assert before calling it
//   Version0And1NamedRightly PVH has generations, by Xen's name for the mode; it is the start_info
//                            that has a version, 0 or 1
#include <concepts>
#include <cstdint>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/e820.hpp>
#include <pvh/abi/start_info.hpp>
#include <pvh/guest/boot.hpp>
#include <pvh/guest/xen.hpp>
#include <pvh/memory_map/edit.hpp>

#include "lib/guest/testing/boot_builder.hpp"
#include "lib/guest/testing/fake_machine.hpp"
#include "lib/guest/testing/fake_xen.hpp"

namespace pvh::guest {
namespace {

using memory_map::RawEntry;
using testing::BootBuilder;
using testing::FakeMachine;
using testing::FakeXen;
using testing::has_reservation;

constexpr std::uint64_t kPage = 0x1000;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// A machine with one of everything: two modules, texts, ACPI by its root pointer alone.
void fill(BootBuilder& builder, FakeMachine& fake) {
  builder.map = {{0, 0xa0000, 1}, {kMiB, 63 * kMiB, 1}, {0xfec00000, kPage, 2}};
  builder.command_line = "console=ttyS0 -- init";
  builder.modules = {{8 * kMiB, 3 * kPage, 0x30000, 0}, {9 * kMiB, 17, 0x30100, 0}};
  fake.add_memory(8 * kMiB, 2 * kMiB);
  // The builder adds low memory when it places.
  builder.place();
  fake.put(0x30000, std::string_view("initrd\0", 7));
  fake.put(0x30100, std::string_view("second\0", 7));
}

// ---- ConstViews

// Everything that a Boot shows, by type: nothing in it can be written through.
template <typename Span>
concept SpanOfConst = std::is_const_v<typename Span::element_type>;
static_assert(SpanOfConst<decltype(std::declval<const Boot&>().memory_map())>);
static_assert(SpanOfConst<decltype(std::declval<const Boot&>().raw_memory_map())>);
static_assert(SpanOfConst<decltype(std::declval<const Boot&>().modules())>);
static_assert(SpanOfConst<decltype(std::declval<const Boot&>().reservations())>);
static_assert(SpanOfConst<decltype(std::declval<const Boot&>().free())>);
static_assert(SpanOfConst<decltype(std::declval<const Boot&>().diagnostics().all())>);
static_assert(SpanOfConst<decltype(std::declval<const Boot&>().hypervisors().all())>);
static_assert(std::same_as<decltype(std::declval<const Boot&>().command_line()), std::string_view>);
static_assert(std::same_as<decltype(Module::command_line), std::string_view>);
template <typename Reference>
concept ReferenceToConst = std::is_const_v<std::remove_reference_t<Reference>>;
static_assert(ReferenceToConst<decltype(std::declval<Boot&>().start_info())>);
static_assert(ReferenceToConst<decltype(std::declval<Boot&>().rsdp())>);
static_assert(ReferenceToConst<decltype(std::declval<Boot&>().map_report())>);
static_assert(ReferenceToConst<decltype(std::declval<Boot&>().xen())>);

TEST(ConstViews, CaptureLeavesEveryByteOfTheMachineAsItWas) {
  FakeMachine fake;
  BootBuilder builder(fake);
  fill(builder, fake);
  const auto all = [&] {
    std::vector<std::byte> bytes(kMiB);
    EXPECT_TRUE(fake.machine().read(base::PhysAddr(0), bytes));
    std::vector<std::byte> modules(2 * kMiB);
    EXPECT_TRUE(fake.machine().read(base::PhysAddr(8 * kMiB), modules));
    bytes.insert(bytes.end(), modules.begin(), modules.end());
    return bytes;
  };
  const auto before = all();

  const auto boot = builder.capture_at(base::PhysAddr(builder.start_info));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->command_line(), "console=ttyS0 -- init");
  ASSERT_EQ(boot->modules().size(), 2u);
  EXPECT_EQ(boot->modules()[1].command_line, "second");
  EXPECT_TRUE(before == all());
}

// Not even with the bytes that were there: another processor, or the monitor, may be looking.
class NeverWritten final : public Machine::Backend {
 public:
  explicit NeverWritten(FakeMachine& fake) : fake_(fake) {}

  bool read(base::PhysAddr address, base::MutableBytes out) override {
    return fake_.machine().read(address, out);
  }
  bool write(base::PhysAddr address, base::Bytes bytes) override {
    ADD_FAILURE() << bytes.size() << " bytes are written to " << std::hex << address.value();
    return false;
  }
  // A copy: who writes through a view changes nothing in the machine but is found out below.
  std::optional<base::MutableBytes> view(base::Range range) override {
    const auto bytes = fake_.machine().view(range);
    if (!bytes) {
      return std::nullopt;
    }
    return views_.emplace_back(range, std::vector(bytes->begin(), bytes->end())).second;
  }
  [[nodiscard]] bool views_are_unchanged() const {
    return std::ranges::all_of(views_, [this](const auto& view) {
      const auto original = fake_.machine().view(view.first);
      return original && std::ranges::equal(*original, view.second);
    });
  }
  [[nodiscard]] std::size_t views() const { return views_.size(); }

  std::optional<std::uint32_t> read_mmio32(base::PhysAddr /*address*/) override {
    ADD_FAILURE() << "a device is read";
    return std::nullopt;
  }
  bool write_mmio32(base::PhysAddr /*address*/, std::uint32_t /*value*/) override {
    ADD_FAILURE() << "a device is written";
    return false;
  }
  CpuidResult cpuid(std::uint32_t leaf, std::uint32_t subleaf) override {
    return fake_.machine().cpuid(leaf, subleaf);
  }
  std::uint64_t read_msr(std::uint32_t index) override { return fake_.machine().read_msr(index); }
  void write_msr(std::uint32_t index, std::uint64_t /*value*/) override {
    ADD_FAILURE() << "MSR " << std::hex << index << " is written";
  }
  std::uint64_t read_tsc() override { return fake_.machine().read_tsc(); }
  std::uint32_t in(std::uint16_t port, int /*width*/) override {
    ADD_FAILURE() << "port " << std::hex << port << " is read";
    return UINT32_MAX;
  }
  void out(std::uint16_t port, std::uint32_t /*value*/, int /*width*/) override {
    ADD_FAILURE() << "port " << std::hex << port << " is written";
  }
  std::intptr_t hypercall(std::uint32_t number, Word /*a*/, Word /*b*/, Word /*c*/, Word /*d*/,
                          Word /*e*/) override {
    ADD_FAILURE() << "hypercall " << number;
    return -38;
  }
  void pause() override { fake_.machine().pause(); }

 private:
  FakeMachine& fake_;
  std::vector<std::pair<base::Range, std::vector<std::byte>>> views_;
};

TEST(ConstViews, CaptureWritesNeitherMemoryNorThroughItsViewsNorToDevices) {
  FakeMachine fake;
  BootBuilder builder(fake);
  fill(builder, fake);
  NeverWritten backend(fake);
  Machine machine(backend);
  testing::HeapStorage storage(builder.sizes);
  auto boot = capture(machine, detect_hypervisors(machine), base::PhysAddr(builder.start_info),
                      builder.image, storage.spans());
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->modules().size(), 2u);
  // Neither do allocation and release: memory is handed out as it is.
  EXPECT_TRUE(boot->allocate({.size = base::ByteSize(3 * kPage)}));
  boot->release_boot_data();
  EXPECT_GT(backend.views(), 0u);
  EXPECT_TRUE(backend.views_are_unchanged());
}

TEST(ConstViews, AStructureThatChangesAfterTheCaptureChangesNothing) {
  FakeMachine fake;
  BootBuilder builder(fake);
  fill(builder, fake);
  const auto boot = builder.capture_at(base::PhysAddr(builder.start_info));
  ASSERT_TRUE(boot);
  const StartInfo info = boot->start_info();
  const std::vector<RawEntry> raw(boot->raw_memory_map().begin(), boot->raw_memory_map().end());
  const std::vector<std::byte> ones(kPage, std::byte{0xff});
  fake.put(builder.start_info & ~(kPage - 1), ones);
  fake.put(builder.memmap, ones);
  EXPECT_EQ(boot->start_info(), info);
  EXPECT_TRUE(std::ranges::equal(boot->raw_memory_map(), raw));
  EXPECT_EQ(boot->modules().size(), 2u);
}

// ---- SizeTCounts

static_assert(std::same_as<decltype(std::declval<Boot&>().modules().size()), std::size_t>);
static_assert(std::same_as<decltype(Storage::raw.size()), std::size_t>);
static_assert(std::same_as<decltype(AcpiRanges::needed), std::size_t>);

// Every other entry is RAM, one page each, so that none can be merged and each counts.
std::vector<RawEntry> entries(std::size_t count) {
  std::vector<RawEntry> map;
  for (std::size_t i = 0; i < count; ++i) {
    map.push_back({kMiB + i * kPage, kPage, i % 2 == 0 ? 1u : 2u});
  }
  return map;
}

class SizeTCounts : public ::testing::TestWithParam<std::size_t> {};

// 129 is one too many for who passes 128, 256 is 0 and 300 is 44 in an u8, 65536 is 0 in an u16.
TEST_P(SizeTCounts, EveryEntryOfTheTableArrives) {
  const std::size_t count = GetParam();
  FakeMachine fake;
  BootBuilder builder(fake);
  builder.map = entries(count);
  builder.memmap = 0x40000000;
  builder.image = *base::Range::from_last(base::PhysAddr(0x30000000), base::PhysAddr(0x300fffff));
  builder.sizes.entries = count;
  const auto boot = builder.boot();
  ASSERT_TRUE(boot) << name(boot.error().code);
  EXPECT_TRUE(std::ranges::equal(boot->raw_memory_map(), builder.map));
  EXPECT_EQ(memory_map::statistics(boot->memory_map()).ram_ranges, (count + 1) / 2);
  EXPECT_EQ(boot->free().size(), (count + 1) / 2);
  EXPECT_EQ(boot->free().back().range.first().value(), kMiB + (count - 1) / 2 * 2 * kPage);
}

TEST_P(SizeTCounts, EveryEntryOfXensAnswerArrives) {
  const std::size_t count = GetParam();
  FakeMachine fake;
  FakeXen xen(fake);
  BootBuilder builder(fake);
  builder.version = 0;
  builder.image = *base::Range::from_last(base::PhysAddr(0x30000000), base::PhysAddr(0x300fffff));
  builder.sizes.entries = count;
  xen.map = entries(count);
  const auto boot = builder.boot();
  ASSERT_TRUE(boot) << name(boot.error().code);
  EXPECT_TRUE(std::ranges::equal(boot->raw_memory_map(), *xen.map));
  EXPECT_EQ(boot->free().size(), (count + 1) / 2);
}

TEST_P(SizeTCounts, OneEntryTooManyForTheStorageIsToldNotLost) {
  const std::size_t count = GetParam();
  FakeMachine fake;
  BootBuilder builder(fake);
  builder.map = entries(count);
  builder.memmap = 0x40000000;
  builder.sizes.entries = count - 1;
  const auto boot = builder.boot();
  ASSERT_FALSE(boot);
  EXPECT_EQ(boot.error(), (BootError{BootErrorCode::kMapStorageTooSmall, count}));
}

INSTANTIATE_TEST_SUITE_P(Entries, SizeTCounts, ::testing::Values(127, 128, 129, 256, 300, 65536));

TEST(SizeTCounts, ACountBeyondReasonIsRefusedBeforeAnythingIsRead) {
  for (const std::uint32_t count : {65537u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    FakeMachine fake;
    BootBuilder builder(fake);
    builder.memmap_entries = count;
    builder.sizes.entries = 100;
    const auto boot = builder.boot();
    ASSERT_FALSE(boot);
    EXPECT_EQ(boot.error(), (BootError{BootErrorCode::kMemmapTooLarge, count}));
    EXPECT_FALSE(fake.was_read(builder.memmap));
  }
}

// The seed handed bios_add_smap_entries(), whose parameter is a size in bytes, the number 1 for one
// entry; it worked because the loop ran as long as one byte was left. Here a count stays a count:
// the table of n entries is read as n times 24 bytes, and reserved as that, and not a byte more.
TEST(SizeTCounts, OneEntryIsTwentyFourBytes) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
    FakeMachine fake;
    BootBuilder builder(fake);
    builder.map = entries(count);
    builder.memmap = kGiB - 24 * count;  // so that memory ends where the table does
    const auto boot = builder.boot();
    ASSERT_TRUE(boot);
    EXPECT_TRUE(std::ranges::equal(boot->raw_memory_map(), builder.map));
    EXPECT_TRUE(has_reservation(*boot, ReservationKind::kMemoryMap, builder.memmap, kGiB - 1));
    EXPECT_TRUE(fake.was_read(kGiB - 1));
    EXPECT_FALSE(fake.was_read(kGiB));
  }
}

// ---- PhysicalToVirtualOffset

template <typename To>
inline constexpr bool kFromAddress = std::is_convertible_v<base::PhysAddr, To>;
static_assert(!kFromAddress<void*> && !kFromAddress<const char*> && !kFromAddress<std::byte*>);
static_assert(!kFromAddress<std::uint64_t> && !kFromAddress<std::uintptr_t> && !kFromAddress<bool>);
static_assert(!std::is_constructible_v<const std::byte*, base::PhysAddr>);
static_assert(!std::is_convertible_v<std::uint64_t, base::PhysAddr>);
static_assert(!std::is_convertible_v<const void*, base::PhysAddr>);
static_assert(!std::is_convertible_v<base::ByteSize, base::PhysAddr>);
template <typename A>
concept HasPlus = requires(A a) { a + 1; };
template <typename A>
concept CanBeFollowed = requires(A a) { *a; };
static_assert(!HasPlus<base::PhysAddr> && !CanBeFollowed<base::PhysAddr>);

struct HighPlaces {
  const char* name;
  std::uint64_t base;
};

class PhysicalToVirtualOffset : public ::testing::TestWithParam<HighPlaces> {};

// FreeBSD's first page tables show the same GiB again and again, so that an address above reads the
// wrong page, and above 2 GiB its offset wraps. Where host memory lies has nothing to do with the
// guest's addresses here, so any use of one as a pointer would crash, and ASan would tell.
TEST_P(PhysicalToVirtualOffset, TableModulesAndTextsAreReadWhereTheyLie) {
  const std::uint64_t base = GetParam().base;
  FakeMachine fake;
  fake.set_physical_bits(46);
  BootBuilder builder(fake);
  builder.map = {{0, 0xa0000, 1}, {kMiB, base + 63 * kMiB, 1}};
  builder.memmap = base;
  builder.modlist = base + 0x2000;
  builder.command_line = "root=/dev/vda";
  builder.command_line_address = base + 0x3000;
  builder.modules = {{base + 0x5000, 0x1800, base + 0x4000, 0}};
  fake.add_memory(base, 8 * kPage);
  // What an alias of one GiB would show instead.
  fake.add_memory(kGiB + kMiB, 8 * kPage);
  builder.place();
  fake.put(base + 0x4000, std::string_view("ramdisk\0", 8));

  const auto boot = builder.capture_at(base::PhysAddr(builder.start_info));
  ASSERT_TRUE(boot) << name(boot.error().code);
  EXPECT_TRUE(std::ranges::equal(boot->raw_memory_map(), builder.map));
  EXPECT_EQ(boot->command_line(), "root=/dev/vda");
  ASSERT_EQ(boot->modules().size(), 1u);
  EXPECT_EQ(boot->modules()[0].command_line, "ramdisk");
  EXPECT_EQ(boot->modules()[0].range,
            base::Range::from_size(base::PhysAddr(base + 0x5000), base::ByteSize(0x1800)));
  EXPECT_TRUE(boot->modules()[0].in_ram);
  // All seven pages are in use: table, (nothing), list, line, text, module in two.
  for (const std::uint64_t page : {0u, 2u, 3u, 4u, 5u, 6u}) {
    EXPECT_FALSE(memory_map::lookup(boot->free(), base::PhysAddr(base + page * kPage))) << page;
  }
  EXPECT_EQ(testing::judge_free(*boot), "");
}

INSTANTIATE_TEST_SUITE_P(Places, PhysicalToVirtualOffset,
                         ::testing::Values(HighPlaces{"Above1GiB", kGiB + 0x10000000},
                                           HighPlaces{"Above2GiB", 2 * kGiB + 0x10000000},
                                           HighPlaces{"Across4GiB", 4 * kGiB - 3 * kPage},
                                           HighPlaces{"Above4GiB", 4 * kGiB + 0x10000000},
                                           HighPlaces{"Above1TiB", 1024 * kGiB}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(PhysicalToVirtualOffset, AnAddressWhereNothingIsMappedIsAnErrorNotAFault) {
  FakeMachine fake;
  BootBuilder builder(fake);
  builder.place();
  for (const std::uint64_t address : {std::uint64_t{1}, kGiB, std::uint64_t{0xfffffff0}}) {
    const auto boot = builder.capture_at(base::PhysAddr(address));
    ASSERT_FALSE(boot);
    EXPECT_EQ(boot.error().code,
              address == 1 ? BootErrorCode::kBadMagic : BootErrorCode::kStartInfoUnreadable);
  }
}

// ---- TypesEqualToSmap

// Each number three times: start_info's, the BIOS's, ours.
static_assert(abi::XEN_HVM_MEMMAP_TYPE_RAM == 1 && abi::SMAP_TYPE_MEMORY == 1);
static_assert(abi::XEN_HVM_MEMMAP_TYPE_RESERVED == 2 && abi::SMAP_TYPE_RESERVED == 2);
static_assert(abi::XEN_HVM_MEMMAP_TYPE_ACPI == 3 && abi::SMAP_TYPE_ACPI_RECLAIM == 3);
static_assert(abi::XEN_HVM_MEMMAP_TYPE_NVS == 4 && abi::SMAP_TYPE_ACPI_NVS == 4);
static_assert(abi::XEN_HVM_MEMMAP_TYPE_UNUSABLE == 5 && abi::SMAP_TYPE_ACPI_ERROR == 5);
static_assert(abi::XEN_HVM_MEMMAP_TYPE_DISABLED == 6 && abi::SMAP_TYPE_DISABLED == 6);
static_assert(abi::XEN_HVM_MEMMAP_TYPE_PMEM == 7 && abi::SMAP_TYPE_PMEM == 7);

TEST(TypesEqualToSmap, AllSevenPassThroughWithTheirNumbers) {
  for (const bool from_xen : {false, true}) {
    FakeMachine fake;
    std::optional<FakeXen> xen;
    BootBuilder builder(fake);
    builder.map.clear();
    for (std::uint32_t type = 1; type <= 7; ++type) {
      builder.map.push_back({kMiB * 16 * type, kMiB, type});
    }
    if (from_xen) {
      xen.emplace(fake);
      xen->map = builder.map;
      builder.version = 0;
    }
    const auto boot = builder.boot();
    ASSERT_TRUE(boot);
    EXPECT_TRUE(std::ranges::equal(boot->raw_memory_map(), builder.map));
    ASSERT_EQ(boot->memory_map().size(), 7u);
    for (std::size_t i = 0; i < 7; ++i) {
      EXPECT_EQ(to_raw(boot->memory_map()[i]), builder.map[i]);
    }
    EXPECT_EQ(boot->free().size(), 1u);
  }
}

// ---- HypercallOnlyOnXen

// Nobody makes a token but detection, and without one no call compiles.
static_assert(!std::is_default_constructible_v<xen::Token>);
static_assert(!std::is_aggregate_v<xen::Token>);
static_assert(!std::is_constructible_v<xen::Token, std::uint32_t, xen::Transport, std::uintptr_t>);
static_assert(!std::is_convertible_v<std::uint32_t, xen::Token>);
template <typename Proof>
concept CanCall = requires(Machine& machine, const Proof& proof, base::MutableBytes buffer) {
  machine.hypercall(proof, 12u);
  xen::memory_map(machine, proof, buffer);
};
static_assert(CanCall<xen::Token>);
static_assert(!CanCall<std::optional<xen::Token>> && !CanCall<bool> && !CanCall<std::uint32_t> &&
              !CanCall<Hypervisors> && !CanCall<StartInfo>);

struct Row {
  const char* name;
  std::uint32_t version;
  std::uint64_t memmap;
  std::optional<std::uint32_t> entries;
  bool table_has_ram;
  std::optional<BootErrorCode> without_xen;
  MapSource with_xen;
};

// All rows of the decision table in memory.hpp.
const std::vector<Row> kRows{
    {"Version0", 0, 0x7000, {}, true, BootErrorCode::kVersion0WithoutXen, MapSource::kXen},
    {"NoEntries", 1, 0x7000, 0, true, BootErrorCode::kEmptyMap, MapSource::kXen},
    {"NothingAtAll", 1, 0, 0, true, BootErrorCode::kEmptyMap, MapSource::kXen},
    {"NoAddress", 1, 0, 2, true, BootErrorCode::kMalformedMemmap, MapSource::kXen},
    {"Table", 1, 0x7000, {}, true, {}, MapSource::kTable},
    {"NewerVersion", 2, 0x7000, {}, true, {}, MapSource::kTable},
    {"Unreadable", 1, 0x50000000, 2, true, BootErrorCode::kMalformedMemmap, MapSource::kXen},
    {"WithoutRam", 1, 0x7000, {}, false, BootErrorCode::kNoUsableRam, MapSource::kXen},
};

class HypercallOnlyOnXen : public ::testing::TestWithParam<Row> {
 protected:
  static void prepare(BootBuilder& builder) {
    const Row& row = GetParam();
    builder.version = row.version;
    builder.memmap = row.memmap;
    builder.memmap_entries = row.entries;
    if (!row.table_has_ram) {
      builder.map = {{kMiB, kMiB, 2}, {2 * kMiB, 0, 1}};
    }
    if (row.memmap == 0x50000000) {
      builder.map.clear();
    }
  }
};

TEST_P(HypercallOnlyOnXen, OffXenNoneIsMade) {
  struct Other {
    const char* vendor;
    const char* signature;  // nullptr: no hypervisor at all
  };
  for (const Other other :
       {Other{"GenuineIntel", nullptr}, Other{"GenuineIntel", "KVMKVMKVM\0\0\0"},
        Other{"AuthenticAMD", "Microsoft Hv"}, Other{"AuthenticAMD", "XenVMMXenVMX"},
        Other{"unknown cpu!", nullptr}}) {
    FakeMachine fake;
    fake.set_vendor(other.vendor);
    if (other.signature != nullptr) {
      fake.add_hypervisor(0x40000000, 0x40000005, std::string_view(other.signature, 12));
    }
    fake.on_hypercall = [](const FakeMachine::Hypercall&) { return 0; };
    BootBuilder builder(fake);
    prepare(builder);
    const auto boot = builder.boot();
    EXPECT_TRUE(fake.hypercalls.empty());
    EXPECT_TRUE(fake.written_msrs.empty());
    if (GetParam().without_xen) {
      ASSERT_FALSE(boot);
      EXPECT_EQ(boot.error().code, *GetParam().without_xen);
    } else {
      ASSERT_TRUE(boot);
      EXPECT_EQ(boot->map_source(), MapSource::kTable);
      EXPECT_FALSE(boot->xen());
    }
  }
}

// Xen's leaves count only when CPUID says that there is a hypervisor.
TEST_P(HypercallOnlyOnXen, NorWhereTheHypervisorBitIsClear) {
  FakeMachine fake;
  FakeXen xen(fake);
  xen.map = {{kMiB, 64 * kMiB, 1}};
  fake.leaves[{1, 0}].ecx = 0;
  BootBuilder builder(fake);
  prepare(builder);
  const auto boot = builder.boot();
  EXPECT_TRUE(fake.hypercalls.empty());
  EXPECT_EQ(boot.has_value(), !GetParam().without_xen);
}

TEST_P(HypercallOnlyOnXen, OnXenTheTableComesFirst) {
  FakeMachine fake;
  FakeXen xen(fake);
  xen.map = {{kMiB, 64 * kMiB, 1}};
  BootBuilder builder(fake);
  prepare(builder);
  const auto boot = builder.boot();
  ASSERT_TRUE(boot) << name(boot.error().code);
  EXPECT_EQ(boot->map_source(), GetParam().with_xen);
  const bool asked = std::ranges::any_of(
      fake.hypercalls, [](const auto& call) { return call.number == 12 && call.a == 9; });
  EXPECT_EQ(asked, GetParam().with_xen == MapSource::kXen);
}

INSTANTIATE_TEST_SUITE_P(DecisionTable, HypercallOnlyOnXen, ::testing::ValuesIn(kRows),
                         [](const auto& test) { return std::string(test.param.name); });

// ---- Version0And1NamedRightly

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

TEST(Version0And1NamedRightly, NoTextSpeaksOfGenerationsOfTheMode) {
  std::vector<std::string> texts;
  for (int code = 0; code <= UINT8_MAX; ++code) {
    for (const std::string_view text :
         {name(BootErrorCode(code)), describe(BootErrorCode(code)), name(DiagnosticKind(code)),
          describe(DiagnosticKind(code))}) {
      texts.push_back(lower(text));
    }
  }
  for (const std::string& text : texts) {
    for (const std::string_view wrong : {"pvhv", "pvh version", "pvh v0", "pvh v1", "pvh v2"}) {
      EXPECT_FALSE(text.contains(wrong)) << text;
    }
  }
  EXPECT_THAT(lower(describe(BootErrorCode::kVersion0WithoutXen)),
              ::testing::HasSubstr("start_info"));
  EXPECT_THAT(lower(describe(BootErrorCode::kVersion0WithoutXen)),
              ::testing::HasSubstr("version 0"));
  EXPECT_THAT(lower(describe(DiagnosticKind::kNewerVersion)), ::testing::HasSubstr("start_info"));
}

TEST(Version0And1NamedRightly, Version0IsNeverReadBeyond40Bytes) {
  FakeMachine fake;
  FakeXen xen(fake);
  xen.map = {{0, 0xa0000, 1}, {kMiB, 63 * kMiB, 1}};
  BootBuilder builder(fake);
  builder.low_memory = 0;
  builder.version = 0;
  // Its memory ends with it: one byte more would be unreadable, and ASan would see it.
  const auto boot = builder.boot();
  ASSERT_TRUE(boot) << name(boot.error().code);
  EXPECT_EQ(boot->start_info().version, 0u);
  EXPECT_FALSE(boot->start_info().has_map_fields());
  EXPECT_TRUE(fake.was_read(builder.start_info + 39));
  EXPECT_FALSE(fake.was_read(builder.start_info + 40));
  EXPECT_TRUE(has_reservation(*boot, ReservationKind::kStartInfo, builder.start_info,
                              builder.start_info + 39));
}

TEST(Version0And1NamedRightly, Version1HasAllOf56Bytes) {
  FakeMachine fake;
  BootBuilder builder(fake);
  const auto boot = builder.boot();
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->start_info().version, 1u);
  EXPECT_TRUE(boot->start_info().has_map_fields());
  EXPECT_TRUE(fake.was_read(builder.start_info + 51));
  EXPECT_TRUE(has_reservation(*boot, ReservationKind::kStartInfo, builder.start_info,
                              builder.start_info + 55));
}

}  // namespace
}  // namespace pvh::guest
