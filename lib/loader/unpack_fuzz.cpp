// SPDX-License-Identifier: BSD-2-Clause
// Every unpacker. What the format's own library packs comes back, at the limit and not above it.
// A stream that was packed and then damaged gives a fault or some bytes, never more than the limit
// nor endless work. lzop's frame is read by code of ours: it is written here field by field, right
// and wrong, with its sums mended so that what lies behind them is reached.
#include <fuzzer/FuzzedDataProvider.h>
#include <lzo/lzo1x.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/testing/fuzz.hpp"
#include "lib/loader/testing/bzimage_builder.hpp"
#include "unpack.hpp"

namespace {

using namespace pvh;
using namespace pvh::loader;
using fuzz::require;
using testkit::ByteVector;
using testkit::Packing;

constexpr std::uint64_t kLimit = std::uint64_t{1} << 20;

void append(ByteVector& bytes, base::Bytes more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

// Runs of one byte and stretches of any, in a few bytes of input.
ByteVector draw_content(FuzzedDataProvider& draw) {
  ByteVector content;
  content.reserve(1);  // libbz2 wants an address, also for nothing
  for (int parts = draw.ConsumeIntegralInRange(0, 6); parts > 0; --parts) {
    if (draw.ConsumeBool()) {
      content.resize(content.size() + draw.ConsumeIntegralInRange<std::size_t>(0, 40000),
                     std::byte{draw.ConsumeIntegral<std::uint8_t>()});
    } else {
      append(content, testkit::to_vector(draw.ConsumeRandomLengthString(200)));
    }
  }
  return content;
}

void damage(FuzzedDataProvider& draw, ByteVector& bytes) {
  for (int steps = draw.ConsumeIntegralInRange(1, 6); steps > 0 && !bytes.empty(); --steps) {
    // Seldom far from an end, where the headers are.
    const std::size_t span =
        draw.ConsumeBool() ? std::min<std::size_t>(bytes.size(), 64) : bytes.size();
    std::size_t at = draw.ConsumeIntegralInRange<std::size_t>(0, span - 1);
    at = draw.ConsumeBool() ? at : bytes.size() - 1 - at;
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (draw.ConsumeIntegralInRange(0, 3)) {
      case 0:
        *place ^= std::byte(1u << draw.ConsumeIntegralInRange(0, 7));
        break;
      case 1:
        *place = std::byte{draw.ConsumeIntegral<std::uint8_t>()};
        break;
      case 2:
        bytes.insert(place, std::byte{draw.ConsumeIntegral<std::uint8_t>()});
        break;
      default:
        bytes.resize(at);
    }
  }
}

// Any bytes: an answer within the limit, or a fault with words and a place in them.
std::optional<ByteVector> unpack_any(base::Bytes packed, std::uint64_t limit) {
  const auto known = compression_of(packed);
  const auto unpacked = unpack(packed, base::ByteSize(limit));
  if (unpacked) {
    require(known.has_value());
    const base::Bytes bytes = unpacked->bytes();
    require(bytes.size() <= limit);
    return testkit::to_vector(bytes);
  }
  require(!base::to_text(unpacked.error()).empty());
  require(!unpacked.error().offset || *unpacked.error().offset <= packed.size());
  switch (unpacked.error().code) {
    case ImageError::kCorruptPayload:
    case ImageError::kPayloadTooLarge:
    case ImageError::kUnsupported:
      break;
    default:
      require(false);
  }
  return std::nullopt;
}

// ---- what a library packs

void check_packed(FuzzedDataProvider& draw) {
  const Packing packing = testkit::all_packings()[draw.ConsumeIntegralInRange<std::size_t>(
      0, testkit::all_packings().size() - 1)];
  ByteVector content = draw_content(draw);
  ByteVector packed = testkit::pack(content, packing);
  // One stream behind the other, where the format's own tool takes that.
  if (draw.ConsumeBool() && packing != Packing::kLzma) {
    const ByteVector second = draw_content(draw);
    append(packed, testkit::pack(second, packing));
    append(content, second);
  }
  if (draw.ConsumeBool()) {
    packed = testkit::as_payload(packed, content.size(), packing);
  }
  require(compression_of(packed) == testkit::compression_of(packing));
  if (draw.ConsumeBool()) {
    damage(draw, packed);
    unpack_any(packed, kLimit);
    return;
  }
  require(unpack_any(packed, std::max<std::uint64_t>(content.size(), 1)) == content);
  if (content.size() > 1) {
    const auto refused = unpack(packed, base::ByteSize(content.size() - 1));
    require(!refused && refused.error().code == ImageError::kPayloadTooLarge);
  }
  // Cut short anywhere it is not taken for whole. (A legacy lz4 stream has no end of its own.)
  if (packing != Packing::kLz4Legacy && !packed.empty()) {
    const std::size_t length = draw.ConsumeIntegralInRange<std::size_t>(0, packed.size() - 1);
    const auto part = unpack_any(base::Bytes(packed).first(length), kLimit);
    require(!part || part->size() <= content.size());
    require(!part || std::ranges::equal(*part, base::Bytes(content).first(part->size())));
  }
}

// ---- lzop, field by field

void put_number(ByteVector& bytes, std::uint64_t value, std::size_t size) {
  for (std::size_t i = size; i-- > 0;) {
    bytes.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
  }
}

std::uint32_t sum_of(base::Bytes bytes, bool crc) {
  const auto* const data = reinterpret_cast<const Bytef*>(bytes.data());
  return static_cast<std::uint32_t>(crc ? ::crc32_z(0, data, bytes.size())
                                        : ::adler32_z(1, data, bytes.size()));
}

class LzopWriter {
 public:
  explicit LzopWriter(FuzzedDataProvider& draw) : draw_(draw) {}

  // Appends a member to `packed` and what it stands for to `content`.
  void write(ByteVector& packed, ByteVector& content) {
    flags_ = 0;
    for (const std::uint32_t flag : {0x1u, 0x2u, 0x100u, 0x200u, 0x40u, 0x1000u}) {
      flags_ |= draw_.ConsumeBool() ? flag : 0;
    }
    append(packed, testkit::to_vector(kLzopMagic));
    const std::size_t start = packed.size();
    write_header(packed);
    put_number(packed, sum(base::Bytes(packed).subspan(start), (flags_ & 0x1000) != 0), 4);
    if ((flags_ & 0x40) != 0) {
      const ByteVector extra = testkit::to_vector(draw_.ConsumeRandomLengthString(16));
      put_number(packed, wrong_ ? draw_.ConsumeIntegral<std::uint32_t>() : extra.size(), 4);
      append(packed, extra);
      put_number(packed, 0, 4);  // a sum that nobody looks at
    }
    for (int blocks = draw_.ConsumeIntegralInRange(0, 4); blocks > 0; --blocks) {
      write_block(packed, content);
    }
    put_number(packed, 0, 4);
  }

  [[nodiscard]] bool wrong() const { return wrong_; }

 private:
  // Now and then another number than the right one; then nothing is known of the outcome.
  std::uint64_t perhaps(std::uint64_t right) {
    if (draw_.ConsumeIntegralInRange(0, 31) != 31) {
      return right;
    }
    wrong_ = true;
    return draw_.ConsumeIntegral<std::uint32_t>();
  }
  std::uint64_t sum(base::Bytes bytes, bool crc) { return perhaps(sum_of(bytes, crc)); }

  void write_header(ByteVector& packed) {
    const bool old = draw_.ConsumeBool();
    put_number(packed, perhaps(old ? 0x0930 : 0x1040), 2);
    put_number(packed, 0x20a0, 2);
    if (!old) {
      put_number(packed, 0x0940, 2);
    }
    put_number(packed, perhaps(1u + draw_.ConsumeIntegralInRange(0u, 2u)), 1);
    if (!old) {
      put_number(packed, 9, 1);
    }
    put_number(packed, perhaps(flags_), 4);
    put_number(packed, 0100644, 4);
    put_number(packed, 0, old ? 4 : 8);
    const ByteVector name = testkit::to_vector(draw_.ConsumeRandomLengthString(20));
    put_number(packed, perhaps(name.size()), 1);
    append(packed, name);
  }

  void write_block(ByteVector& packed, ByteVector& content) {
    ByteVector block(draw_.ConsumeIntegralInRange<std::size_t>(1, 3000),
                     std::byte{draw_.ConsumeIntegral<std::uint8_t>()});
    append(block, testkit::to_vector(draw_.ConsumeRandomLengthString(64)));
    ByteVector out(block.size() + block.size() / 16 + 128);
    std::vector<std::byte> work(LZO1X_1_MEM_COMPRESS);
    lzo_uint size = out.size();
    require(::lzo1x_1_compress(reinterpret_cast<const unsigned char*>(block.data()), block.size(),
                               reinterpret_cast<unsigned char*>(out.data()), &size,
                               work.data()) == LZO_E_OK);
    out.resize(size);
    const bool stored = size >= block.size() || draw_.ConsumeBool();
    const ByteVector& stands = stored ? block : out;
    put_number(packed, perhaps(block.size()), 4);
    put_number(packed, perhaps(stands.size()), 4);
    for (const auto& [flag, crc] : {std::pair{0x1u, false}, std::pair{0x100u, true}}) {
      if ((flags_ & flag) != 0) {
        put_number(packed, sum(block, crc), 4);
      }
    }
    for (const auto& [flag, crc] : {std::pair{0x2u, false}, std::pair{0x200u, true}}) {
      if ((flags_ & flag) != 0 && !stored) {
        put_number(packed, sum_of(out, crc), 4);
      }
    }
    append(packed, stands);
    append(content, block);
  }

  FuzzedDataProvider& draw_;
  std::uint32_t flags_ = 0;
  bool wrong_ = false;
};

void check_lzop(FuzzedDataProvider& draw) {
  ByteVector packed;
  ByteVector content;
  LzopWriter writer(draw);
  for (int members = draw.ConsumeIntegralInRange(1, 3); members > 0; --members) {
    writer.write(packed, content);
  }
  const auto unpacked = unpack_any(packed, kLimit);
  require(writer.wrong() || unpacked == content);
}

// ---- any bytes behind a magic number

void check_any(FuzzedDataProvider& draw) {
  constexpr std::array kMagics{kGzipMagic, kBzip2Magic,     kLzmaMagic,     kXzMagic,
                               kLzopMagic, kLz4LegacyMagic, kLz4FrameMagic, kZstdMagic};
  ByteVector bytes = testkit::to_vector(draw.PickValueInArray(kMagics));
  const std::uint64_t limit = draw.ConsumeBool() ? kLimit : draw.ConsumeIntegral<std::uint8_t>();
  append(bytes, testkit::to_vector(draw.ConsumeRemainingBytesAsString()));
  unpack_any(bytes, limit);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider draw(data, size);
  switch (draw.ConsumeIntegralInRange(0, 3)) {
    case 0:
      check_any(draw);
      break;
    case 1:
      check_lzop(draw);
      break;
    default:
      check_packed(draw);
  }
  return 0;
}
