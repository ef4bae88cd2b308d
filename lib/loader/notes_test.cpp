// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/elf_note.hpp>
#include <pvh/loader/image.hpp>

#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::loader {
namespace {

using base::PhysAddr;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testkit::ElfBuilder;
using testkit::kCodeAddress;

const testkit::ByteVector kCode(64, std::byte{0xf4});

ElfBuilder kernel(ElfClass elf_class = ElfClass::k64) {
  ElfBuilder builder(elf_class);
  builder.load(kCodeAddress, kCode);
  return builder;
}

// The bytes have to live as long as the Image.
struct Parsed {
  testkit::ByteVector file;
  Image image;
};

Parsed parse(const ElfBuilder& builder) {
  Parsed parsed{builder.build(), {}};
  auto image = parse_image(parsed.file);
  EXPECT_TRUE(image) << base::to_text(image.error());
  if (image) {
    parsed.image = std::move(*image);
  }
  return parsed;
}

std::vector<NoteVerdict> verdicts(const Image& image) {
  std::vector<NoteVerdict> found;
  found.reserve(image.notes.size());
  for (const Note& note : image.notes) {
    found.push_back(note.verdict);
  }
  return found;
}

class NoteMatrix : public testing::TestWithParam<testkit::NoteCase> {};

TEST_P(NoteMatrix, EveryLayoutLeadsToTheEntry) {
  const testkit::ByteVector file = testkit::build_case(GetParam(), kCode, 0x200000);
  const auto image = parse_image(file);
  ASSERT_TRUE(image) << base::to_text(image.error());
  EXPECT_EQ(image->pvh_entry, PhysAddr(0x200000));
  EXPECT_EQ(image->elf_class, GetParam().elf_class);
  EXPECT_THAT(image->problems, IsEmpty());
  const bool has_property = GetParam().property != testkit::PropertyNote::kNone;
  const bool has_other_segment = GetParam().placement == testkit::NotePlacement::kFirstOfTwo ||
                                 GetParam().placement == testkit::NotePlacement::kLastOfTwo;
  const std::size_t others = (has_property ? 1u : 0u) + (has_other_segment ? 1u : 0u);
  EXPECT_THAT(image->notes, SizeIs(1 + others)) << "no note is lost, none is made up";
}

INSTANTIATE_TEST_SUITE_P(All, NoteMatrix, testing::ValuesIn(testkit::note_matrix()),
                         [](const auto& param_info) {
                           std::string name = testkit::name_of(param_info.param);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(NoteMatrix, HasEveryCombinationOnce) {
  std::vector<std::string> names;
  for (const auto& note_case : testkit::note_matrix()) {
    names.push_back(testkit::name_of(note_case));
  }
  std::ranges::sort(names);
  EXPECT_THAT(names, SizeIs(2 * 2 * 2 * 3 * 4));
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

TEST(Notes, PaddedToEightAllTheWay) {
  auto entry = testkit::xen_entry(kCodeAddress, 4);
  auto id = testkit::gnu_build_id();
  testkit::NoteSpec linux_note{
      .owner = "Linux", .type = 257, .descriptor = testkit::to_vector("1234")};
  entry.padding = id.padding = linux_note.padding = 8;
  const auto parsed = parse(kernel().notes({linux_note, id, linux_note, entry, id}, 8));
  EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress));
  EXPECT_THAT(verdicts(parsed.image),
              ElementsAre(NoteVerdict::kOtherOwner, NoteVerdict::kOtherOwner,
                          NoteVerdict::kOtherOwner, NoteVerdict::kEntry, NoteVerdict::kOtherOwner));
  EXPECT_EQ(parsed.image.notes[0].padding, 8u);
  EXPECT_EQ(parsed.image.notes[0].value, 0x34333231u) << "the descriptor is where 8 puts it";
}

TEST(Notes, PaddingChangesWithinASegment) {
  // 4, then 8 after a gap of zeroes, then 4 again: what a linker script that gathers all notes
  // does.
  const auto parsed = parse(
      kernel().notes({testkit::xen_note(abi::XEN_ELFNOTE_PAE_MODE, 1, 4),
                      testkit::gnu_property(ElfClass::k64), testkit::gnu_build_id(),
                      testkit::gnu_property(ElfClass::k64), testkit::xen_entry(kCodeAddress, 4)},
                     8));
  EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress));
  EXPECT_THAT(parsed.image.notes, SizeIs(5));
}

