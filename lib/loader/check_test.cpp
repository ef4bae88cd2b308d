// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/elf_note.hpp>
#include <pvh/loader/check.hpp>

#include "lib/loader/testing/bzimage_builder.hpp"
#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::loader {
namespace {

using base::Le32;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;
using testkit::ByteVector;
using testkit::ElfBuilder;
using testkit::xen_entry;
using enum Monitor;

constexpr std::uint64_t kMiB = 0x100000;
constexpr std::uint64_t kAt = 2 * kMiB;
constexpr MonitorSet kQemu{kQemuPc, kQemuMicrovm};
constexpr MonitorSet kLinuxLoader{kFirecracker, kCloudHypervisor, kLibkrun};
constexpr MonitorSet kXen{kXenDom0, kXenDomU};

const ByteVector kCode(64, std::byte{0xf4});

CheckReport report_of(base::Bytes file, MonitorSet asked = MonitorSet::all()) {
  const auto image = parse_image(file);
  EXPECT_TRUE(image) << base::to_text(image.error());
  return image ? check_image(*image, asked) : CheckReport{};
}

std::vector<std::string_view> rules_of(base::Bytes file) {
  std::vector<std::string_view> rules;
  for (const Finding& finding : report_of(file).findings) {
    rules.push_back(to_string(finding.rule));
  }
  return rules;
}

// The finding, which must be the only one of its rule and severity.
Finding only(base::Bytes file, Rule rule, Severity severity = Severity::kError) {
  const CheckReport report = report_of(file);
  const auto matches = [&](const Finding& finding) {
    return finding.rule == rule && finding.severity == severity;
  };
  EXPECT_EQ(std::ranges::count_if(report.findings, matches), 1) << to_string(rule);
  const auto found = std::ranges::find_if(report.findings, matches);
  return found == report.findings.end() ? Finding{rule, severity, {}, std::nullopt, "", ""}
                                        : *found;
}

// What everybody boots: code and data apart, a page-aligned start above 1 MiB.
ElfBuilder good(ElfClass elf_class = ElfClass::k64, std::uint64_t at = kAt) {
  return ElfBuilder(elf_class).entry(at).segment(
      {.paddr = at, .content = kCode, .flags = abi::PF_R | abi::PF_X});
}

ElfBuilder noted(std::vector<testkit::NoteSpec> notes, std::uint64_t alignment = 4) {
  return good().notes(notes, alignment);
}

ByteVector flat(ElfBuilder builder) {
  return builder.notes({xen_entry(kAt)}).build();
}

void put_multiboot(ByteVector& file, std::size_t at, std::uint32_t flags = 0) {
  testkit::put(file, at, Le32(0x1badb002));
  testkit::put(file, at + 4, Le32(flags));
  testkit::put(file, at + 8, Le32(0u - 0x1badb002u - flags));
}

ByteVector with_multiboot(ElfClass elf_class, std::size_t at, std::uint32_t flags = 0) {
  ByteVector file = ElfBuilder(elf_class)
                        .entry(kAt)
                        .segment({.paddr = kAt,
                                  .content = ByteVector(10000, std::byte{0xf4}),
                                  .flags = abi::PF_R | abi::PF_X})
                        .notes({xen_entry(kAt, elf_class == ElfClass::k32 ? 4 : 8)})
                        .build();
  put_multiboot(file, at, flags);
  return file;
}

TEST(Check, HasNothingToSayOfAGoodKernel) {
  const CheckReport report = report_of(flat(good()));
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_TRUE(report.refusing().empty());
  for (const Monitor monitor : kMonitors) {
    EXPECT_EQ(report.protocol(monitor), Protocol::kPvh) << to_string(monitor);
  }
}

TEST(Check, KnowsEveryMonitorByItsName) {
  for (const Monitor monitor : kMonitors) {
    EXPECT_EQ(monitor_from_string(to_string(monitor)), monitor);
    EXPECT_NE(title_of(monitor), "unknown");
  }
  EXPECT_FALSE(monitor_from_string("qemu"));
  EXPECT_EQ(kMonitors.size(), 8u);
}

TEST(Check, SaysOnlyWhatConcernsThoseAskedAbout) {
  const ByteVector file = good(ElfClass::k32).notes({xen_entry(kAt, 4)}).build();
  EXPECT_THAT(report_of(file, {kQemuPc, kXenDomU}).findings, IsEmpty());
  const CheckReport report = report_of(file, {kFirecracker, kQemuPc});
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].monitors, MonitorSet({kFirecracker}));
  EXPECT_EQ(report.refusing(), MonitorSet({kFirecracker}));
  EXPECT_EQ(report.protocol(kFirecracker), std::nullopt);
}

