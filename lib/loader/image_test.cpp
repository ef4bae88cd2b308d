// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/abi/bzimage.hpp>
#include <pvh/loader/image.hpp>

#include "lib/loader/testing/bzimage_builder.hpp"
#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::loader {
namespace {

using base::ByteSize;
using base::Le16;
using base::Le32;
using base::Le64;
using base::PhysAddr;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testkit::ByteVector;
using testkit::ElfBuilder;
using testkit::kCodeAddress;

constexpr std::size_t kPhdr64 = sizeof(abi::Elf64_Ehdr);
constexpr std::size_t kPhdr32 = sizeof(abi::Elf32_Ehdr);

const ByteVector kCode(64, std::byte{0xf4});

ImageError error_of(base::Bytes file) {
  const auto image = parse_image(file);
  EXPECT_FALSE(image) << "it was expected to be refused";
  return image ? ImageError::kEmpty : image.error().code;
}

std::vector<ImageError> problems_of(base::Bytes file) {
  const auto image = parse_image(file);
  EXPECT_TRUE(image) << base::to_text(image.error());
  std::vector<ImageError> codes;
  if (image) {
    for (const ImageFault& fault : image->problems) {
      codes.push_back(fault.code);
    }
  }
  return codes;
}

TEST(Image, TellsWhatAGoodKernelIs) {
  for (const ElfClass elf_class : {ElfClass::k32, ElfClass::k64}) {
    const ByteVector file = ElfBuilder(elf_class)
                                .type(abi::ET_DYN)
                                .entry(0x100010)
                                .segment({.paddr = kCodeAddress,
                                          .content = kCode,
                                          .memory_size = 0x2000,
                                          .vaddr = 0xc0100000,
                                          .alignment = 0x200000,
                                          .flags = abi::PF_R | abi::PF_X})
                                .notes({testkit::xen_entry(kCodeAddress, 4)})
                                .build();
    const auto image = parse_image(file);
    ASSERT_TRUE(image) << base::to_text(image.error());
    EXPECT_EQ(image->container, Container::kElf);
    EXPECT_EQ(image->compression, Compression::kNone);
    EXPECT_EQ(image->elf_class, elf_class);
    EXPECT_EQ(image->machine, elf_class == ElfClass::k32 ? abi::EM_386 : abi::EM_X86_64);
    EXPECT_TRUE(image->relocatable);
    EXPECT_EQ(image->elf_entry, 0x100010u);
    EXPECT_EQ(image->pvh_entry, PhysAddr(kCodeAddress));
    EXPECT_FALSE(image->relocation);
    EXPECT_THAT(image->problems, IsEmpty());
    EXPECT_EQ(image->elf.data(), file.data()) << "nothing is copied";
    ASSERT_THAT(image->segments, SizeIs(1));
    const Segment& segment = image->segments[0];
    EXPECT_EQ(segment.index, 0u);
    EXPECT_EQ(segment.header_offset, elf_class == ElfClass::k32 ? kPhdr32 : kPhdr64);
    EXPECT_TRUE(std::ranges::equal(image->elf.subspan(segment.offset, segment.file_size), kCode));
    EXPECT_EQ(segment.paddr, PhysAddr(kCodeAddress));
    EXPECT_EQ(segment.vaddr, 0xc0100000u);
    EXPECT_EQ(segment.memory_size, ByteSize(0x2000));
    EXPECT_EQ(segment.alignment, 0x200000u);
    EXPECT_EQ(segment.flags, abi::PF_R | abi::PF_X);
  }
}

TEST(Image, NothingAndNonsenseAreToldApart) {
  EXPECT_EQ(error_of({}), ImageError::kEmpty);
  EXPECT_EQ(error_of(ByteVector(1)), ImageError::kUnknownFormat);
  EXPECT_EQ(error_of(ByteVector(70000)), ImageError::kUnknownFormat);
  const auto cpio = parse_image(testkit::to_vector("070701000000"));
  ASSERT_FALSE(cpio);
  EXPECT_THAT(base::to_text(cpio.error()), HasSubstr("an initrd?"));
  const auto bytes = parse_image(testkit::to_vector("ab"));
  ASSERT_FALSE(bytes);
  EXPECT_THAT(bytes.error().detail, HasSubstr("61 62"));
}

TEST(Image, CutAnywhereItIsRefusedOrSaysWhatIsMissing) {
  for (const ElfClass elf_class : {ElfClass::k32, ElfClass::k64}) {
    const ByteVector whole = ElfBuilder(elf_class)
                                 .load(kCodeAddress, kCode)
                                 .load(0x200000, kCode)
                                 .notes({testkit::xen_entry(kCodeAddress)})
                                 .note_section({testkit::gnu_build_id()})
                                 .build();
    const std::size_t headers = testkit::program_header_offset(elf_class, 3);
    for (std::size_t size = 1; size < whole.size(); ++size) {
      // In memory of its own, so that a sanitizer sees any look beyond the end.
      const ByteVector part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      const auto image = parse_image(part);
      if (size < headers) {
        ASSERT_FALSE(image) << size;
        EXPECT_EQ(image.error().code, ImageError::kTruncatedHeader) << size;
        EXPECT_TRUE(image.error().offset) << size;
        continue;
      }
      ASSERT_TRUE(image) << size;
      const Note* const note = image->notes.empty() ? nullptr : &image->notes[0];
      const bool has_entry = image->pvh_entry.has_value();
      EXPECT_TRUE(has_entry || note == nullptr || note->verdict == NoteVerdict::kTruncated) << size;
      EXPECT_EQ(has_entry, image->problems.empty()) << size << ": notes lie behind the segments";
    }
  }
}

struct HeaderCase {
  std::string_view name;
  std::size_t offset;
  std::uint16_t value;
  ImageError expected;
};

TEST(Image, HeadersOfOtherThingsAreRefused) {
  const auto field = [](std::size_t offset) { return offset; };
  const std::vector<HeaderCase> cases{
      {"class 0 and big-endian", abi::EI_CLASS, 0x0200, ImageError::kNotX86},
      {"class 3", abi::EI_CLASS, 0x0103, ImageError::kNotX86},
      {"big-endian", abi::EI_CLASS, 0x0202, ImageError::kNotX86},
      {"version 0", abi::EI_VERSION, 0, ImageError::kNotX86},
      {"ARM", field(offsetof(abi::Elf64_Ehdr, e_machine)), 183, ImageError::kNotX86},
      {"relocatable", field(offsetof(abi::Elf64_Ehdr, e_type)), abi::ET_REL,
       ImageError::kNotExecutable},
      {"core", field(offsetof(abi::Elf64_Ehdr, e_type)), abi::ET_CORE, ImageError::kNotExecutable},
      {"no type", field(offsetof(abi::Elf64_Ehdr, e_type)), 0, ImageError::kNotExecutable},
      {"PN_XNUM", field(offsetof(abi::Elf64_Ehdr, e_phnum)), abi::PN_XNUM,
       ImageError::kBadProgramHeaders},
      {"phentsize 32", field(offsetof(abi::Elf64_Ehdr, e_phentsize)), 32,
       ImageError::kBadProgramHeaders},
      {"phentsize 0", field(offsetof(abi::Elf64_Ehdr, e_phentsize)), 0,
       ImageError::kBadProgramHeaders},
      {"65534 headers", field(offsetof(abi::Elf64_Ehdr, e_phnum)), 0xfffe,
       ImageError::kTruncatedHeader},
  };
  for (const HeaderCase& header_case : cases) {
    ByteVector file = testkit::small_kernel(ElfClass::k64);
    testkit::put(file, header_case.offset, Le16(header_case.value));
    const auto image = parse_image(file);
    ASSERT_FALSE(image) << header_case.name;
    EXPECT_EQ(image.error().code, header_case.expected) << header_case.name;
    EXPECT_TRUE(image.error().offset) << header_case.name;
  }
}

TEST(Image, ProgramHeadersThatWrapAreRefused) {
  ByteVector file = testkit::small_kernel(ElfClass::k64);
  testkit::put(file, offsetof(abi::Elf64_Ehdr, e_phoff), Le64(UINT64_MAX - 55));
  EXPECT_EQ(error_of(file), ImageError::kBadProgramHeaders);
  testkit::put(file, offsetof(abi::Elf64_Ehdr, e_phoff), Le64(UINT64_MAX - 112));
  EXPECT_EQ(error_of(file), ImageError::kTruncatedHeader);
}

TEST(Image, BrokenSectionTablesAreNoReasonToRefuse) {
  ByteVector file = testkit::small_kernel(ElfClass::k64);
  testkit::put(file, offsetof(abi::Elf64_Ehdr, e_shoff), Le64(UINT64_MAX - 1));
  testkit::put(file, offsetof(abi::Elf64_Ehdr, e_shnum), Le16(0xffff));
  testkit::put(file, offsetof(abi::Elf64_Ehdr, e_shentsize), Le16(64));
  EXPECT_THAT(problems_of(file), IsEmpty());
}

TEST(Image, WithoutSegmentsThereIsNothingToLoad) {
  EXPECT_THAT(problems_of(ElfBuilder(ElfClass::k64).build()),
              ElementsAre(ImageError::kNoSegments, ImageError::kNoPvhNote));
  EXPECT_THAT(problems_of(ElfBuilder(ElfClass::k64)
                              .load(kCodeAddress, {}, 0)
                              .notes({testkit::xen_entry(kCodeAddress)})
                              .build()),
              ElementsAre(ImageError::kNoSegments, ImageError::kEntryOutsideSegments));
}

TEST(Image, SegmentsWithoutMemoryAreSkipped) {
  const ByteVector file = ElfBuilder(ElfClass::k64)
                              .load(kCodeAddress, {}, 0)
                              .load(kCodeAddress, kCode)
                              .load(kCodeAddress, {}, 0)
                              .notes({testkit::xen_entry(kCodeAddress)})
                              .build();
  const auto image = parse_image(file);
  ASSERT_TRUE(image);
  EXPECT_THAT(image->problems, IsEmpty());
  ASSERT_THAT(image->segments, SizeIs(1));
  EXPECT_EQ(image->segments[0].index, 1u);
}

TEST(Image, ASegmentsBytesMustLieInTheFile) {
  ByteVector file = testkit::small_kernel(ElfClass::k64);
  for (const std::uint64_t offset :
       {std::uint64_t{file.size() - 63}, UINT64_MAX - 63, UINT64_MAX}) {
    testkit::put(file, kPhdr64 + offsetof(abi::Elf64_Phdr, p_offset), Le64(offset));
    const auto image = parse_image(file);
    ASSERT_TRUE(image);
    ASSERT_THAT(image->problems, SizeIs(1));
    EXPECT_EQ(image->problems[0].code, ImageError::kSegmentOutsideFile);
    EXPECT_EQ(image->problems[0].offset, kPhdr64);
    EXPECT_THAT(image->problems[0].detail, HasSubstr("segment 0: 0x40 bytes at 0x"));
  }
}

TEST(Image, ASegmentMayNotHaveMoreInTheFileThanInMemory) {
  for (const std::uint64_t memory_size : {0ull, 63ull}) {
    const auto codes = problems_of(ElfBuilder(ElfClass::k64)
                                       .load(0x200000, kCode, memory_size)
                                       .load(kCodeAddress, kCode)
                                       .notes({testkit::xen_entry(kCodeAddress)})
                                       .build());
    EXPECT_THAT(codes, ElementsAre(ImageError::kFileSizeAboveMemSize)) << memory_size;
  }
}

TEST(Image, ASegmentMayTouchTheTopOfTheAddressSpaceAndNotPassIt) {
  const auto codes = [](ElfClass elf_class, std::uint64_t paddr, std::uint64_t size) {
    return problems_of(ElfBuilder(elf_class)
                           .load(kCodeAddress, kCode)
                           .load(paddr, {}, size)
                           .notes({testkit::xen_entry(kCodeAddress, 4)})
                           .build());
  };
  EXPECT_THAT(codes(ElfClass::k64, UINT64_MAX - 0xfff, 0x1000), IsEmpty());
  EXPECT_THAT(codes(ElfClass::k64, UINT64_MAX - 0xfff, 0x1001),
              ElementsAre(ImageError::kSegmentWraps));
  EXPECT_THAT(codes(ElfClass::k64, 1, UINT64_MAX), ElementsAre(ImageError::kSegmentsOverlap));
  EXPECT_THAT(codes(ElfClass::k64, 2, UINT64_MAX), ElementsAre(ImageError::kSegmentWraps));
  EXPECT_THAT(codes(ElfClass::k32, 0xfffff000, 0x1000), IsEmpty());
  EXPECT_THAT(codes(ElfClass::k32, 0xfffff000, 0x1001), ElementsAre(ImageError::kSegmentWraps))
      << "32-bit addresses end at 4 GiB";
  EXPECT_THAT(codes(ElfClass::k64, 0xfffff000, 0x1001), IsEmpty());
}

TEST(Image, OverlapIsFoundInAnyOrderAndTouchingIsNone) {
  const auto image_of = [](std::vector<std::pair<std::uint64_t, std::uint64_t>> places) {
    ElfBuilder builder(ElfClass::k64);
    for (const auto& [paddr, size] : places) {
      builder.load(paddr, {}, size);
    }
    return builder.notes({testkit::xen_entry(places[0].first)}).build();
  };
  EXPECT_THAT(problems_of(image_of({{0x3000, 0x1000}, {0x1000, 0x1000}, {0x2000, 0x1000}})),
              IsEmpty());
  EXPECT_THAT(problems_of(image_of({{0x3000, 0x1000}, {0x1000, 0x1001}, {0x2000, 0x1000}})),
              ElementsAre(ImageError::kSegmentsOverlap));
  EXPECT_THAT(problems_of(image_of({{0x1000, 0x1000}, {0x1000, 0x1000}})),
              ElementsAre(ImageError::kSegmentsOverlap));
  // The last one overlaps the first, not its neighbour.
  const ByteVector file = image_of({{0x1000, 0x9000}, {0x2000, 0x10}, {0x9fff, 0x10}});
  const auto image = parse_image(file);
  ASSERT_TRUE(image);
  ASSERT_THAT(image->problems, SizeIs(2));
  EXPECT_EQ(image->problems[1].detail, "segment 0 at 0x1000-0x9fff and segment 2 at 0x9fff-0xa00e");
  EXPECT_EQ(image->problems[1].offset, kPhdr64 + 2 * sizeof(abi::Elf64_Phdr));
}

TEST(Image, ThousandsOfBrokenSegmentsMakeAShortList) {
  ElfBuilder builder(ElfClass::k64);
  for (int i = 0; i < 60000; ++i) {
    builder.load(0x1000, {}, 0x1000);
  }
  const ByteVector file = builder.build();
  const auto image = parse_image(file);
  ASSERT_TRUE(image);
  EXPECT_THAT(image->segments, SizeIs(60000));
  EXPECT_THAT(image->problems, SizeIs(64));
}

TEST(Image, ProblemsComeWorstFirst) {
  const auto codes = problems_of(ElfBuilder(ElfClass::k64)
                                     .load(0x1000, {}, 0x1000)
                                     .load(0x1000, {}, 0x1000)
                                     .load(UINT64_MAX, {}, 0x1000)
                                     .load(0x3000, kCode, 1)
                                     .build());
  EXPECT_THAT(codes, ElementsAre(ImageError::kFileSizeAboveMemSize, ImageError::kSegmentWraps,
                                 ImageError::kSegmentsOverlap, ImageError::kNoPvhNote));
}

TEST(Image, MovingKeepsItsBytesValid) {
  const ByteVector elf = testkit::small_kernel(ElfClass::k64);
  auto image = parse_image(testkit::pack(elf, testkit::Packing::kGzip));
  ASSERT_TRUE(image);
  const Image moved = std::move(*image);
  EXPECT_TRUE(std::ranges::equal(moved.elf, elf));
}

ByteVector gzip_bzimage(const testkit::BzImageOptions& options = {}) {
  const ByteVector elf = testkit::small_kernel(ElfClass::k64);
  return testkit::make_bzimage(testkit::pack(elf, testkit::Packing::kGzip), options);
}

TEST(BzImage, ItsPayloadIsFound) {
  const std::vector<testkit::BzImageOptions> all_options{
      {}, {.setup_sects = 0}, {.setup_sects = 64}, {.version = 0x0208, .payload_offset = 0}};
  for (const auto& options : all_options) {
    const ByteVector file = gzip_bzimage(options);
    const auto image = parse_image(file);
    ASSERT_TRUE(image) << base::to_text(image.error());
    EXPECT_EQ(image->container, Container::kBzImage);
    EXPECT_EQ(image->compression, Compression::kGzip);
    EXPECT_EQ(image->pvh_entry, PhysAddr(kCodeAddress));
  }
}

TEST(BzImage, MayBeCompressedItself) {
  const auto image = parse_image(testkit::pack(gzip_bzimage(), testkit::Packing::kXz));
  ASSERT_TRUE(image) << base::to_text(image.error());
  EXPECT_EQ(image->container, Container::kBzImage);
  EXPECT_EQ(image->compression, Compression::kGzip) << "the payload's";
  EXPECT_EQ(image->pvh_entry, PhysAddr(kCodeAddress));
}

TEST(BzImage, MayHoldAnElfAsItIs) {
  const ByteVector file = testkit::make_bzimage(testkit::small_kernel(ElfClass::k32));
  const auto image = parse_image(file);
  ASSERT_TRUE(image) << base::to_text(image.error());
  EXPECT_EQ(image->compression, Compression::kNone);
  EXPECT_TRUE(image->pvh_entry);
}

TEST(BzImage, WithoutPayloadIsRefused) {
  EXPECT_EQ(error_of(gzip_bzimage({.version = 0x0207})), ImageError::kNoPayload);
  EXPECT_EQ(error_of(testkit::make_bzimage({})), ImageError::kNoPayload);
  const auto old = parse_image(gzip_bzimage({.version = 0x0207}));
  EXPECT_THAT(base::to_text(old.error()), HasSubstr("boot protocol 2.07"));
}

TEST(BzImage, CutAnywhereItIsRefused) {
  const ByteVector whole = gzip_bzimage();
  const std::size_t payload_end = whole.size() - 128;
  for (std::size_t size = 1; size < payload_end; ++size) {
    const ByteVector part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const ImageError expected = size < 0x206   ? ImageError::kUnknownFormat
                                : size < 0x26c ? ImageError::kTruncatedHeader
                                               : ImageError::kBadBzImage;
    EXPECT_EQ(error_of(part), expected) << size;
  }
}

TEST(BzImage, PayloadsOutsideTheFileAreRefused) {
  ByteVector file = gzip_bzimage();
  const auto at = [](std::size_t member) { return abi::kSetupHeaderOffset + member; };
  testkit::put(file, at(offsetof(abi::setup_header, payload_length)), Le32(UINT32_MAX));
  EXPECT_EQ(error_of(file), ImageError::kBadBzImage);
  testkit::put(file, at(offsetof(abi::setup_header, payload_offset)), Le32(UINT32_MAX));
  EXPECT_EQ(error_of(file), ImageError::kBadBzImage);
}

TEST(BzImage, OfUnknownCompressionSaysWhere) {
  const auto image = parse_image(testkit::make_bzimage(testkit::to_vector("whatever")));
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ImageError::kUnsupported);
  EXPECT_EQ(image.error().offset, 0xa40u);
}

