// SPDX-License-Identifier: BSD-2-Clause
// Any bytes give an Image or a fault, in bounded time and memory; and what an Image says is true,
// and what check_image() says of it agrees. A bzImage is what its payload is alone, found by a
// second reading of the setup header. The mutator takes off the layers, changes the ELF inside with
// its headers in mind, and packs it again.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include <pvh/base/bytes.hpp>
#include <pvh/loader/check.hpp>
#include <pvh/loader/image.hpp>

#include "lib/base/testing/fuzz.hpp"
#include "lib/loader/testing/bzimage_builder.hpp"
#include "lib/loader/testing/elf_builder.hpp"
#include "unpack.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

using namespace pvh;
using fuzz::number;
using fuzz::require;
using loader::testkit::ByteVector;

constexpr loader::ImageLimits kLimits{.unpacked = base::ByteSize(1 << 20)};

// ---- bzImage

struct SecondReading {
  bool is_bzimage = false;
  std::optional<loader::ImageError> error;
  base::Bytes payload;
};

// By the offsets of Documentation/arch/x86/boot.rst.
SecondReading read_bzimage(base::Bytes file) {
  SecondReading reading;
  reading.is_bzimage = file.size() >= 0x206 && number(file, 0x1fe, 2) == 0xaa55 &&
                       number(file, 0x202, 4) == 0x53726448;
  if (!reading.is_bzimage) {
    return reading;
  }
  if (file.size() < 0x26c) {
    reading.error = loader::ImageError::kTruncatedHeader;
  } else if (number(file, 0x206, 2) < 0x208 || number(file, 0x24c, 4) == 0) {
    reading.error = loader::ImageError::kNoPayload;
  } else {
    const std::uint64_t sectors = number(file, 0x1f1, 1) == 0 ? 4 : number(file, 0x1f1, 1);
    const std::uint64_t offset = (sectors + 1) * 512 + number(file, 0x248, 4);
    const std::uint64_t length = number(file, 0x24c, 4);
    if (offset + length > file.size()) {
      reading.error = loader::ImageError::kBadBzImage;
    } else {
      reading.payload = file.subspan(offset, length);
    }
  }
  return reading;
}

// What is packed around a bzImage comes off first; a bzImage inside of another is none.
void check_bzimage(base::Bytes file,
                   const std::expected<loader::Image, loader::ImageFault>& image) {
  const SecondReading reading = read_bzimage(file);
  if (!reading.is_bzimage || loader::compression_of(file)) {
    return;
  }
  if (reading.error) {
    require(!image && image.error().code == *reading.error);
    return;
  }
  const auto alone = loader::parse_image(reading.payload, kLimits);
  require(image.has_value() == (alone && alone->container == loader::Container::kElf));
  if (image) {
    require(image->container == loader::Container::kBzImage);
    require(image->compression == alone->compression);
    require(std::ranges::equal(image->elf, alone->elf));
    require(image->pvh_entry == alone->pvh_entry);
    require(image->problems.size() == alone->problems.size());
  }
}

// ---- the mutator

using Random = std::minstd_rand;

std::uint64_t below(Random& random, std::uint64_t bound) {
  return bound == 0 ? 0 : random() % bound;
}

ByteVector fresh_kernel(Random& random) {
  using loader::ElfClass;
  if (below(random, 2) == 0) {
    return loader::testkit::small_kernel(below(random, 2) == 0 ? ElfClass::k32 : ElfClass::k64);
  }
  const auto& matrix = loader::testkit::note_matrix();
  return loader::testkit::build_case(matrix[below(random, matrix.size())],
                                     ByteVector(16, std::byte{0xf4}), 0x100000);
}