TEST(Check, PutsErrorsFirst) {
  const CheckReport report = report_of(
      ElfBuilder(ElfClass::k64).entry(0).load(0x3000, kCode).notes({xen_entry(0x3000, 4)}).build());
  EXPECT_TRUE(std::ranges::is_sorted(report.findings, {}, &Finding::severity));
  EXPECT_EQ(report.findings.front().severity, Severity::kError);
  EXPECT_EQ(report.findings.back().severity, Severity::kNote);
}

TEST(CheckNotes, NoNoteAtAllNamesTheLinkerFragment) {
  const Finding finding = only(good().build(), Rule::kNoPvhNote);
  EXPECT_EQ(finding.monitors, MonitorSet::all());
  EXPECT_THAT(std::string(finding.remedy), HasSubstr("pvh_add_kernel"));
  EXPECT_THAT(std::string(finding.remedy), HasSubstr("KEEP(*(.note.Xen))"));
  EXPECT_THAT(std::string(finding.remedy), HasSubstr("PT_NOTE FLAGS(4)"));
  EXPECT_EQ(only(noted({testkit::gnu_build_id()}).build(), Rule::kNoPvhNote).monitors,
            MonitorSet::all());
}

TEST(CheckNotes, OnlyXenReadsSections) {
  const Finding finding =
      only(good().note_section({xen_entry(kAt)}).build(), Rule::kNoteNotInSegment);
  EXPECT_EQ(finding.monitors, kQemu.with(kLinuxLoader));
  EXPECT_TRUE(finding.offset);
  EXPECT_THAT(std::string(finding.remedy), HasSubstr("PHDRS { note PT_NOTE FLAGS(4); }"));
  // Another note of Xen's in a segment keeps it from the sections.
  const ByteVector file = noted({testkit::xen_note(abi::XEN_ELFNOTE_GUEST_OS, 0, 4)})
                              .note_section({xen_entry(kAt)})
                              .build();
  EXPECT_EQ(only(file, Rule::kNoteNotInSegment).monitors, MonitorSet::all().without({kPvh}));
  EXPECT_THAT(rules_of(noted({xen_entry(kAt)}).note_section({xen_entry(kAt)}).build()), IsEmpty());
}

TEST(CheckNotes, ALaterNoteSegmentHidesXensFromLinuxLoader) {
  const ByteVector hidden = noted({xen_entry(kAt)}).notes({testkit::gnu_build_id()}).build();
  const Finding finding = only(hidden, Rule::kTwoNoteSegments);
  EXPECT_EQ(finding.monitors, kLinuxLoader);
  EXPECT_EQ(finding.offset, testkit::program_header_offset(ElfClass::k64, 2));
  EXPECT_THAT(rules_of(hidden), ElementsAre("two-note-segments"));
  EXPECT_THAT(rules_of(noted({testkit::gnu_build_id()}).notes({xen_entry(kAt)}).build()),
              IsEmpty());
  EXPECT_THAT(rules_of(noted({testkit::gnu_build_id(), xen_entry(kAt)}).build()), IsEmpty());
}

TEST(CheckNotes, QemuWalksByTheSegmentsAlignment) {
  const Finding finding = only(noted({xen_entry(kAt)}, 8).build(), Rule::kNoteAlignment);
  EXPECT_EQ(finding.monitors, kQemu);
  EXPECT_EQ(finding.offset, testkit::program_header_offset(ElfClass::k64, 1));
  EXPECT_THAT(std::string(finding.remedy), HasSubstr(".note.gnu.property"));
  EXPECT_EQ(only(noted({testkit::gnu_property(ElfClass::k64), xen_entry(kAt)}, 8).build(),
                 Rule::kNoteAlignment)
                .monitors,
            kQemu);
  // Sizes that are multiples of it anyway.
  EXPECT_THAT(rules_of(noted({xen_entry(kAt)}, 1).build()), IsEmpty());
  EXPECT_THAT(rules_of(noted({xen_entry(kAt)}, 2).build()), IsEmpty());
}

