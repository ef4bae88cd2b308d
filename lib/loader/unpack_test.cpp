// SPDX-License-Identifier: BSD-2-Clause
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <pvh/loader/file.hpp>
#include <pvh/loader/image.hpp>

#include "lib/loader/buffer.hpp"
#include "lib/loader/testing/bzimage_builder.hpp"
#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::loader {
namespace {

using base::ByteSize;
using testing::HasSubstr;
using testkit::ByteVector;
using testkit::Packing;

// A kernel with `size` bytes of code or a few more: first noise (stored blocks), then calls (so
// that the x86 filter has something to do).
ByteVector kernel_of(std::size_t size) {
  ByteVector code;
  std::minstd_rand noise(2026);
  while (code.size() < std::min<std::size_t>(size, 50000)) {
    code.push_back(static_cast<std::byte>(noise() & 0xff));
  }
  ByteVector calls;
  while (calls.size() < 6000) {
    for (const int byte : {0xe8, 0x10, 0x20, 0x00, 0x00, 0x90}) {
      calls.push_back(static_cast<std::byte>(byte));
    }
  }
  while (code.size() < size) {
    code.insert(code.end(), calls.begin(), calls.end());
  }
  return testkit::small_kernel(ElfClass::k64, code);
}

// Not std::ranges::equal, which takes seconds for a large kernel in a debug build.
bool same(base::Bytes a, base::Bytes b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

ByteVector join(ByteVector a, base::Bytes b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class EveryPacking : public testing::TestWithParam<Packing> {};

INSTANTIATE_TEST_SUITE_P(All, EveryPacking, testing::ValuesIn(testkit::all_packings()),
                         [](const auto& param_info) {
                           return std::string(testkit::name_of(param_info.param));
                         });

TEST_P(EveryPacking, UnpacksToTheSameBytes) {
  // The last is more than one block in every format.
  for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, std::size_t{9 << 20}}) {
    const ByteVector elf = kernel_of(size);
    const ByteVector packed = testkit::pack(elf, GetParam());
    const ByteVector payload = testkit::as_payload(packed, elf.size(), GetParam());
    for (const ByteVector& file : {packed, payload, testkit::make_bzimage(payload)}) {
      const auto image = parse_image(file);
      ASSERT_TRUE(image) << base::to_text(image.error());
      EXPECT_EQ(image->compression, testkit::compression_of(GetParam()));
      EXPECT_TRUE(same(image->elf, elf));
      EXPECT_TRUE(image->pvh_entry);
    }
  }
}

TEST_P(EveryPacking, CutAnywhereItIsRefused) {
  const ByteVector whole = testkit::pack(kernel_of(1500), GetParam());
  for (std::size_t size = 16; size < whole.size(); ++size) {
    const ByteVector part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto image = parse_image(part);
    ASSERT_FALSE(image) << size << " of " << whole.size();
    EXPECT_EQ(image.error().code, ImageError::kCorruptPayload)
        << size << ": " << base::to_text(image.error());
  }
}

TEST_P(EveryPacking, AFlippedBitNeverPassesForAnotherKernel) {
  const ByteVector elf = kernel_of(500);
  const ByteVector whole = testkit::pack(elf, GetParam());
  // These two formats have no checksum: nobody could tell.
  const bool has_checksum = GetParam() != Packing::kLzma && GetParam() != Packing::kLz4Legacy;
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    ByteVector broken = whole;
    broken[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    const auto image = parse_image(broken, {.unpacked = ByteSize(1 << 20)});
    if (image && has_checksum) {
      EXPECT_TRUE(same(image->elf, elf)) << "bit " << bit;
    }
  }
}

TEST_P(EveryPacking, ExactlyTheLimitIsAllowed) {
  const ByteVector elf = kernel_of(100000);
  const ByteVector file = testkit::pack_as_payload(elf, GetParam());
  const auto exact = parse_image(file, {.unpacked = ByteSize(elf.size())});
  EXPECT_TRUE(exact) << base::to_text(exact.error());
  for (const std::uint64_t limit :
       {std::uint64_t{elf.size() - 1}, std::uint64_t{1}, std::uint64_t{0}}) {
    const auto less = parse_image(file, {.unpacked = ByteSize(limit)});
    ASSERT_FALSE(less) << limit;
    EXPECT_EQ(less.error().code, ImageError::kPayloadTooLarge) << base::to_text(less.error());
  }
}

TEST_P(EveryPacking, OneAfterTheOtherIsOneFile) {
  const ByteVector elf = kernel_of(50000);
  const base::Bytes all(elf);
  const ByteVector file = join(testkit::pack(all.first(20000), GetParam()),
                               testkit::pack(all.subspan(20000), GetParam()));
  const auto image = parse_image(file);
  if (GetParam() == Packing::kLzma) {
    EXPECT_FALSE(image) << "lzma's own tool refuses it too";
    return;
  }
  ASSERT_TRUE(image) << base::to_text(image.error());
  EXPECT_TRUE(same(image->elf, elf));
}

TEST_P(EveryPacking, BytesAfterTheEndAreTakenAsTheFormatsToolTakesThem) {
  const ByteVector file = testkit::pack(kernel_of(5000), GetParam());
  const bool ignores_garbage = GetParam() == Packing::kGzip || GetParam() == Packing::kBzip2 ||
                               GetParam() == Packing::kLzo || GetParam() == Packing::kLz4Frame;
  const auto image = parse_image(join(file, testkit::to_vector("garbage")));
  EXPECT_EQ(image.has_value(), ignores_garbage);
  if (!image) {
    EXPECT_EQ(image.error().code, ImageError::kCorruptPayload);
    EXPECT_THAT(image.error().detail,
                testing::StartsWith(std::string(to_string(testkit::compression_of(GetParam())))));
  }
}

// 128 MiB of zeroes in as few bytes as the format can.
ByteVector bomb(Packing packing) {
  const ByteVector zeroes(32 << 20);
  const ByteVector piece = testkit::pack(zeroes, packing);
  ByteVector all;
  for (int i = 0; i < 4; ++i) {
    all = join(std::move(all), piece);
  }
  return all;
}

TEST_P(EveryPacking, ABombStopsAtTheLimitInBoundedMemory) {
  // A second lzma stream would be garbage after the first, so that one is packed at once.
  const ByteVector file = GetParam() == Packing::kLzma
                              ? testkit::pack(ByteVector(128 << 20), GetParam())
                              : bomb(GetParam());
  rusage before{};
  ::getrusage(RUSAGE_SELF, &before);
  const auto image = parse_image(file, {.unpacked = ByteSize(96 << 20)});
  rusage after{};
  ::getrusage(RUSAGE_SELF, &after);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ImageError::kPayloadTooLarge) << base::to_text(image.error());
  EXPECT_THAT(base::to_text(image.error()), HasSubstr("96 MiB"));
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 160 << 10) << "KiB";
}

