// SPDX-License-Identifier: BSD-2-Clause
// The peers' shapes: QEMU's two against what was measured (testdata/), the others against what
// their sources say.
#include <charconv>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/start_info.hpp>
#include <pvh/loader/plan.hpp>

#include "lib/loader/testing/plan_request.hpp"

namespace pvh::loader {
namespace {

using memory_map::RawEntry;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::array kPeers{Shape::kQemu, Shape::kQboot, Shape::kFirecracker,
                            Shape::kCloudHypervisor, Shape::kXen};

std::string text_of(const std::expected<Plan, PlanFault>& plan) {
  return plan ? "no error" : base::to_text(plan.error());
}

// What a guest printed at its PVH entry: "name=0x..." anywhere, "map ADDR SIZE TYPE RESERVED" and
// "module ..." lines, the descriptors of the GDT.
struct Capture {
  std::map<std::string, std::uint64_t> values;
  std::map<std::string, std::uint64_t> module;
  std::vector<RawEntry> map;
  std::vector<std::uint64_t> gdt;
};

std::uint64_t number(std::string_view text) {
  text.remove_prefix(text.starts_with("0x") ? 2 : 0);
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

Capture load(const std::string& name) {
  std::ifstream file(PVH_SOURCE_DIR "/lib/loader/testdata/qemu-7.2-" + name + ".txt");
  Capture capture;
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (first == "#" || first == "cmdline_text") {
      continue;
    }
    auto& values = first == "module" ? capture.module : capture.values;
    words.seekg(0);
    std::vector<std::uint64_t> plain;
    for (std::string word; words >> word;) {
      const std::size_t equals = word.find('=');
      if (equals != std::string::npos) {
        values[word.substr(0, equals)] = number(word.substr(equals + 1));
      } else if (word.starts_with("0x")) {
        plain.push_back(number(word));
      }
    }
    if (first == "map" && plain.size() == 4) {
      capture.map.push_back({plain[0], plain[1], static_cast<std::uint32_t>(plain[2])});
    } else if (first == "gdt_bytes") {
      capture.gdt = plain;
    }
  }
  return capture;
}

struct Measured {
  std::string memory;
  std::uint64_t size;
};

class AgainstQemu : public testing::TestWithParam<Measured> {
 protected:
  std::expected<Plan, PlanFault> plan_like_the_capture(Shape shape) {
    request_ = request_with(GetParam().size, shape);
    request_.command_line = "a=1 hello";
    request_.modules = {{"initrd", initrd_, ""}};
    request_.rsdp = table_placement(shape, request_.ram).rsdp;
    return make_plan(image_, request_);
  }

  static void expect_same(const Plan& plan, const Capture& capture) {
    const auto info = start_info_of(plan);
    const auto& value = capture.values;
    EXPECT_EQ(plan.memory_map, capture.map);
    EXPECT_EQ(plan.start_info.value(), value.at("ebx"));
    EXPECT_EQ(info.modlist_paddr.get(), value.at("modlist"));
    EXPECT_EQ(info.cmdline_paddr.get(), value.at("cmdline"));
    EXPECT_EQ(info.memmap_paddr.get(), value.at("memmap"));
    EXPECT_EQ(info.memmap_entries.get(), value.at("entries"));
    EXPECT_EQ(info.flags.get(), value.at("flags"));
    EXPECT_EQ(info.reserved.get(), value.at("reserved"));
    const auto module =
        *base::read_at<abi::hvm_modlist_entry>(find(plan, PieceKind::kModuleList).content, 0);
    EXPECT_EQ(module.paddr.get(), capture.module.at("paddr"));
    EXPECT_EQ(module.size.get(), capture.module.at("size"));
    EXPECT_EQ(module.cmdline_paddr.get(), capture.module.at("cmdline"));
    EXPECT_EQ(module.reserved.get(), capture.module.at("reserved"));
    const EntryState& entry = plan.entry;
    EXPECT_EQ(entry.eax, value.at("eax"));
    EXPECT_EQ(entry.eflags, value.at("eflags"));
    EXPECT_EQ(entry.cr0, value.at("cr0"));
    EXPECT_EQ(entry.cr3, value.at("cr3"));
    EXPECT_EQ(entry.cr4, value.at("cr4"));
    EXPECT_EQ(entry.cs.selector, value.at("cs"));
    EXPECT_EQ(entry.ds.selector, value.at("ds"));
    EXPECT_EQ(entry.fs.selector, value.at("fs"));
    EXPECT_EQ(entry.ss.selector, value.at("ss"));
    EXPECT_EQ(entry.tr.selector, value.at("tr"));
    EXPECT_EQ(entry.ldtr.selector, value.at("ldtr"));
    EXPECT_EQ(entry.gdtr.base.value(), value.at("gdt"));
    EXPECT_EQ(entry.gdtr.limit, value.at("gdt_limit"));
    EXPECT_EQ(entry.idtr.base.value(), value.at("idt"));
    EXPECT_EQ(entry.idtr.limit, value.at("idt_limit"));
  }