TEST(CheckNotes, QemuDividesByAnAlignmentOfZero) {
  const Finding finding = only(noted({xen_entry(kAt)}, 0).build(), Rule::kNoteAlignmentZero);
  EXPECT_EQ(finding.monitors, kQemu);
  EXPECT_THAT(finding.what, HasSubstr("SIGFPE"));
  // It does not look into an empty one.
  EXPECT_THAT(rules_of(good().note_bytes({}, 0).notes({xen_entry(kAt)}).build()), IsEmpty());
}

TEST(CheckNotes, TwoDifferentEntriesAreReadDifferently) {
  const ByteVector file = noted({xen_entry(kAt), xen_entry(kAt + 4)}).build();
  EXPECT_EQ(only(file, Rule::kTwoEntries).monitors, kXen) << "others take the first of a segment";
  EXPECT_THAT(rules_of(noted({xen_entry(kAt), xen_entry(kAt)}).build()), IsEmpty());
  const CheckReport apart = report_of(noted({xen_entry(kAt)}).notes({xen_entry(kAt + 4)}).build());
  EXPECT_EQ(apart.refusing(), MonitorSet::all().without({kPvh})) << "the last one everywhere";
}

TEST(CheckNotes, QemuDoesNotAskWhoseNoteItIs) {
  testkit::NoteSpec foreign = xen_entry(0x300000);
  foreign.owner = "Foo";
  const Finding finding = only(noted({foreign, xen_entry(kAt)}).build(), Rule::kForeignEntryNote);
  EXPECT_EQ(finding.monitors, kQemu);
  EXPECT_THAT(finding.what, HasSubstr("0x300000"));
  EXPECT_THAT(rules_of(noted({xen_entry(kAt), foreign}).build()), IsEmpty());
}

TEST(CheckNotes, APaddingThatOnlyWeUnderstandIsMisread) {
  // Padded to 8 where everybody takes 4: the Xen note of 4 bytes name is the same under both, what
  // comes before it is not.
  testkit::NoteSpec odd = testkit::gnu_build_id();
  odd.owner = "abcdefghijklm";
  odd.padding = 8;
  testkit::NoteSpec entry = xen_entry(kAt);
  entry.padding = 8;
  const CheckReport report = report_of(noted({odd, entry}).build());
  EXPECT_FALSE(report.refusing().contains(kPvh));
  EXPECT_EQ(report.refusing(), MonitorSet::all().without({kPvh}));
  EXPECT_EQ(report.findings.front().rule, Rule::kNoteMisread);
}

TEST(CheckNotes, AValueOfFourBytesIsANoteInElf64Only) {
  EXPECT_EQ(
      only(noted({xen_entry(kAt, 4)}).build(), Rule::kShortDescriptor, Severity::kNote).monitors,
      kQemu);
  EXPECT_THAT(rules_of(good(ElfClass::k32).notes({xen_entry(kAt, 4)}).build()),
              ElementsAre("elf32"));
}

TEST(CheckNotes, ARejectedNoteSaysWhy) {
  const Finding outside =
      only(noted({xen_entry(kAt + 0x100000)}).build(), Rule::kEntryOutsideSegments);
  EXPECT_EQ(outside.monitors, MonitorSet::all());
  EXPECT_THAT(outside.what, HasSubstr("0x300000"));
  EXPECT_TRUE(outside.offset);
  EXPECT_EQ(
      only(noted({xen_entry(std::uint64_t{1} << 32)}).build(), Rule::kEntryAbove4GiB).monitors,
      MonitorSet::all());
  EXPECT_EQ(only(noted({xen_entry(kAt, 2)}).build(), Rule::kNoteDescriptorSize).monitors,
            MonitorSet::all());
  ByteVector cut = testkit::encode_notes({xen_entry(kAt)});
  cut.resize(cut.size() - 4);
  EXPECT_EQ(only(good().note_bytes(cut).build(), Rule::kNoteTruncated).monitors, MonitorSet::all());
}

TEST(CheckHeaders, Elf32IsNotForLinuxLoader) {
  const Finding finding =
      only(good(ElfClass::k32).notes({xen_entry(kAt, 4)}).build(), Rule::kElf32);
  EXPECT_EQ(finding.monitors, kLinuxLoader);
  EXPECT_EQ(finding.offset, abi::EI_CLASS);
}