TEST(Unpack, TheLengthAtTheEndMustBeTheRightOne) {
  ByteVector file = testkit::pack_as_payload(kernel_of(5000), Packing::kXz);
  file.back() ^= std::byte{1};
  const auto image = parse_image(file);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ImageError::kCorruptPayload);
}

TEST(Unpack, OffsetsCountFromTheStartOfTheFile) {
  ByteVector payload = testkit::pack_as_payload(kernel_of(5000), Packing::kXz);
  payload.resize(payload.size() - 8);
  const auto image = parse_image(testkit::make_bzimage(payload));
  ASSERT_FALSE(image);
  EXPECT_GT(image.error().offset, 0xa40u + 1000u);
}

TEST(Unpack, XzTakesPaddingBetweenStreams) {
  const ByteVector elf = kernel_of(9000);
  const base::Bytes all(elf);
  ByteVector file = testkit::pack(all.first(4000), Packing::kXz);
  file.resize(file.size() + 8);
  file = join(std::move(file), testkit::pack(all.subspan(4000), Packing::kXzX86));
  file.resize(file.size() + 4);
  const auto image = parse_image(file);
  ASSERT_TRUE(image) << base::to_text(image.error());
  EXPECT_TRUE(same(image->elf, elf));
}

TEST(Unpack, LzmaThatWantsTooMuchMemoryIsRefused) {
  ByteVector file = testkit::pack(kernel_of(5000), Packing::kLzma);
  testkit::put(file, 1, base::Le32(1u << 30));  // the dictionary's size
  const auto image = parse_image(file);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ImageError::kUnsupported);
  EXPECT_THAT(image.error().detail, HasSubstr("MiB"));
}