TEST(Notes, AlignmentOfAnySizeIsHarmless) {
  for (const std::uint64_t alignment :
       std::vector<std::uint64_t>{0, 1, 2, 3, 16, 4096, UINT64_MAX}) {
    const auto parsed = parse(
        kernel().notes({testkit::gnu_build_id(), testkit::xen_entry(kCodeAddress)}, alignment));
    EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress)) << "p_align " << alignment;
  }
}

TEST(Notes, OwnerMustBeXen) {
  auto foreign = testkit::xen_entry(kCodeAddress);
  foreign.owner = "Foo";
  auto longer = testkit::xen_entry(kCodeAddress);
  longer.owner = "Xenon";
  auto padded = testkit::xen_entry(kCodeAddress);
  padded.owner = std::string("Xen\0\0\0\0", 7);
  const auto parsed = parse(kernel().notes({foreign, longer, padded}));
  EXPECT_EQ(parsed.image.pvh_entry, std::nullopt);
  EXPECT_THAT(
      verdicts(parsed.image),
      ElementsAre(NoteVerdict::kOtherOwner, NoteVerdict::kOtherOwner, NoteVerdict::kOtherOwner));
  ASSERT_THAT(parsed.image.problems, SizeIs(1));
  EXPECT_EQ(parsed.image.problems[0].code, ImageError::kNoPvhNote);
  EXPECT_THAT(parsed.image.problems[0].detail, HasSubstr("Foo, Xenon"));
}

TEST(Notes, OwnerMayLackItsTerminator) {
  auto bare = testkit::xen_entry(kCodeAddress);
  bare.bare_owner = true;
  const auto parsed = parse(kernel().notes({bare, testkit::gnu_build_id(), bare}));
  EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress));
  EXPECT_THAT(parsed.image.notes, SizeIs(3));
}

TEST(Notes, TheFirstGoodOneWins) {
  const auto parsed =
      parse(kernel()
                .notes({testkit::xen_entry(0x1000), testkit::xen_entry(kCodeAddress)})
                .notes({testkit::xen_entry(kCodeAddress + 4)}));
  EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress));
  EXPECT_THAT(verdicts(parsed.image), ElementsAre(NoteVerdict::kEntryOutsideSegments,
                                                  NoteVerdict::kEntry, NoteVerdict::kDuplicate));
  EXPECT_THAT(parsed.image.problems, IsEmpty());
}

TEST(Notes, AnEntryMustLieInALoadedSegment) {
  const std::uint64_t last = kCodeAddress + kCode.size() - 1;
  EXPECT_EQ(parse(kernel().notes({testkit::xen_entry(last)})).image.pvh_entry, PhysAddr(last));
  const auto parsed = parse(kernel().notes({testkit::xen_entry(last + 1)}));
  ASSERT_THAT(parsed.image.problems, SizeIs(1));
  const ImageFault& problem = parsed.image.problems[0];
  EXPECT_EQ(problem.code, ImageError::kEntryOutsideSegments);
  EXPECT_THAT(problem.detail, HasSubstr("0x100040"));
  EXPECT_EQ(problem.offset, parsed.image.notes[0].offset);
}

