// SPDX-License-Identifier: BSD-2-Clause
// Placement, contents and refusals of the strict shape. The peers are in shape_test.cpp, random
// requests in plan_property_test.cpp.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/start_info.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/loader/plan.hpp>
#include <pvh/memory_map/edit.hpp>

#include "lib/loader/testing/plan_request.hpp"

namespace pvh::loader {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

memory_map::RawEntry ram(std::uint64_t first, std::uint64_t end) {
  return {first, end - first, 1};
}
memory_map::RawEntry reserved(std::uint64_t first, std::uint64_t end) {
  return {first, end - first, 2};
}

std::string text_of(const std::expected<Plan, PlanFault>& plan) {
  return plan ? "no error" : base::to_text(plan.error());
}

PlanError code_of(const std::expected<Plan, PlanFault>& plan) {
  EXPECT_FALSE(plan);
  return plan ? PlanError{} : plan.error().code;
}

TEST(RamRanges, LeaveTheHoleBelow4GiB) {
  EXPECT_TRUE(ram_ranges(ByteSize(0)).empty());
  EXPECT_THAT(ram_ranges(ByteSize(1)), ElementsAre(range(0, 0x1000)));
  EXPECT_THAT(ram_ranges(ByteSize(0x1001)), ElementsAre(range(0, 0x2000)));
  EXPECT_THAT(ram_ranges(ByteSize(3 * kGiB)), ElementsAre(range(0, 3 * kGiB)));
  EXPECT_THAT(ram_ranges(ByteSize(3 * kGiB + 1)),
              ElementsAre(range(0, 3 * kGiB), range(4 * kGiB, 0x1000)));
  EXPECT_THAT(ram_ranges(ByteSize(5 * kGiB)),
              ElementsAre(range(0, 3 * kGiB), range(4 * kGiB, 2 * kGiB)));
}

TEST(RamRanges, EndAtForty6Bits) {
  const std::uint64_t most = (std::uint64_t{1} << 46) - kGiB;
  ASSERT_EQ(ram_ranges(ByteSize(most)).size(), 2u);
  EXPECT_EQ(ram_ranges(ByteSize(most)).back().last().value(), (std::uint64_t{1} << 46) - 1);
  EXPECT_TRUE(ram_ranges(ByteSize(most + 1)).empty());
  EXPECT_TRUE(ram_ranges(ByteSize(UINT64_MAX)).empty());
}

TEST(StrictPlan, PutsASmallGuestWhereItsReadersLook) {
  const Image image = image_at(0x1000000, 0x5000);
  PlanRequest request = request_with(512 * kMiB);
  request.command_line = "console=ttyS0";
  const std::vector<std::byte> initrd(0x1234, std::byte{7});
  request.modules = {{"initrd", initrd, ""}, {"extra", {}, "for=me"}};
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(find(*plan, PieceKind::kGdt).range, range(0x500, 32));
  EXPECT_EQ(find(*plan, PieceKind::kStartInfo).range, range(0x6000, 56));
  EXPECT_EQ(find(*plan, PieceKind::kModuleList).range, range(0x6040, 64));
  EXPECT_EQ(find(*plan, PieceKind::kMemoryMap).range.first(), PhysAddr(0x7000));
  EXPECT_EQ(find(*plan, PieceKind::kModuleCommandLine).range, range(0x8000, 8));
  EXPECT_EQ(find(*plan, PieceKind::kCommandLine).range, range(0x20000, 14));
  EXPECT_EQ(find(*plan, PieceKind::kSegment).range, range(0x1000000, 0x5000));
  EXPECT_EQ(find(*plan, PieceKind::kModule).range, range(0x1200000, 0x2000))
      << "behind the kernel, at the next 2 MiB";
  EXPECT_EQ(plan->pieces.back().range, range(0x1202000, 0x1000)) << "an empty module has a page";
  EXPECT_TRUE(plan->poisoned.empty());
  EXPECT_EQ(plan->load_offset, 0);
}

TEST(StrictPlan, HandsOverASortedMapWithTablesByTheirTypes) {
  const Image image = image_at(kMiB, 0x1000);
  PlanRequest request = request_with(5 * kGiB);
  request.tables = {{"RSDP", PhysAddr(0xe0000), std::vector<std::byte>(36), Type::kAcpi},
                    {"ACPI", PhysAddr(0xe0040), std::vector<std::byte>(0x1234), Type::kAcpi},
                    {"MP", PhysAddr(0xf0000), std::vector<std::byte>(300), Type::kReserved}};
  request.rsdp = PhysAddr(0xe0000);
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_THAT(plan->memory_map,
              ElementsAre(ram(0, 0x9f000), reserved(0x9f000, 0xe0000),
                          memory_map::RawEntry{0xe0000, 0x2000, 3}, reserved(0xe2000, kMiB),
                          ram(kMiB, 3 * kGiB), reserved(0xfec00000, 0xfec01000),
                          reserved(0xfee00000, 0xfee01000), reserved(0xfffbc000, 0xfffc0000),
                          ram(4 * kGiB, 6 * kGiB)));
  EXPECT_EQ(start_info_of(*plan).rsdp_paddr.get(), 0xe0000u);
}

TEST(StrictPlan, ATableInsideRamIsNotRam) {
  const Image image = image_at(kMiB, 0x1000);
  PlanRequest request = request_with(16 * kMiB);
  request.tables = {{"ACPI", PhysAddr(0xfff123), std::vector<std::byte>(0x20), Type::kAcpi}};
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_THAT(plan->memory_map, Contains(ram(kMiB, 0xfff000)));
  EXPECT_THAT(plan->memory_map, Contains(memory_map::RawEntry{0xfff000, 0x1000, 3}));
}

TEST(StrictPlan, VersionZeroHasNoMapAndFortyBytes) {
  const Image image = image_at(kMiB, 0x1000);
  PlanRequest request = request_with(16 * kMiB);
  request.start_info_version = 0;
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(find(*plan, PieceKind::kStartInfo).range.size(), ByteSize(40));
  EXPECT_EQ(find(*plan, PieceKind::kStartInfo).content.size(), 40u);
  EXPECT_EQ(count(*plan, PieceKind::kMemoryMap), 0u);
  EXPECT_FALSE(plan->memory_map.empty()) << "it is printed all the same";
}

TEST(StrictPlan, BootDataMovesOutOfTheWayOfTheKernel) {
  const Image image = image_at(0x1000, 0x9e000);
  PlanRequest request = request_with(16 * kMiB);
  request.modules = {{"m", {}, "text"}};
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(find(*plan, PieceKind::kGdt).range, range(0x500, 32));
  EXPECT_GE(find(*plan, PieceKind::kStartInfo).range.first(), PhysAddr(kMiB));
  EXPECT_GE(find(*plan, PieceKind::kCommandLine).range.first(), PhysAddr(kMiB));
  EXPECT_GE(find(*plan, PieceKind::kModuleList).range.first(), PhysAddr(kMiB));
}

TEST(StrictPlan, AHugeCommandLineGoesWhereThereIsRoom) {
  const Image image = image_at(kMiB, 0x1000);
  PlanRequest request = request_with(16 * kMiB);
  request.command_line = std::string(2 * kMiB, 'x');
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_GE(find(*plan, PieceKind::kCommandLine).range.first(), PhysAddr(kMiB + 0x1000));
  request.command_line = std::string(16 * kMiB, 'x');
  EXPECT_EQ(code_of(make_plan(image, request)), PlanError::kCommandLineTooLong);
}

TEST(StrictPlan, TakesThousandsOfModules) {
  const Image image = image_at(kMiB, 0x1000);
  PlanRequest request = request_with(64 * kMiB);
  for (int i = 0; i < 4000; ++i) {
    request.modules.push_back({"m" + std::to_string(i), {}, "number=" + std::to_string(i)});
  }
  const auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(start_info_of(*plan).nr_modules.get(), 4000u);
  EXPECT_EQ(count(*plan, PieceKind::kModuleCommandLine), 4000u);
}

TEST(StrictPlan, AModuleThatDoesNotFitBehindTheKernelGoesBelowOrAbove4GiB) {
  const std::vector<std::byte> content(8 * kMiB);
  Image image = image_at(20 * kMiB, 0x1000);
  PlanRequest request = request_with(24 * kMiB);
  request.modules = {{"m", content, ""}};
  auto plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(find(*plan, PieceKind::kModule).range.first(), PhysAddr(kMiB));
  request.ram = {range(0, 4 * kMiB), range(4 * kGiB, 8 * kMiB)};
  image = image_at(2 * kMiB, 0x1000);
  plan = make_plan(image, request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(find(*plan, PieceKind::kModule).range.first(), PhysAddr(4 * kGiB));
  request.ram.pop_back();
  const auto refused = make_plan(image, request);
  EXPECT_EQ(code_of(refused), PlanError::kModuleTooLarge);
  EXPECT_THAT(text_of(refused), HasSubstr("0x800000 bytes"));
  EXPECT_THAT(text_of(refused), HasSubstr("--memory"));
}

TEST(StrictPlan, RefusesAnImageOutsideRamAndSaysWhere) {
  const PlanRequest request = request_with(8 * kMiB);
  const auto high = make_plan(image_at(16 * kMiB, 0x1000), request);
  EXPECT_EQ(code_of(high), PlanError::kOutsideRam);
  EXPECT_THAT(text_of(high), HasSubstr("segment 3 at 0x1000000-0x1000fff"));
  EXPECT_THAT(text_of(high), HasSubstr("0x100000-0x7fffff"));
  EXPECT_THAT(text_of(high), HasSubstr("--memory"));
  EXPECT_EQ(code_of(make_plan(image_at(8 * kMiB - 0x1000, 0x1001), request)),
            PlanError::kOutsideRam)
      << "one byte too many";
  EXPECT_TRUE(make_plan(image_at(8 * kMiB - 0x1000, 0x1000), request));
  EXPECT_EQ(code_of(make_plan(image_at(0x90000, 0x20000), request)), PlanError::kOutsideRam)
      << "the legacy hole is no RAM";
  EXPECT_EQ(code_of(make_plan(image_at(3 * kGiB, 0x1000), request_with(5 * kGiB))),
            PlanError::kOutsideRam);
}

TEST(StrictPlan, RefusesAnImageOnATable) {
  PlanRequest request = request_with(8 * kMiB);
  request.tables = {{"ACPI", PhysAddr(0x200000), std::vector<std::byte>(0x20), Type::kAcpi}};
  const auto plan = make_plan(image_at(kMiB, 2 * kMiB), request);
  EXPECT_EQ(code_of(plan), PlanError::kOverlapsReserved);
  EXPECT_THAT(text_of(plan), HasSubstr("ACPI at 0x200000-0x20001f"));
}

TEST(StrictPlan, RefusesABadImage) {
  const PlanRequest request = request_with(8 * kMiB);
  Image image = image_at(kMiB, 0x1000);
  image.problems.push_back({ImageError::kNoSegments, "", {}});
  EXPECT_EQ(code_of(make_plan(image, request)), PlanError::kBadImage);
  image = image_at(kMiB, 0x1000);
  image.pvh_entry.reset();
  EXPECT_EQ(code_of(make_plan(image, request)), PlanError::kBadImage);
  image = image_at(kMiB, 0x1000);
  image.segments[0].offset = image.elf.size();
  EXPECT_EQ(code_of(make_plan(image, request)), PlanError::kBadImage);
  image = image_at(UINT64_MAX - 0x7ff, 0x1000);
  EXPECT_EQ(code_of(make_plan(image, request)), PlanError::kBadImage);
}

TEST(StrictPlan, RefusesAContradictoryMachine) {
  const Image image = image_at(kMiB, 0x1000);
  const auto error_with = [&](auto change) {
    PlanRequest request = request_with(8 * kMiB);
    change(request);
    return code_of(make_plan(image, request));
  };
  const auto table = [](std::uint64_t address, std::size_t size, Type type = Type::kAcpi) {
    return TableRequest{"T", PhysAddr(address), std::vector<std::byte>(size), type};
  };
  using R = PlanRequest;
  EXPECT_EQ(error_with([](R& r) { r.ram.clear(); }), PlanError::kNoRam);
  EXPECT_EQ(error_with([](R& r) { r.ram = {range(0, 0x800)}; }), PlanError::kBadRequest);
  EXPECT_EQ(error_with([](R& r) { r.ram = {range(0x2000, 0x1000), range(0, 0x1000)}; }),
            PlanError::kBadRequest);
  EXPECT_EQ(error_with([](R& r) { r.ram.push_back(r.ram[0]); }), PlanError::kBadRequest);
  EXPECT_EQ(error_with([](R& r) { r.start_info_version = 2; }), PlanError::kBadRequest);
  EXPECT_EQ(error_with([](R& r) { r.table_memory = range(0x1000, 0x1000); }),
            PlanError::kBadRequest);
  EXPECT_EQ(error_with([&](R& r) { r.tables = {table(0xe0000, 0)}; }), PlanError::kBadRequest);
  EXPECT_EQ(error_with([&](R& r) { r.tables = {table(UINT64_MAX, 2)}; }), PlanError::kBadRequest);
  EXPECT_EQ(error_with([&](R& r) { r.tables = {table(0xe0000, 8, Type::kRam)}; }),
            PlanError::kBadRequest);
  EXPECT_EQ(error_with([&](R& r) { r.tables = {table(0xe0000, 8), table(0xe0007, 8)}; }),
            PlanError::kBadRequest);
  EXPECT_EQ(error_with([&](R& r) { r.tables = {table(0xfc000000, 8)}; }), PlanError::kOutsideRam);
  EXPECT_EQ(error_with([](R& r) { r.command_line = std::string("a\0b", 3); }),
            PlanError::kCommandLineHasNul);
  EXPECT_EQ(error_with([](R& r) { r.modules = {{"m", {}, std::string("\0", 1)}}; }),
            PlanError::kCommandLineHasNul);
}

TEST(StrictPlan, RefusesWhatTheBootDataDoesNotFitInto) {
  // All the RAM there is belongs to the kernel.
  PlanRequest request;
  request.ram = {range(kMiB, kMiB)};
  EXPECT_EQ(code_of(make_plan(image_at(kMiB, kMiB), request)), PlanError::kNoRoomForBootData);
  EXPECT_EQ(code_of(make_plan(image_at(kMiB, kMiB - 56), request)), PlanError::kNoRoomForBootData)
      << "start_info fits, the map does not";
  EXPECT_EQ(code_of(make_plan(image_at(kMiB, kMiB - 0xc0), request)), PlanError::kNoRoomForBootData)
      << "the GDT does not";
  request.start_info_version = 0;
  request.modules.resize(100);
  EXPECT_EQ(code_of(make_plan(image_at(kMiB, kMiB - 0x800), request)), PlanError::kTooManyModules);
  request.modules.assign(1, {"m", {}, std::string(0x1000, 'x')});
  EXPECT_EQ(code_of(make_plan(image_at(kMiB, kMiB - 0x800), request)),
            PlanError::kCommandLineTooLong);
}

TEST(Relocation, LeavesTheImageWhereItIsLinkedWhenThatFits) {
  Image image = image_at(16 * kMiB, 0x1000);
  image.relocation = Relocation{2 * kMiB, PhysAddr(0), PhysAddr(UINT32_MAX)};
  const auto plan = make_plan(image, request_with(32 * kMiB));
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(plan->load_offset, 0);
}

TEST(Relocation, MovesAllSegmentsAndTheEntryDown) {
  Image image = image_at(16 * kMiB + 0x1000, 0x1000);
  add_segment(image, 17 * kMiB, 0x10);
  image.relocation = Relocation{2 * kMiB, PhysAddr(0), PhysAddr(UINT32_MAX)};
  const auto plan = make_plan(image, request_with(8 * kMiB));
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_EQ(plan->load_offset, -static_cast<std::int64_t>(14 * kMiB));
  EXPECT_EQ(plan->entry.eip, 2 * kMiB + 0x1000);
  EXPECT_EQ(find(*plan, PieceKind::kSegment).range.first(), PhysAddr(2 * kMiB + 0x1000));
  EXPECT_EQ(plan->pieces.back().range, range(3 * kMiB, 0x10));
}

TEST(Relocation, KeepsToItsBoundsAndToWholeMultiples) {
  Image image = image_at(kMiB, 0x1000);
  const auto offset_within = [&](std::uint64_t first, std::uint64_t last) {
    image.relocation = Relocation{2 * kMiB, PhysAddr(first), PhysAddr(last)};
    const auto plan = make_plan(image, request_with(16 * kMiB));
    return plan ? plan->load_offset / static_cast<std::int64_t>(kMiB) : -1;
  };
  EXPECT_EQ(offset_within(5 * kMiB, 5 * kMiB + 0xfff), 4) << "from 1 MiB to 5 MiB, exactly";
  EXPECT_EQ(offset_within(5 * kMiB, 5 * kMiB + 0xffe), -1) << "one byte too few";
  EXPECT_EQ(offset_within(5 * kMiB + 1, 8 * kMiB), 6);
  EXPECT_EQ(offset_within(16 * kMiB, UINT32_MAX), -1) << "outside RAM";
  EXPECT_EQ(offset_within(5 * kMiB, 4 * kMiB), -1) << "no bounds at all";
}

TEST(Relocation, SaysWhatWasAllowed) {
  Image image = image_at(kMiB, 0x1000);
  image.relocation = Relocation{2 * kMiB, PhysAddr(6 * kMiB), PhysAddr(7 * kMiB)};
  const auto plan = make_plan(image, request_with(16 * kMiB));
  EXPECT_EQ(code_of(plan), PlanError::kOutsideRam);
  EXPECT_THAT(text_of(plan), HasSubstr("multiples of 0x200000 within 0x600000-0x700000"));
}

TEST(EntryState, IsTheSpecifications) {
  const auto plan = make_plan(image_at(kMiB, 0x1000), request_with(16 * kMiB));
  ASSERT_TRUE(plan) << text_of(plan);
  const EntryState& entry = plan->entry;
  EXPECT_EQ(entry.eip, kMiB);
  EXPECT_EQ(entry.ebx, 0x6000u);
  EXPECT_EQ(entry.cr0, 0x11u);
  EXPECT_EQ(entry.cr4, 0u);
  EXPECT_EQ(entry.eflags, 2u);
  EXPECT_EQ(entry.cs.selector, 0x08);
  for (const SegmentState& data : {entry.ds, entry.es, entry.fs, entry.gs, entry.ss}) {
    EXPECT_EQ(data.selector, 0x10);
    EXPECT_EQ(access_rights(data), 0xc93);
    EXPECT_EQ(data.limit, UINT32_MAX);
  }
  EXPECT_EQ(access_rights(entry.cs), 0xc9b);
  EXPECT_EQ(entry.cs.limit, UINT32_MAX);
  EXPECT_EQ(entry.tr.selector, 0x18);
  EXPECT_EQ(access_rights(entry.tr), 0x8b);
  EXPECT_EQ(entry.tr.limit, 0x67u);
  EXPECT_EQ(entry.tr.base, 0u);
  EXPECT_FALSE(entry.ldtr.present);
  EXPECT_EQ(entry.idtr.limit, 0);
}

TEST(EntryState, GdtrPointsAtDescriptorsThatSayWhatTheHiddenPartsSay) {
  const auto plan = make_plan(image_at(kMiB, 0x1000), request_with(16 * kMiB));
  ASSERT_TRUE(plan) << text_of(plan);
  const Piece& gdt = find(*plan, PieceKind::kGdt);
  EXPECT_EQ(plan->entry.gdtr.base, gdt.range.first());
  EXPECT_EQ(plan->entry.gdtr.limit + 1u, gdt.range.size().value());
  for (const SegmentState& segment : {plan->entry.cs, plan->entry.ds, plan->entry.tr}) {
    const auto in_memory = base::read_at<base::Le64>(gdt.content, segment.selector);
    ASSERT_TRUE(in_memory);
    EXPECT_EQ(in_memory->get(), descriptor(segment));
  }
}

TEST(EntryState, DescriptorsAreThoseOfTheManual) {
  EXPECT_EQ(descriptor(kFlatCode), 0x00cf9b000000ffffu);
  EXPECT_EQ(descriptor(kFlatData), 0x00cf93000000ffffu);
  EXPECT_EQ(descriptor({.base = 0x12345678, .limit = 0x9abcd, .type = 3, .present = true}),
            0x1209'9334'5678'abcdu);
  EXPECT_EQ(access_rights({.dpl = 3}), 0x70);
}

TEST(Poison, LeavesAloneWhatIsSpecified) {
  PlanRequest request = request_with(16 * kMiB);
  const auto calm = make_plan(image_at(kMiB, 0x1000), request);
  request.poison = true;
  const auto hostile = make_plan(image_at(kMiB, 0x1000), request);
  ASSERT_TRUE(calm && hostile);
  const EntryState& a = calm->entry;
  const EntryState& b = hostile->entry;
  EXPECT_EQ(a.eip, b.eip);
  EXPECT_EQ(a.ebx, b.ebx);
  EXPECT_EQ(a.cr0, b.cr0);
  EXPECT_EQ(a.cr4, b.cr4);
  EXPECT_EQ(b.eflags & 0x20300u, 0u) << "VM, IF, TF";
  EXPECT_EQ(b.eflags & 0x8028u, 0u) << "reserved, always 0";
  EXPECT_EQ(b.eflags & 2u, 2u);
  EXPECT_NE(b.eflags & 0x400u, 0u) << "DF";
  for (auto member :
       {&EntryState::cs, &EntryState::ds, &EntryState::es, &EntryState::ss, &EntryState::tr}) {
    SegmentState hidden = b.*member;
    EXPECT_NE(hidden.selector, (a.*member).selector);
    EXPECT_EQ(hidden.selector & 7, 0) << "RPL 0, and TR must be in the GDT";
    hidden.selector = (a.*member).selector;
    EXPECT_EQ(hidden, a.*member);
  }
  EXPECT_FALSE(b.gs.present);
  EXPECT_NE(b.fs.base, 0u);
  EXPECT_EQ(count(*hostile, PieceKind::kGdt), 0u);
}

TEST(Poison, FillsWhatIsFreeBesideTheBootDataAndNothingElse) {
  PlanRequest request = request_with(16 * kMiB);
  request.poison = true;
  request.start_info_version = 0;
  const auto plan = make_plan(image_at(kMiB, 0x1000), request);
  ASSERT_TRUE(plan) << text_of(plan);
  EXPECT_THAT(plan->poisoned, ElementsAre(range(0x6028, 0xfd8), range(0x20001, 0xfff)));
}

TEST(Explain, HasWordsForEveryCode) {
  for (int code = 0; code <= static_cast<int>(PlanError::kBadRequest); ++code) {
    EXPECT_NE(explain(static_cast<PlanError>(code)).what, "unknown error") << code;
  }
  EXPECT_EQ(explain(static_cast<PlanError>(1000)).what, "unknown error");
  for (int kind = 0; kind <= static_cast<int>(PieceKind::kTable); ++kind) {
    EXPECT_NE(to_string(static_cast<PieceKind>(kind)), "unknown") << kind;
  }
  EXPECT_EQ(to_string(static_cast<PieceKind>(1000)), "unknown");
}

// ---- Writing ----

class Writing : public testing::Test {
 protected:
  Writing() {
    request_.command_line = "root=/dev/vda rw";
    request_.modules = {{"one", one_, "first"}, {"none", {}, ""}};
    request_.tables = {
        {"RSDP", PhysAddr(0xe0000), std::vector<std::byte>(36, std::byte{3}), Type::kAcpi}};
    request_.rsdp = PhysAddr(0xe0000);
  }

  std::string string_at(const guest_memory::GuestMemory& memory, std::uint64_t address) {
    std::string text;
    for (;; ++address) {
      const char c = static_cast<char>(memory.read_value<std::uint8_t>(PhysAddr(address)).value());
      if (c == '\0') {
        return text;
      }
      text += c;
    }
  }

  std::vector<std::byte> one_ = std::vector<std::byte>(0x1801, std::byte{0x11});
  PlanRequest request_ = request_with(32 * kMiB);
};

TEST_F(Writing, ComesBackAsItWasAskedFor) {
  const Image image = image_at(2 * kMiB, 0x3000);
  for (const bool poison : {false, true}) {
    request_.poison = poison;
    const auto plan = make_plan(image, request_);
    ASSERT_TRUE(plan) << text_of(plan);
    auto memory = guest_memory::GuestMemory::create(request_.ram);
    ASSERT_TRUE(memory && write(*plan, *memory));
    const auto info = memory->read_value<abi::hvm_start_info>(PhysAddr(plan->entry.ebx)).value();
    EXPECT_EQ(info.magic.get(), abi::XEN_HVM_START_MAGIC_VALUE);
    EXPECT_EQ(info.version.get(), 1u);
    EXPECT_EQ(info.flags.get(), 0u);
    EXPECT_EQ(info.reserved.get(), 0u);
    EXPECT_EQ(info.rsdp_paddr.get(), 0xe0000u);
    EXPECT_EQ(string_at(*memory, info.cmdline_paddr.get()), request_.command_line);
    ASSERT_EQ(info.nr_modules.get(), 2u);
    const auto module = [&](std::uint64_t i) {
      return memory->read_value<abi::hvm_modlist_entry>(PhysAddr(info.modlist_paddr.get() + 32 * i))
          .value();
    };
    EXPECT_EQ(module(0).size.get(), one_.size());
    EXPECT_EQ(module(0).reserved.get(), 0u);
    EXPECT_EQ(string_at(*memory, module(0).cmdline_paddr.get()), "first");
    std::vector<std::byte> content(0x2000);
    ASSERT_TRUE(memory->read(PhysAddr(module(0).paddr.get()), content));
    std::vector<std::byte> expected = one_;
    expected.resize(0x2000);
    EXPECT_EQ(content, expected) << "the rest of the last page is zero";
    EXPECT_EQ(module(1).size.get(), 0u);
    EXPECT_NE(module(1).paddr.get(), 0u);
    EXPECT_EQ(module(1).cmdline_paddr.get(), 0u);
    ASSERT_EQ(info.memmap_entries.get(), plan->memory_map.size());
    for (std::size_t i = 0; i < plan->memory_map.size(); ++i) {
      const auto entry =
          memory
              ->read_value<abi::hvm_memmap_table_entry>(PhysAddr(info.memmap_paddr.get() + 24 * i))
              .value();
      EXPECT_EQ(entry.addr.get(), plan->memory_map[i].addr);
      EXPECT_EQ(entry.size.get(), plan->memory_map[i].size);
      EXPECT_EQ(entry.type.get(), plan->memory_map[i].type);
      EXPECT_EQ(entry.reserved.get(), 0u);
    }
    EXPECT_EQ(memory->read_value<std::uint8_t>(PhysAddr(2 * kMiB)).value(),
              std::to_integer<std::uint8_t>(image.elf[0]));
    EXPECT_EQ(memory->read_value<std::uint8_t>(PhysAddr(2 * kMiB + 0x1000)).value(), 0)
        << "beyond p_filesz";
    EXPECT_EQ(memory->read_value<std::uint8_t>(PhysAddr(0xe0000)).value(), 3);
  }
}

TEST_F(Writing, PoisonFollowsAStartInfoOfVersionZero) {
  request_.start_info_version = 0;
  request_.poison = true;
  const Image image = image_at(2 * kMiB, 0x3000);
  const auto plan = make_plan(image, request_);
  ASSERT_TRUE(plan) << text_of(plan);
  auto memory = guest_memory::GuestMemory::create(request_.ram);
  ASSERT_TRUE(memory && write(*plan, *memory));
  const auto info = memory->read_value<abi::hvm_start_info>(plan->start_info).value();
  EXPECT_EQ(info.memmap_paddr.get(), 0xa5a5a5a5a5a5a5a5u);
  EXPECT_EQ(info.memmap_entries.get(), 0xa5a5a5a5u);
}

TEST_F(Writing, NeedsTheMemoryOfTheRequest) {
  request_.poison = true;
  const Image image = image_at(2 * kMiB, 0x3000);
  const auto plan = make_plan(image, request_);
  ASSERT_TRUE(plan) << text_of(plan);
  for (const std::uint64_t size : {std::uint64_t{0x1000}, kMiB}) {
    auto memory = guest_memory::GuestMemory::create(ram_ranges(ByteSize(size)));
    ASSERT_TRUE(memory);
    EXPECT_EQ(write(*plan, *memory).error().code, guest_memory::MemoryError::kOutsideRam);
  }
}

}  // namespace
}  // namespace pvh::loader