TEST(Unpack, XzWithOptionsOfTheFutureIsRefused) {
  ByteVector file = testkit::pack(kernel_of(5000), Packing::kXz);
  file.at(6) = std::byte{1};                       // the stream flags: 1 is reserved
  testkit::put(file, 8, base::Le32(0x2fc51328u));  // their CRC-32
  const auto image = parse_image(file);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ImageError::kUnsupported) << base::to_text(image.error());
}

TEST(Unpack, ZstdThatWantsTooMuchMemoryIsRefused) {
  ByteVector file = testkit::pack(kernel_of(5000), Packing::kZstd);
  file.at(5) = std::byte{0xf8};  // the window descriptor: 2^41
  const auto image = parse_image(file);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ImageError::kUnsupported) << base::to_text(image.error());
}

// An lzop header with these flags and this method, and nothing behind it.
ByteVector lzop_header(std::uint32_t flags, int method, bool right_sum = true) {
  ByteVector header = testkit::pack(ByteVector(), Packing::kLzo);
  header.resize(header.size() - 8);  // the checksum and the end mark
  header.at(9 + 6) = static_cast<std::byte>(method);
  for (std::size_t i = 0; i < 4; ++i) {
    header.at(9 + 8 + i) = static_cast<std::byte>((flags >> (24 - 8 * i)) & 0xff);
  }
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (const std::byte byte : base::Bytes(header).subspan(9)) {
    a = (a + std::to_integer<std::uint32_t>(byte)) % 65521;
    b = (b + a) % 65521;
  }
  const std::uint32_t sum = right_sum ? (b << 16) | a : 0;
  for (std::size_t i = 0; i < 4; ++i) {
    header.push_back(static_cast<std::byte>((sum >> (24 - 8 * i)) & 0xff));
  }
  return header;
}

TEST(Unpack, LzopHeadersAreChecked) {
  const auto error_of = [](const ByteVector& file) { return parse_image(file).error().code; };
  EXPECT_EQ(error_of(lzop_header(3, 3)), ImageError::kCorruptPayload) << "cut short";
  EXPECT_EQ(error_of(lzop_header(3, 3, false)), ImageError::kCorruptPayload);
  EXPECT_EQ(error_of(lzop_header(3, 0x80)), ImageError::kUnsupported);
  EXPECT_EQ(error_of(lzop_header(0x800, 3)), ImageError::kUnsupported) << "a filter";
  EXPECT_EQ(error_of(lzop_header(0x40, 3)), ImageError::kCorruptPayload) << "an extra field";
  const ByteVector extra{{}, {}, {}, std::byte{1}, std::byte{'x'}, {}, {}, {}, {}, {}, {}, {}, {}};
  EXPECT_EQ(error_of(join(lzop_header(0x40, 3), extra)), ImageError::kUnknownFormat)
      << "an extra field, then the end: no bytes, so no kernel";
  const ByteVector huge_block(16, std::byte{0x7f});
  EXPECT_EQ(error_of(join(lzop_header(3, 3), huge_block)), ImageError::kCorruptPayload);
}