TEST(Notes, AnEntryIsThirtyTwoBitCode) {
  ElfBuilder builder(ElfClass::k64);
  builder.load(0x100000000, kCode).notes({testkit::xen_entry(0x100000000)});
  const auto parsed = parse(builder);
  EXPECT_THAT(verdicts(parsed.image), ElementsAre(NoteVerdict::kEntryAbove4GiB));
  ASSERT_THAT(parsed.image.problems, SizeIs(1));
  EXPECT_EQ(parsed.image.problems[0].code, ImageError::kNoPvhNote);
  EXPECT_THAT(base::to_text(parsed.image.problems[0]), HasSubstr("above 4 GiB"));
}

TEST(Notes, DescriptorsOfOtherSizesAreRefusedByName) {
  for (const std::size_t size : {0u, 1u, 2u, 5u, 7u, 12u, 16u}) {
    const auto parsed =
        parse(kernel().notes({testkit::xen_entry(kCodeAddress, size), testkit::gnu_build_id()}));
    EXPECT_THAT(verdicts(parsed.image),
                ElementsAre(NoteVerdict::kDescriptorSize, NoteVerdict::kOtherOwner))
        << size;
    EXPECT_THAT(base::to_text(parsed.image.problems.at(0)),
                HasSubstr(std::to_string(size) + " bytes"));
  }
}

TEST(Notes, TheBestCandidateIsNamed) {
  const auto parsed = parse(kernel().notes(
      {testkit::xen_entry(kCodeAddress, 2), testkit::xen_entry(0x5000), testkit::xen_entry(0)}));
  ASSERT_THAT(parsed.image.problems, SizeIs(1));
  EXPECT_THAT(parsed.image.problems[0].detail, HasSubstr("0x5000"));
}

TEST(Notes, WithoutAnyTheFileIsSaidToHaveNone) {
  const auto parsed = parse(kernel());
  ASSERT_THAT(parsed.image.problems, SizeIs(1));
  EXPECT_EQ(base::to_text(parsed.image.problems[0]),
            "no PVH entry: no usable ELF note \"Xen\" of type 18 (the file has no notes at all); "
            "build it with its PVH entry (Linux: CONFIG_PVH=y, Xen: CONFIG_PVH_GUEST=y)");
}

TEST(Notes, SectionsAreNotLookedAtWhenASegmentHadTheEntry) {
  const auto parsed = parse(kernel()
                                .notes({testkit::xen_entry(kCodeAddress)})
                                .note_section({testkit::xen_entry(kCodeAddress + 8)}));
  EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress));
  EXPECT_THAT(parsed.image.notes, SizeIs(1));
}

TEST(Notes, SectionsHelpWhenTheSegmentHasOnlyAWrongOne) {
  const auto parsed = parse(
      kernel().notes({testkit::xen_entry(0)}).note_section({testkit::xen_entry(kCodeAddress)}));
  EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress));
  EXPECT_EQ(parsed.image.notes.at(1).source, NoteSource::kSectionHeader);
  EXPECT_EQ(parsed.image.notes.at(1).index, 1u);
}

TEST(Notes, BytesNamedTwiceAreLookedAtOnce) {
  auto file =
      kernel().notes({testkit::xen_entry(kCodeAddress)}).notes({testkit::gnu_build_id()}).build();
  // The second PT_NOTE (GNU_PROPERTY does so) is made to name the first one's bytes.
  const auto first =
      base::read_at<abi::Elf64_Phdr>(file, testkit::program_header_offset(ElfClass::k64, 1));
  testkit::put(file, testkit::program_header_offset(ElfClass::k64, 2), *first);
  const auto image = parse_image(file);
  ASSERT_TRUE(image);
  EXPECT_THAT(image->notes, SizeIs(1));
}

TEST(Notes, ANoteThatRunsPastItsSegmentIsKeptAsSuch) {
  auto bytes = testkit::encode_notes({testkit::gnu_build_id(), testkit::xen_entry(kCodeAddress)});
  bytes.resize(bytes.size() - 1);
  const auto parsed = parse(kernel().note_bytes(bytes));
  EXPECT_THAT(verdicts(parsed.image),
              ElementsAre(NoteVerdict::kOtherOwner, NoteVerdict::kTruncated));
  ASSERT_THAT(parsed.image.problems, SizeIs(1));
  EXPECT_THAT(parsed.image.problems[0].detail, HasSubstr("runs past its end"));
}