TEST(CheckHeaders, TheElfEntryMustBeAbove1MiBForTwo) {
  EXPECT_EQ(only(flat(good().entry(kMiB - 1)), Rule::kElfEntryTooLow).monitors,
            MonitorSet({kFirecracker, kCloudHypervisor}));
  EXPECT_THAT(rules_of(flat(good().entry(kMiB))), IsEmpty());
}

TEST(CheckHeaders, ProgramHeadersMustComeBehindTheElfHeader) {
  // A copy of the table where e_shoff and what follows it are: 8 bytes early. It describes nothing.
  ByteVector file = flat(good());
  testkit::put(file, offsetof(abi::Elf64_Ehdr, e_phoff), base::Le64(56));
  const auto image = parse_image(file);
  ASSERT_TRUE(image);
  const CheckReport report = check_image(*image);
  const auto found =
      std::ranges::find(report.findings, Rule::kProgramHeadersOffset, &Finding::rule);
  ASSERT_NE(found, report.findings.end());
  EXPECT_EQ(found->monitors, kLinuxLoader);
  EXPECT_THAT(rules_of(flat(good())), Not(Contains("program-headers-offset")));
}

TEST(CheckHeaders, QemuRefusesMultibootsFlagsInTheElfHeader) {
  for (const std::uint32_t flags : {4u, 0x10000u}) {
    ByteVector file = flat(good());
    testkit::put(file, offsetof(abi::Elf64_Ehdr, e_flags), Le32(flags));
    EXPECT_EQ(only(file, Rule::kElfFlags).monitors, kQemu);
  }
  ByteVector file = flat(good());
  testkit::put(file, offsetof(abi::Elf64_Ehdr, e_flags), Le32(1));
  EXPECT_THAT(rules_of(file), IsEmpty());
}

TEST(CheckMultiboot, AHeaderInAnX86_64ElfIsRefusedByQemu) {
  for (const std::size_t at : {std::size_t{0x200}, std::size_t{8140}}) {
    const Finding finding = only(with_multiboot(ElfClass::k64, at), Rule::kMultiboot1InElf64);
    EXPECT_EQ(finding.monitors, kQemu);
    EXPECT_EQ(finding.offset, at);
    EXPECT_THAT(std::string(finding.remedy), HasSubstr("remove the Multiboot1 header"));
  }
}

TEST(CheckMultiboot, OnlyAWholeHeaderWhereQemuLooksIsOne) {
  for (const std::size_t at : {std::size_t{8144}, std::size_t{0x202}}) {
    EXPECT_THAT(rules_of(with_multiboot(ElfClass::k64, at)), IsEmpty()) << at;
  }
  ByteVector file = with_multiboot(ElfClass::k64, 0x200);
  testkit::put(file, 0x208, Le32(0));
  EXPECT_THAT(rules_of(file), IsEmpty()) << "its checksum is wrong";
}

TEST(CheckMultiboot, WhereQemuTakesTheHeaderItDoesNotBootByPvh) {
  constexpr std::uint32_t kHasAddresses = 0x10000;
  const CheckReport kludge = report_of(with_multiboot(ElfClass::k64, 0x200, kHasAddresses));
  EXPECT_EQ(kludge.protocol(kQemuPc), Protocol::kMultiboot);
  EXPECT_EQ(kludge.protocol(kFirecracker), Protocol::kPvh);
  ASSERT_EQ(kludge.findings.size(), 1u);
  EXPECT_EQ(kludge.findings[0].rule, Rule::kMultiboot1First);
  EXPECT_EQ(kludge.findings[0].severity, Severity::kWarning);
  const ByteVector elf32 = with_multiboot(ElfClass::k32, 0x200);
  EXPECT_EQ(only(elf32, Rule::kMultiboot1First, Severity::kWarning).monitors, kQemu);
}

TEST(CheckAddresses, XlWantsAWholeFirstPage) {
  const auto at = [](std::uint64_t address) {
    return good(ElfClass::k64, address).notes({xen_entry(address)}).build();
  };
  EXPECT_EQ(only(at(kAt + 0xb0), Rule::kSegmentNotPageAligned).monitors, MonitorSet({kXenDomU}));
  EXPECT_THAT(rules_of(at(kAt + 0x1000)), IsEmpty());
}