TEST(Unpack, LzopChecksBothKindsOfSum) {
  // CRC-32 of the unpacked bytes; two bytes, stored.
  const ByteVector block{{}, {}, {}, std::byte{2}, {}, {}, {}, std::byte{2}};
  const ByteVector end{std::byte{'h'}, std::byte{'i'}, {}, {}, {}, {}};
  const ByteVector right{std::byte{0xd8}, std::byte{0x93}, std::byte{0x2a}, std::byte{0xac}};
  const auto file = [&](const ByteVector& sum) {
    return join(join(join(lzop_header(0x300, 1), block), sum), end);
  };
  EXPECT_EQ(parse_image(file(right)).error().code, ImageError::kUnknownFormat) << "it is no kernel";
  EXPECT_EQ(parse_image(file(ByteVector(4))).error().code, ImageError::kCorruptPayload);
}

// Made by each format's own tool: see testdata/packed/README.md.
class ToolsOutput : public testing::TestWithParam<std::string> {};

TEST_P(ToolsOutput, IsTheKernelItWasMadeFrom) {
  const std::string folder = PVH_SOURCE_DIR "/lib/loader/testdata/packed/";
  const auto elf = File::open(folder + "kernel.elf");
  const auto file = File::open(folder + GetParam());
  ASSERT_TRUE(elf && file);
  const auto image = parse_image(file->bytes());
  ASSERT_TRUE(image) << base::to_text(image.error());
  EXPECT_TRUE(same(image->elf, elf->bytes()));
}

INSTANTIATE_TEST_SUITE_P(All, ToolsOutput,
                         testing::Values("kernel.gz", "kernel.bz2", "kernel.lzma", "kernel.xz",
                                         "kernel.linux.xz", "kernel.lzo", "kernel.linux.lzo",
                                         "kernel.legacy.lz4", "kernel.linux.lz4", "kernel.lz4",
                                         "kernel.zst"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

TEST(Buffer, GrowsKeepingItsBytesAndStopsAtTheLimit) {
  constexpr std::uint64_t kLimit = 5'000'000;
  Buffer buffer(kLimit, 0);
  std::size_t written = 0;
  for (;;) {
    const auto room = buffer.room(700'000);
    if (!room) {
      EXPECT_EQ(room.error(), EFBIG);
      break;
    }
    ASSERT_FALSE(room->empty());
    const std::size_t count = std::min<std::size_t>(room->size(), 300'001);
    for (std::size_t i = 0; i < count; ++i) {
      (*room)[i] = static_cast<std::byte>((written + i) % 251);
    }
    buffer.commit(count);
    written += count;
  }
  EXPECT_EQ(written, kLimit + 1) << "one byte more, to prove that it is too much";
  EXPECT_TRUE(buffer.over_limit());
  const base::Mapping taken = buffer.take();
  ASSERT_EQ(taken.bytes().size(), written);
  for (std::size_t i = 0; i < written; ++i) {
    ASSERT_EQ(taken.bytes()[i], static_cast<std::byte>(i % 251)) << i;
  }
  EXPECT_EQ(buffer.size(), 0u);
}

TEST(Buffer, ThatNobodyWroteToIsEmpty) {
  Buffer untouched(100, 50);
  EXPECT_TRUE(untouched.take().bytes().empty());
  Buffer asked(0, 0);
  EXPECT_EQ(asked.room(5)->size(), 1u);
  EXPECT_TRUE(asked.take().bytes().empty());
}

TEST(Buffer, SaysWhenTheHostHasNoMemory) {
  Buffer huge(UINT64_MAX, 0);
  const auto room = huge.room(std::uint64_t{1} << 60);
  ASSERT_FALSE(room);
  EXPECT_EQ(room.error(), ENOMEM);
}

}  // namespace
}  // namespace pvh::loader