// A field of a header, or anything, becomes a number at which something changes.
void change_field(Random& random, ByteVector& elf) {
  if (elf.size() < 64) {
    return;
  }
  const bool wide = elf[4] == std::byte{2};
  const std::uint64_t table = number(elf, wide ? 0x20 : 0x1c, wide ? 8 : 4);
  const std::size_t each = wide ? 56 : 32;
  const std::uint64_t count = number(elf, wide ? 0x38 : 0x2c, 2);
  std::uint64_t first = 16;
  std::uint64_t size = 48;
  if (below(random, 3) != 0 && table < elf.size() && count != 0) {
    first = table + below(random, count) * each;
    size = each;
  }
  constexpr std::array<std::size_t, 3> kWidths{2, 4, 8};
  const std::size_t width = kWidths[below(random, kWidths.size())];
  const std::uint64_t at = first + below(random, size / width) * width;
  if (at + width > elf.size()) {
    return;
  }
  const std::array<std::uint64_t, 14> values{0,
                                             1,
                                             2,
                                             4,
                                             7,
                                             elf.size(),
                                             elf.size() - 1,
                                             0xffff,
                                             0x100000,
                                             0xfffff,
                                             UINT32_MAX,
                                             UINT64_MAX,
                                             std::uint64_t{1} << 63,
                                             number(elf, at, width) + 1};
  const std::uint64_t value = values[below(random, values.size())];
  for (std::size_t i = 0; i < width; ++i) {
    elf[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  }
}

std::size_t give(const ByteVector& bytes, std::uint8_t* data, std::size_t most) {
  const std::size_t size = std::min(bytes.size(), most);
  std::memcpy(data, bytes.data(), size);
  return size;
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  Random random(seed);
  if (below(random, 3) == 0) {
    return LLVMFuzzerMutate(data, size, most);
  }
  const auto image = loader::parse_image(fuzz::to_bytes(data, size), kLimits);
  ByteVector elf = image && image->elf.size() < most ? loader::testkit::to_vector(image->elf)
                                                     : fresh_kernel(random);
  if (below(random, 4) == 0) {
    elf.resize(std::max(elf.size(), std::size_t{1}) + 64);
    elf.resize(
        LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(elf.data()), elf.size() - 64, elf.size()));
  } else {
    for (std::uint64_t changes = 1 + below(random, 3); changes > 0; --changes) {
      change_field(random, elf);
    }
  }
  if (elf.empty()) {
    return give(elf, data, most);
  }
  const auto& packings = loader::testkit::all_packings();
  const bool packed = below(random, 4) == 0;
  const auto packing = packings[below(random, packings.size())];
  if (below(random, 4) == 0) {
    elf =
        loader::testkit::make_bzimage(packed ? loader::testkit::pack_as_payload(elf, packing) : elf,
                                      {.setup_sects = static_cast<std::uint8_t>(below(random, 8))});
    // The numbers of the setup header that say where the payload is.
    constexpr std::array<std::size_t, 6> kPlaces{0x1f1, 0x206, 0x248, 0x24c, 0x24d, 0x202};
    if (below(random, 3) == 0) {
      elf[kPlaces[below(random, kPlaces.size())]] = static_cast<std::byte>(below(random, 256));
    }
  } else if (packed) {
    elf = loader::testkit::pack(elf, packing);
  }
  return give(elf, data, most);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::to_bytes(data, size);
  const auto image = loader::parse_image(file, kLimits);
  check_bzimage(file, image);
  if (!image) {
    require(!base::to_text(image.error()).empty());
    return 0;
  }
  require(image->elf.size() <= std::max<std::size_t>(size, 1 << 20));
  const auto entries =
      std::ranges::count(image->notes, loader::NoteVerdict::kEntry, &loader::Note::verdict);
  require(entries == (image->pvh_entry ? 1 : 0));
  require(image->pvh_entry || !image->problems.empty());
  require(std::ranges::is_sorted(image->problems, {}, &loader::ImageFault::code));
  for (const loader::ImageFault& problem : image->problems) {
    require(!base::to_text(problem).empty());
  }
  const loader::CheckReport report = loader::check_image(*image);
  for (const loader::Finding& finding : report.findings) {
    require(!finding.monitors.empty() && !finding.what.empty() && !finding.remedy.empty());
    require(!finding.offset || *finding.offset < image->elf.size());
  }
  require(std::ranges::is_sorted(report.findings, {}, &loader::Finding::severity));
  if (!image->problems.empty()) {
    require(report.refusing().contains(loader::Monitor::kPvh));
    return 0;
  }
  // Without problems it can be loaded as it says.
  for (const loader::Segment& segment : image->segments) {
    require(base::slice(image->elf, segment.offset, segment.file_size).has_value());
    require(segment.file_size <= segment.memory_size.value());
    const auto range = base::Range::from_size(segment.paddr, segment.memory_size);
    require(range.has_value());
    for (const loader::Segment& other :
         std::span(image->segments).first(std::min<std::size_t>(image->segments.size(), 8))) {
      const auto other_range = base::Range::from_size(other.paddr, other.memory_size);
      require(other.index == segment.index || !range->overlaps(*other_range));
    }
  }
  require(std::ranges::any_of(image->segments, [&](const loader::Segment& segment) {
    return base::Range::from_size(segment.paddr, segment.memory_size)->contains(*image->pvh_entry);
  }));
  return 0;
}