TEST(CheckAddresses, BelowOneMiBEachMonitorHasItsPlaces) {
  struct Row {
    std::uint64_t address;
    MonitorSet refusing;
  };
  const MonitorSet low_entry{kFirecracker, kCloudHypervisor};  // e_entry, which is the same here
  const std::vector<Row> rows{
      {0x3000, {}},
      {0x6000, kLinuxLoader},
      {0x8000, {kQemuPc}},
      {0x20000, kLinuxLoader.with({kQemuPc})},
      {0x90000, {}},
      {0x9f000, {kPvh}},
      {0xa0000, kLinuxLoader.with({kPvh, kQemuPc, kXenDom0})},
      {0xe1000, {kPvh, kQemuPc, kCloudHypervisor, kLibkrun, kXenDom0}},
      {0xff000, {kPvh, kQemuPc, kQemuMicrovm, kCloudHypervisor, kLibkrun, kXenDom0}},
      {kMiB, {}}};
  for (const Row& row : rows) {
    const ByteVector file =
        good(ElfClass::k64, row.address).entry(kMiB).notes({xen_entry(row.address)}).build();
    const CheckReport report = report_of(file);
    EXPECT_EQ(report.refusing(), row.refusing) << std::hex << row.address;
    MonitorSet told;
    for (const Finding& finding : report.findings) {
      EXPECT_EQ(finding.rule, Rule::kLowLoadAddress);
      told = told.with(finding.monitors);
    }
    EXPECT_EQ(told, row.address < kMiB ? MonitorSet::all() : MonitorSet())
        << std::hex << row.address;
    EXPECT_EQ(report_of(good(ElfClass::k64, row.address).notes({xen_entry(row.address)}).build())
                  .refusing(),
              row.address < kMiB ? row.refusing.with(low_entry) : row.refusing);
  }
}

TEST(CheckAddresses, XenMovesARelocatableDom0OutOfTheWay) {
  const ByteVector file = good(ElfClass::k64, 0xc0000)
                              .notes({xen_entry(0xc0000), testkit::xen_relocation({0x1000})})
                              .build();
  EXPECT_FALSE(report_of(file).refusing().contains(kXenDom0));
}

TEST(CheckAddresses, ThereIsNoRamWhereDevicesAre) {
  const auto refusing = [](std::uint64_t address) {
    return report_of(good(ElfClass::k64, address).notes({xen_entry(address)}).build()).refusing();
  };
  EXPECT_EQ(refusing(0xbffff000), MonitorSet());
  EXPECT_EQ(refusing(0xc0000000), MonitorSet({kPvh, kFirecracker, kCloudHypervisor}));
  EXPECT_EQ(refusing(0xd0000000), kLinuxLoader.with({kPvh}));
  EXPECT_EQ(refusing(0xf0000000), kLinuxLoader.with(kQemu).with({kPvh, kXenDomU}));
  EXPECT_THAT(rules_of(good(ElfClass::k64, 0xf0000000).notes({xen_entry(0xf0000000)}).build()),
              Contains("load-in-device-hole"));
}

TEST(CheckAddresses, AHoleIsProbablyAMistake) {
  const auto with_second = [](std::uint64_t address) {
    return flat(good().segment({.paddr = address, .content = kCode, .flags = abi::PF_R}));
  };
  const Finding finding =
      only(with_second(kAt + 0x20000000), Rule::kMemoryHole, Severity::kWarning);
  EXPECT_EQ(finding.monitors, MonitorSet::all());
  EXPECT_THAT(rules_of(with_second(kAt + 0x1000000)), IsEmpty());
}

TEST(CheckAddresses, WritableCodeIsWorthANote) {
  EXPECT_EQ(only(flat(ElfBuilder(ElfClass::k64).entry(kAt).load(kAt, kCode)), Rule::kWritableCode,
                 Severity::kNote)
                .monitors,
            MonitorSet::all());
}

TEST(CheckRelocation, ItsNumbersMustMakeSense) {
  const auto with = [](const std::vector<std::uint32_t>& numbers) {
    return noted({xen_entry(kAt), testkit::xen_relocation(numbers)}).build();
  };
  EXPECT_EQ(only(with({3}), Rule::kBadRelocation, Severity::kWarning).monitors,
            MonitorSet({kXenDom0}));
  EXPECT_EQ(only(with({0x1000, 0x2000, 0x1000}), Rule::kBadRelocation, Severity::kWarning).monitors,
            MonitorSet({kXenDom0}));
  EXPECT_THAT(only(with({0x400000}), Rule::kBadRelocation, Severity::kWarning).what,
              HasSubstr("no multiple"));
  EXPECT_THAT(rules_of(with({0x200000, 0, 0xffffffff})), IsEmpty());
}