  const std::vector<std::byte> initrd_ = std::vector<std::byte>(5000);
  const Image image_ = image_at(0x200000, 0x2000);
  PlanRequest request_;
};

TEST_P(AgainstQemu, PcUnderKvmIsAsMeasured) {
  const auto plan = plan_like_the_capture(Shape::kQemu);
  ASSERT_TRUE(plan) << text_of(plan);
  const Capture capture = load("pc-kvm-" + GetParam().memory);
  expect_same(*plan, capture);
  if (GetParam().size <= 3 * kGiB) {  // SeaBIOS puts it 32 bytes lower when there is more RAM
    EXPECT_EQ(start_info_of(*plan).rsdp_paddr.get(), capture.values.at("rsdp"));
  }
  const Piece& gdt = find(*plan, PieceKind::kGdt);
  ASSERT_EQ(gdt.content.size(), capture.gdt.size() * 8);
  for (std::size_t i = 0; i < capture.gdt.size(); ++i) {
    EXPECT_EQ(base::read_at<base::Le64>(gdt.content, i * 8)->get(), capture.gdt[i]);
  }
}

TEST_P(AgainstQemu, MicrovmUnderKvmIsAsMeasured) {
  const auto plan = plan_like_the_capture(Shape::kQboot);
  ASSERT_TRUE(plan) << text_of(plan);
  const Capture capture = load("microvm-kvm-" + GetParam().memory);
  expect_same(*plan, capture);
  EXPECT_EQ(start_info_of(*plan).rsdp_paddr.get(), capture.values.at("rsdp"));
}

// Without KVM the same map lacks the pages that KVM keeps for itself.
TEST_P(AgainstQemu, WithoutKvmOneEntryIsMissing) {
  for (const auto& [shape, machine] :
       {std::pair(Shape::kQemu, "pc-tcg-"), std::pair(Shape::kQboot, "microvm-tcg-")}) {
    const auto plan = plan_like_the_capture(shape);
    ASSERT_TRUE(plan) << text_of(plan);
    std::vector<RawEntry> map = plan->memory_map;
    std::erase(map, RawEntry{0xfeffc000, 0x4000, 2});
    EXPECT_EQ(map, load(machine + GetParam().memory).map);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AgainstQemu,
                         testing::Values(Measured{"128M", 128 * kMiB}, Measured{"512M", 512 * kMiB},
                                         Measured{"3G", 3 * kGiB}, Measured{"5G", 5 * kGiB}),
                         [](const auto& test) { return test.param.memory; });

// Lengths that were measured too: microvm, 128 MiB, KVM.
TEST(Qboot, ItsHeapGrowsDownwardInSixteens) {
  const Image image = image_at(0x200000, 0x2000);
  PlanRequest request = request_with(128 * kMiB, Shape::kQboot);
  const auto addresses = [&](std::size_t length) {
    request.command_line = std::string(length, 'x');
    const auto info = start_info_of(make_plan(image, request).value());
    return std::pair(info.cmdline_paddr.get(), info.memmap_paddr.get());
  };
  EXPECT_EQ(addresses(0), std::pair(0xefca0ul, 0xefbf0ul));
  EXPECT_EQ(addresses(15), std::pair(0xefca0ul, 0xefbf0ul));
  EXPECT_EQ(addresses(16), std::pair(0xefc90ul, 0xefbe0ul));
  EXPECT_EQ(addresses(100), std::pair(0xefc40ul, 0xefb90ul));
  EXPECT_EQ(addresses(5000), std::pair(0xee920ul, 0xee870ul));
}

TEST(QemuModules, EndBelowTheTopAsMeasured) {
  const Image image = image_at(0x200000, 0x2000);
  const auto address = [&](Shape shape, std::size_t size) {
    const std::vector<std::byte> content(size);
    PlanRequest request = request_with(128 * kMiB, shape);
    request.modules = {{"initrd", content, ""}};
    return find(make_plan(image, request).value(), PieceKind::kModule).range.first().value();
  };
  EXPECT_EQ(address(Shape::kQemu, 1), 0x7fd7000u);
  EXPECT_EQ(address(Shape::kQemu, 4096), 0x7fd6000u);
  EXPECT_EQ(address(Shape::kQemu, 4097), 0x7fd6000u);
  EXPECT_EQ(address(Shape::kQemu, 1000000), 0x7ee3000u);
  EXPECT_EQ(address(Shape::kQboot, 1), 0x7fff000u);
  EXPECT_EQ(address(Shape::kQboot, 4096), 0x7ffe000u);
  EXPECT_EQ(address(Shape::kQboot, 4097), 0x7ffe000u);
  EXPECT_EQ(address(Shape::kQboot, 1000000), 0x7f0b000u);
}

PlanRequest with_tables(std::uint64_t memory, Shape shape) {
  PlanRequest request = request_with(memory, shape);
  const TablePlacement place = table_placement(shape, request.ram);
  request.table_memory = place.table_memory;
  request.rsdp = place.rsdp;
  request.tables = {{"ACPI", place.acpi.first(), std::vector<std::byte>(0x1234), Type::kAcpi},
                    {"RSDP", place.rsdp, std::vector<std::byte>(36), Type::kAcpi}};
  if (place.mp_table_room != ByteSize(0)) {
    request.tables.push_back(
        {"MP", place.mp_table, std::vector<std::byte>(0x200), Type::kReserved});
  }
  if (place.reset_vector) {
    request.tables.push_back({"reset", *place.reset_vector,
                              std::vector<std::byte>(kResetVectorSize.value()), Type::kReserved});
  }
  return request;
}

TEST(Firecracker, IsAsItsSourceSays) {
  const Image image = image_at(kMiB, 0x1000);
  const std::vector<std::byte> initrd(0x1801);
  PlanRequest request = with_tables(5 * kGiB, Shape::kFirecracker);
  request.modules = {{"initrd", initrd, ""}};
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_THAT(plan->memory_map,
              ElementsAre(RawEntry{0, 0x9fc00, 1}, RawEntry{0x9fc00, 0x40400, 2},
                          RawEntry{0xeec00000, 256 * kMiB, 2}, RawEntry{kMiB, 3 * kGiB - kMiB, 1},
                          RawEntry{4 * kGiB, 2 * kGiB, 1}));
  const auto info = start_info_of(*plan);
  EXPECT_EQ(plan->entry.ebx, 0x6000u);
  EXPECT_EQ(info.modlist_paddr.get(), 0x6040u);
  EXPECT_EQ(info.memmap_paddr.get(), 0x7000u);
  EXPECT_EQ(info.cmdline_paddr.get(), 0x20000u);
  EXPECT_EQ(info.rsdp_paddr.get(), 0u) << "although there are ACPI tables";
  EXPECT_EQ(find(*plan, PieceKind::kModule).range.first(), PhysAddr(3 * kGiB - 0x2000));
  EXPECT_EQ(find(*plan, PieceKind::kGdt).range, range(0x500, 32));
  EXPECT_EQ(find(*plan, PieceKind::kIdt).range, range(0x520, 8));
  EXPECT_EQ(plan->entry.idtr.limit, 7);
  EXPECT_EQ(plan->entry.cr0, 0x11u);
  EXPECT_EQ(plan->entry.tr.limit, 0x67u);
}

TEST(CloudHypervisor, IsAsItsSourceSays) {
  const Image image = image_at(kMiB, 0x1000);
  const PlanRequest request = with_tables(512 * kMiB, Shape::kCloudHypervisor);
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_THAT(plan->memory_map, ElementsAre(RawEntry{0, 0xa0000, 1}, RawEntry{kMiB, 511 * kMiB, 1},
                                            RawEntry{0xe8000000, 256 * kMiB, 2}));
  EXPECT_EQ(start_info_of(*plan).rsdp_paddr.get(), 0xa0000u);
  EXPECT_EQ(plan->entry.cr0, 0x1u);
}

TEST(Xen, IsAsItsSourceSays) {
  const Image image = image_at(kMiB, 0x1800);
  const std::vector<std::byte> content(0x1801);
  PlanRequest request = with_tables(5 * kGiB, Shape::kXen);
  request.modules = {{"one", content, "first"}, {"two", content, "second"}};
  request.command_line = "a=1 hello";
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_THAT(plan->memory_map,
              ElementsAre(RawEntry{0, 3 * kGiB, 1}, RawEntry{0xfeff8000, 0x8000, 2},
                          RawEntry{0xfc011000, 36, 4}, RawEntry{0xfc001000, 0x1234, 4},
                          RawEntry{4 * kGiB, 2 * kGiB, 1}))
      << "not sorted, not whole pages";
  const auto info = start_info_of(*plan);
  constexpr std::uint64_t kBlock = kMiB + 0x6000;
  EXPECT_EQ(plan->start_info, PhysAddr(kBlock)) << "behind the kernel and the modules";
  EXPECT_EQ(info.cmdline_paddr.get(), kBlock + 56);
  EXPECT_EQ(info.modlist_paddr.get(), kBlock + 56 + 16);
  const auto two =
      *base::read_at<abi::hvm_modlist_entry>(find(*plan, PieceKind::kModuleList).content, 32);
  EXPECT_EQ(two.paddr.get(), kMiB + 0x4000);
  EXPECT_EQ(two.cmdline_paddr.get(), kBlock + 56 + 16 + 64 + 1024);
  EXPECT_EQ(info.memmap_paddr.get(), kBlock + 56 + 16 + 64 + 2048);
  EXPECT_EQ(plan->entry.cs.selector, 0);
  EXPECT_FALSE(plan->entry.fs.present);
  EXPECT_EQ(access_rights(plan->entry.cs), kAccessCode);
  EXPECT_EQ(plan->entry.gdtr, TableRegister{});
  request.command_line.clear();
  EXPECT_EQ(start_info_of(make_plan(image, request).value()).cmdline_paddr.get(), 0u);
}

TEST(Shapes, HaveNamesThatComeBack) {
  EXPECT_EQ(shape_from_string("strict"), Shape::kStrict);
  for (const Shape shape : kPeers) {
    EXPECT_EQ(shape_from_string(to_string(shape)), shape);
  }
  EXPECT_EQ(shape_from_string("cloud-hypervisor"), Shape::kCloudHypervisor);
  EXPECT_EQ(shape_from_string("bochs"), std::nullopt);
  EXPECT_EQ(shape_from_string(""), std::nullopt);
}

TEST(Shapes, NameThePeerWhoseLimitIsPassed) {
  const Image image = image_at(kMiB, 0x1000);
  const auto error = [&](Shape shape, std::size_t command_line, std::size_t modules,
                         std::size_t module_command_line) {
    PlanRequest request = request_with(64 * kMiB, shape);
    request.command_line = std::string(command_line, 'x');
    request.modules.resize(modules);
    for (ModuleRequest& module : request.modules) {
      module.command_line = std::string(module_command_line, 'y');
    }
    return text_of(make_plan(image, request));
  };
  struct Limit {
    Shape shape;
    std::size_t command_line, modules, module_command_line;
    std::string name;
  };
  for (const auto& [shape, command_line, modules, module_command_line, name] :
       {Limit{Shape::kQemu, 4095, 1, 0, "QEMU pc"}, Limit{Shape::kQboot, 0xefff, 1, 0, "microvm"},
        Limit{Shape::kFirecracker, 2047, 1, 0, "Firecracker"},
        Limit{Shape::kCloudHypervisor, 65535, 1, 0, "Cloud Hypervisor"},
        Limit{Shape::kXen, 100000, 2, 1023, "Xen"}}) {
    EXPECT_EQ(error(shape, command_line, modules, module_command_line), "no error");
    if (shape != Shape::kXen) {
      EXPECT_THAT(error(shape, command_line + 1, 0, 0), HasSubstr(name));
    }
    EXPECT_THAT(error(shape, 0, modules + 1, 0), HasSubstr(name));
    EXPECT_THAT(error(shape, 0, 1, module_command_line + 1), HasSubstr(name));
  }
}

TEST(Shapes, RefuseAMachineThatThePeerCouldNotBe) {
  const Image image = image_at(kMiB, 0x1000);
  for (const Shape shape : kPeers) {
    PlanRequest request = request_with(64 * kMiB, shape);
    request.ram = {range(kMiB, 64 * kMiB)};
    EXPECT_EQ(make_plan(image, request).error().code, PlanError::kNoRam) << to_string(shape);
  }
  EXPECT_EQ(make_plan(image, request_with(kMiB, Shape::kQemu)).error().code, PlanError::kNoRam);
}

TEST(Shapes, RefuseAKernelOnTheirBootData) {
  const PlanRequest request = request_with(64 * kMiB, Shape::kFirecracker);
  const auto plan = make_plan(image_at(0x7000, 0x1000), request);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, PlanError::kOverlapsReserved);
  EXPECT_THAT(text_of(plan), HasSubstr("memory map at 0x7000"));
}

TEST(Shapes, RefuseTablesOnTheirBootData) {
  PlanRequest request = request_with(64 * kMiB, Shape::kCloudHypervisor);
  request.tables = {{"ACPI", PhysAddr(0x6000), std::vector<std::byte>(36), Type::kAcpi}};
  const auto plan = make_plan(image_at(kMiB, 0x1000), request);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, PlanError::kNoRoomForBootData);
  EXPECT_THAT(text_of(plan), HasSubstr("Cloud Hypervisor puts the start_info at 0x6000, where"));
}

TEST(Shapes, RefuseAModuleThatReachesIntoTheKernel) {
  const std::vector<std::byte> content(16 * kMiB);
  const Image image = image_at(kMiB, 0x1000);
  for (const Shape shape : kPeers) {
    PlanRequest request = request_with(16 * kMiB, shape);
    request.modules = {{"big", content, ""}};
    const auto plan = make_plan(image, request);
    ASSERT_FALSE(plan) << to_string(shape);
    EXPECT_EQ(plan.error().code, PlanError::kModuleTooLarge);
  }
  const PlanRequest request = request_with(16 * kMiB, Shape::kXen);
  EXPECT_EQ(make_plan(image_at(kMiB, 15 * kMiB), request).error().code,
            PlanError::kNoRoomForBootData)
      << "start_info comes behind the kernel";
}

// The tables of 255 processors: MADT and DSDT of some ten KiB, MP table of 5.5 KiB.
TEST(TablePlacementOf, EveryShapeIsAccepted) {
  const Image image = image_at(kMiB, 0x1000);
  for (const Shape shape : {Shape::kStrict, Shape::kQemu, Shape::kQboot, Shape::kFirecracker,
                            Shape::kCloudHypervisor, Shape::kXen}) {
    for (const std::uint64_t memory : {2 * kMiB, 128 * kMiB, 5 * kGiB}) {
      PlanRequest request = request_with(memory, shape);
      const TablePlacement place = table_placement(shape, request.ram);
      EXPECT_GE(place.acpi.size().value(), 0xffc0u);
      EXPECT_TRUE(place.rsdp.is_aligned(ByteSize(16)));
      request = with_tables(memory, shape);
      request.tables[0].content.resize(place.acpi.size().value());
      if (place.mp_table_room != ByteSize(0)) {
        request.tables[2].content.resize(place.mp_table_room.value());
      }
      const auto plan = make_plan(image, request);
      EXPECT_TRUE(plan) << to_string(shape) << ": " << text_of(plan);
    }
  }
}

TEST(TablePlacementOf, TooLittleRamDoesNotWrap) {
  EXPECT_EQ(table_placement(Shape::kQemu, {}).acpi, range(2 * kMiB - 0x20000, 0x20000));
  EXPECT_EQ(table_placement(Shape::kQemu, {range(0, 0x1000)}).acpi,
            range(2 * kMiB - 0x20000, 0x20000));
}

TEST(TablePlacementOf, StrictRsdpIsWhereALegacyScanLooks) {
  const TablePlacement place = table_placement(Shape::kStrict, ram_ranges(ByteSize(kMiB)));
  EXPECT_EQ(place.rsdp, PhysAddr(0xe0000));
  EXPECT_GE(place.mp_table, PhysAddr(0xf0000)) << "the BIOS area: the last KiB below 640 KiB "
                                                  "would be too small";
  EXPECT_FALSE(place.table_memory);
  EXPECT_TRUE(place.passes_rsdp);
}

}  // namespace
}  // namespace pvh::loader