TEST(Notes, TheLastNotesPaddingMayBeMissing) {
  auto bytes =
      testkit::encode_notes({testkit::xen_relocation({}), testkit::xen_entry(kCodeAddress, 4)});
  for (int extra = 0; extra < 12; ++extra) {
    EXPECT_EQ(parse(kernel().note_bytes(bytes, 8)).image.pvh_entry, PhysAddr(kCodeAddress));
    bytes.push_back(std::byte{0});
  }
}

TEST(Notes, TheThreadIsFoundAgainAfterABrokenNote) {
  auto bytes = testkit::encode_notes({testkit::gnu_build_id(), testkit::xen_entry(kCodeAddress)});
  testkit::put(bytes, 4, base::Le32(UINT32_MAX));  // the first one's descriptor size
  const auto parsed = parse(kernel().note_bytes(bytes));
  EXPECT_EQ(parsed.image.pvh_entry, PhysAddr(kCodeAddress));
  EXPECT_THAT(verdicts(parsed.image), ElementsAre(NoteVerdict::kTruncated, NoteVerdict::kEntry));
  testkit::put(bytes, 0, base::Le32(UINT32_MAX));  // and its name's size
  EXPECT_EQ(parse(kernel().note_bytes(bytes)).image.pvh_entry, PhysAddr(kCodeAddress));
}

TEST(Notes, ASegmentOutsideTheFileIsAReason) {
  auto file = kernel().notes({testkit::xen_entry(kCodeAddress)}).build();
  const std::size_t header = testkit::program_header_offset(ElfClass::k64, 1);
  testkit::put(file, header + offsetof(abi::Elf64_Phdr, p_offset), base::Le64(UINT64_MAX - 1));
  const auto image = parse_image(file);
  ASSERT_TRUE(image);
  EXPECT_THAT(verdicts(*image), ElementsAre(NoteVerdict::kTruncated));
  EXPECT_EQ(image->problems.at(0).code, ImageError::kNoPvhNote);
}

TEST(Notes, OwnersAreCutAtSixtyFourBytes) {
  auto wordy = testkit::gnu_build_id();
  wordy.owner = std::string(200, 'x');
  const auto parsed = parse(kernel().notes({wordy, testkit::xen_entry(kCodeAddress)}));
  EXPECT_EQ(parsed.image.notes.at(0).owner, std::string(64, 'x'));
  EXPECT_TRUE(parsed.image.pvh_entry);
}

TEST(Notes, ANameOfNoLengthIsANoteToo) {
  const testkit::NoteSpec nameless{.owner = "", .type = 7, .descriptor = kCode, .bare_owner = true};
  const auto parsed = parse(kernel().notes({nameless, testkit::xen_entry(kCodeAddress)}));
  EXPECT_THAT(parsed.image.notes, SizeIs(2));
  EXPECT_TRUE(parsed.image.pvh_entry);
}

TEST(Notes, AFileMadeOfNotesIsGivenUp) {
  testkit::ByteVector bytes;
  for (int i = 0; i < 5000; ++i) {
    const auto note = testkit::encode_notes({testkit::gnu_build_id()});
    bytes.insert(bytes.end(), note.begin(), note.end());
  }
  auto parsed = parse(kernel().note_bytes(bytes));
  EXPECT_THAT(parsed.image.notes, SizeIs(4096));
  EXPECT_THAT(parsed.image.problems.at(0).detail, HasSubstr("gave up"));
  // Zeroes are padding, and endless padding is given up too.
  parsed = parse(kernel().note_bytes(testkit::ByteVector(8 << 20)));
  EXPECT_THAT(parsed.image.problems.at(0).detail, HasSubstr("gave up"));
}