TEST(BzImage, APayloadThatIsNoElfIsNoKernel) {
  const ByteVector packed = testkit::pack(kCode, testkit::Packing::kGzip);
  EXPECT_EQ(error_of(testkit::make_bzimage(packed)), ImageError::kUnknownFormat);
}

TEST(Words, EveryCodeHasSome) {
  std::vector<std::string> texts;
  for (int code = 0; code <= static_cast<int>(ImageError::kUnsupported); ++code) {
    texts.emplace_back(explain(static_cast<ImageError>(code)).what);
  }
  for (int verdict = 0; verdict <= static_cast<int>(NoteVerdict::kTruncated); ++verdict) {
    texts.emplace_back(to_string(static_cast<NoteVerdict>(verdict)));
  }
  for (int compression = 0; compression <= static_cast<int>(Compression::kZstd); ++compression) {
    texts.emplace_back(to_string(static_cast<Compression>(compression)));
  }
  for (const auto name : {to_string(Container::kElf), to_string(Container::kBzImage),
                          to_string(ElfClass::k32), to_string(ElfClass::k64)}) {
    texts.emplace_back(name);
  }
  EXPECT_THAT(texts, testing::Not(testing::Contains("unknown error")));
  EXPECT_THAT(texts, testing::Not(testing::Contains("unknown")));
  std::ranges::sort(texts);
  EXPECT_EQ(std::ranges::adjacent_find(texts), texts.end()) << "no two are the same";
}

}  // namespace
}  // namespace pvh::loader