TEST(CheckMalformed, WhatNobodyCanLoad) {
  const auto with = [](testkit::SegmentSpec segment) {
    segment.flags = abi::PF_R;
    return flat(good().segment(std::move(segment)));
  };
  EXPECT_EQ(only(with({.paddr = 4 * kMiB, .content = kCode, .memory_size = 1}),
                 Rule::kFileSizeAboveMemorySize)
                .monitors,
            MonitorSet::all());
  EXPECT_EQ(only(with({.paddr = UINT64_MAX - 0xfff, .content = kCode, .memory_size = 0x2000}),
                 Rule::kSegmentWraps)
                .monitors,
            MonitorSet::all());
  ByteVector cut = flat(good());
  testkit::put(
      cut, testkit::program_header_offset(ElfClass::k64, 0) + offsetof(abi::Elf64_Phdr, p_offset),
      base::Le64(0x10000));
  EXPECT_EQ(only(cut, Rule::kSegmentOutsideFile).monitors, MonitorSet::all());
  EXPECT_EQ(
      only(ElfBuilder(ElfClass::k64).entry(kAt).notes({xen_entry(kAt)}).build(), Rule::kNoSegments)
          .monitors,
      MonitorSet::all());
}

TEST(CheckMalformed, OverlappingSegmentsAreRefusedHereOnly) {
  const ByteVector file =
      flat(good().segment({.paddr = kAt, .content = kCode, .flags = abi::PF_R}));
  EXPECT_EQ(only(file, Rule::kSegmentsOverlap).monitors, MonitorSet({kPvh}));
  EXPECT_EQ(only(file, Rule::kSegmentsOverlap, Severity::kWarning).monitors,
            MonitorSet::all().without({kPvh}));
}

TEST(CheckContainer, ABzImageIsPvhForXenAndUs) {
  // Wrong for QEMU and linux-loader as an ELF, but they never see the ELF.
  const ByteVector elf = noted({xen_entry(kAt)}, 8).notes({testkit::gnu_build_id()}).build();
  const CheckReport report =
      report_of(testkit::make_bzimage(testkit::pack_as_payload(elf, testkit::Packing::kXz)));
  EXPECT_EQ(report.refusing(), MonitorSet({kFirecracker, kLibkrun}));
  EXPECT_EQ(report.protocol(kQemuPc), Protocol::kLinux);
  EXPECT_EQ(report.protocol(kQemuMicrovm), Protocol::kLinux);
  EXPECT_EQ(report.protocol(kCloudHypervisor), Protocol::kLinux);
  for (const Monitor monitor : {kPvh, kXenDom0, kXenDomU}) {
    EXPECT_EQ(report.protocol(monitor), Protocol::kPvh);
  }
  std::vector<Rule> rules;
  for (const Finding& finding : report.findings) {
    rules.push_back(finding.rule);
  }
  EXPECT_THAT(rules, UnorderedElementsAre(Rule::kBzImageLinuxProtocol, Rule::kBzImageRefused));
}

TEST(CheckContainer, ACompressedElfIsForFew) {
  const ByteVector elf = flat(good());
  EXPECT_EQ(report_of(testkit::pack(elf, testkit::Packing::kGzip)).refusing(),
            kQemu.with(kLinuxLoader));
  EXPECT_EQ(report_of(testkit::pack(elf, testkit::Packing::kZstd)).refusing(),
            kQemu.with(kLinuxLoader).with({kXenDomU}));
}

TEST(CheckNotes, TooManyNotesEndTheSearch) {
  // 4 MiB of notes without owner and descriptor: our finder gives up, and the peers' models too.
  ByteVector notes(4 << 20);
  for (std::size_t at = 8; at + 4 <= notes.size(); at += 12) {
    notes[at] = std::byte{1};
  }
  const ByteVector file = good().note_bytes(notes).notes({xen_entry(kAt)}).build();
  EXPECT_EQ(only(file, Rule::kNoPvhNote).monitors, MonitorSet::all());
}

}  // namespace
}  // namespace pvh::loader