testkit::NoteSpec guest_os(const std::string& name) {
  testkit::NoteSpec note{"Xen", abi::XEN_ELFNOTE_GUEST_OS, {}};
  for (const char c : name) {
    note.descriptor.push_back(static_cast<std::byte>(c));
  }
  return note;
}

TEST(Notes, NameTheGuestsSystem) {
  const auto entry = testkit::xen_entry(kCodeAddress);
  const auto system = [&](const std::vector<testkit::NoteSpec>& notes) {
    return parse(kernel().notes(notes)).image.guest_os;
  };
  EXPECT_EQ(system({entry}), "");
  EXPECT_EQ(system({guest_os(std::string("FreeBSD\0", 8)), entry}), "FreeBSD");
  EXPECT_EQ(system({guest_os("NetBSD"), guest_os("linux"), entry}), "NetBSD")
      << "no NUL; the first";
  EXPECT_EQ(system({guest_os(std::string(100, 'x')), entry}), std::string(64, 'x'));
  auto other = guest_os("FreeBSD");
  other.owner = "Linux";
  EXPECT_EQ(system({other, entry}), "");
  EXPECT_TRUE(first_module_is_metadata(parse(kernel().notes({guest_os("FreeBSD"), entry})).image));
  EXPECT_FALSE(first_module_is_metadata(parse(kernel().notes({guest_os("NetBSD"), entry})).image));
}

TEST(Relocation, HasTheSpecificationsDefaults) {
  const auto entry = testkit::xen_entry(kCodeAddress);
  const auto relocation_of = [&](const std::vector<std::uint32_t>& numbers,
                                 std::uint64_t alignment) {
    ElfBuilder builder(ElfClass::k64);
    builder.segment({.paddr = kCodeAddress, .content = kCode, .alignment = alignment})
        .notes({entry, testkit::xen_relocation(numbers)});
    return *parse(builder).image.relocation;
  };
  const Relocation none = relocation_of({}, 0x10);
  EXPECT_EQ(none.alignment, 0x200000u) << "p_align is less than a page";
  EXPECT_EQ(none.min, PhysAddr(0));
  EXPECT_EQ(none.max, PhysAddr(UINT32_MAX));
  EXPECT_EQ(relocation_of({}, 0x1000).alignment, 0x1000u);
  EXPECT_EQ(relocation_of({}, 0x3000).alignment, 0x200000u) << "p_align makes no sense";
  EXPECT_EQ(relocation_of({0x400000}, 0x1000).alignment, 0x400000u);
  EXPECT_EQ(relocation_of({0x400000, 0x1000000}, 0).min, PhysAddr(0x1000000));
  const Relocation all = relocation_of({0x400000, 0x1000000, 0x3fffffff}, 0);
  EXPECT_EQ(all.max, PhysAddr(0x3fffffff));
}

TEST(Relocation, ThatContradictsItselfIsRefused) {
  const auto entry = testkit::xen_entry(kCodeAddress);
  for (const auto& numbers :
       std::vector<std::vector<std::uint32_t>>{{0}, {3}, {0x1000, 0x2000, 0x1fff}}) {
    const auto parsed = parse(kernel().notes({testkit::xen_relocation(numbers), entry}));
    EXPECT_FALSE(parsed.image.relocation);
    EXPECT_THAT(verdicts(parsed.image), ElementsAre(NoteVerdict::kBadValue, NoteVerdict::kEntry));
  }
  const auto sized = parse(
      kernel().notes({testkit::xen_note(abi::XEN_ELFNOTE_PHYS32_RELOC, 0, 6),
                      testkit::xen_relocation({1, 2, 3, 4}), testkit::xen_relocation({0x1000}),
                      testkit::xen_relocation({0x2000}), entry}));
  EXPECT_THAT(verdicts(sized.image),
              ElementsAre(NoteVerdict::kDescriptorSize, NoteVerdict::kDescriptorSize,
                          NoteVerdict::kRelocation, NoteVerdict::kDuplicate, NoteVerdict::kEntry));
}

}  // namespace
}  // namespace pvh::loader
