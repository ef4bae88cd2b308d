// SPDX-License-Identifier: BSD-2-Clause
// The lzop file format, big-endian: magic, header, blocks. liblzo2 knows only the blocks' content.
// Source: lzop's own reader; Linux's lib/decompress_unlzo.c reads the same.
#include <lzo/lzo1x.h>
#include <lzo/lzoconf.h>
#include <zlib.h>

#include <cerrno>
#include <concepts>
#include <cstring>
#include <optional>
#include <tuple>

#include <fmt/format.h>
#include <pvh/base/try.hpp>

#include "unpack.hpp"

namespace pvh::loader {
namespace {

constexpr std::uint32_t kAdler32Unpacked = 0x1;
constexpr std::uint32_t kAdler32Packed = 0x2;
constexpr std::uint32_t kExtraField = 0x40;
constexpr std::uint32_t kCrc32Unpacked = 0x100;
constexpr std::uint32_t kCrc32Packed = 0x200;
constexpr std::uint32_t kFilter = 0x800;
constexpr std::uint32_t kCrc32Header = 0x1000;

// From this version on the header has three more fields.
constexpr std::uint16_t kVersionWithLevel = 0x0940;

// The methods: LZO1X-1, LZO1X-1(15), LZO1X-999; all unpack alike.
constexpr std::uint8_t kLastMethod = 3;
constexpr std::uint32_t kLargestBlock = 64u << 20;

// Takes big-endian numbers one after the other; once the bytes run out it stays at the end.
class Reader {
 public:
  Reader(base::Bytes bytes, std::size_t at) : bytes_(bytes), at_(at) {}

  template <std::unsigned_integral T>
  [[nodiscard]] T take() {
    T value = 0;
    for (const std::byte b : take_bytes(sizeof(T))) {
      value = static_cast<T>((std::uint64_t{value} << 8) | std::to_integer<std::uint64_t>(b));
    }
    return value;
  }
  [[nodiscard]] base::Bytes take_bytes(std::uint64_t size) {
    const auto part = base::slice(bytes_, at_, size);
    ended_ = ended_ || !part;
    if (ended_) {
      return {};
    }
    at_ += size;
    return *part;
  }

  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] std::size_t at() const { return at_; }

 private:
  base::Bytes bytes_;
  std::size_t at_;
  bool ended_ = false;
};

std::uint32_t adler32_of(base::Bytes bytes) {
  return static_cast<std::uint32_t>(
      ::adler32_z(1, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::uint32_t crc32_of(base::Bytes bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// The header at `start`, magic included; answers its flags.
std::expected<std::uint32_t, ImageFault> read_header(base::Bytes packed, std::size_t start,
                                                     Reader& reader) {
  const auto version = reader.take<std::uint16_t>();
  const bool has_level = version >= kVersionWithLevel;
  std::ignore = reader.take<std::uint16_t>();  // of the library
  if (has_level) {
    std::ignore = reader.take<std::uint16_t>();  // needed to extract
  }
  const auto method = reader.take<std::uint8_t>();
  if (has_level) {
    std::ignore = reader.take<std::uint8_t>();
  }
  const auto flags = reader.take<std::uint32_t>();
  if ((flags & kFilter) != 0) {
    return unsupported("an lzop filter", reader.at());
  }
  std::ignore = reader.take_bytes(has_level ? 12 : 8);  // mode, times
  const auto name_size = reader.take<std::uint8_t>();
  std::ignore = reader.take_bytes(name_size);
  const base::Bytes summed = packed.subspan(start, reader.at() - start);
  const auto sum = reader.take<std::uint32_t>();
  if (reader.ended()) {
    return cut_short(packed.size());
  }
  if (sum != ((flags & kCrc32Header) != 0 ? crc32_of(summed) : adler32_of(summed))) {
    return corrupt("the header's checksum is wrong", start);
  }
  if (method == 0 || method > kLastMethod) {
    return unsupported(fmt::format("lzop method {}", method), start);
  }
  if ((flags & kExtraField) != 0) {
    std::ignore = reader.take_bytes(reader.take<std::uint32_t>());
    std::ignore = reader.take<std::uint32_t>();
  }
  return flags;
}

struct Block {
  base::Bytes packed;
  std::uint32_t size;  // unpacked; 0 ends the member
  std::optional<std::uint32_t> adler32, crc32;
};

std::expected<Block, ImageFault> read_block(Reader& reader, std::uint32_t flags) {
  const std::size_t start = reader.at();
  Block block{{}, reader.take<std::uint32_t>(), {}, {}};
  if (reader.ended()) {
    return cut_short(start);
  }
  if (block.size == 0) {
    return block;
  }
  const auto packed_size = reader.take<std::uint32_t>();
  if (!reader.ended() && (block.size > kLargestBlock || packed_size > block.size)) {
    return corrupt("a block is too long", start);
  }
  if ((flags & kAdler32Unpacked) != 0) {
    block.adler32 = reader.take<std::uint32_t>();
  }
  if ((flags & kCrc32Unpacked) != 0) {
    block.crc32 = reader.take<std::uint32_t>();
  }
  // The sums of the packed bytes are redundant, and left out for a block that is stored.
  const bool is_stored = packed_size == block.size;
  for (const std::uint32_t flag : {kAdler32Packed, kCrc32Packed}) {
    if ((flags & flag) != 0 && !is_stored) {
      std::ignore = reader.take<std::uint32_t>();
    }
  }
  block.packed = reader.take_bytes(packed_size);
  if (reader.ended()) {
    return cut_short(reader.at());
  }
  return block;
}

std::expected<void, ImageFault> unpack_block(const Block& block, std::size_t at, Buffer& out) {
  const auto room = out.room(block.size);
  if (!room) {
    return no_room(out, room.error());
  }
  if (room->size() < block.size) {
    return no_room(out, EFBIG);
  }
  const base::MutableBytes to = room->first(block.size);
  if (block.packed.size() == block.size) {
    std::memcpy(to.data(), block.packed.data(), block.size);
  } else {
    lzo_uint made = block.size;
    const int status = ::lzo1x_decompress_safe(
        reinterpret_cast<const unsigned char*>(block.packed.data()), block.packed.size(),
        reinterpret_cast<unsigned char*>(to.data()), &made, nullptr);
    if (status != LZO_E_OK || made != block.size) {
      return corrupt("a block is not valid", at);
    }
  }
  if ((block.adler32 && *block.adler32 != adler32_of(to)) ||
      (block.crc32 && *block.crc32 != crc32_of(to))) {
    return corrupt("a block's checksum is wrong", at);
  }
  out.commit(block.size);
  return {};
}

// The member at `used`; answers where it ends.
Used unpack_member(base::Bytes packed, std::size_t used, Buffer& out) {
  const std::size_t start = used + kLzopMagic.size();
  Reader reader(packed, start);
  const std::uint32_t flags = TRY(read_header(packed, start, reader));
  for (;;) {
    const std::size_t at = reader.at();
    const Block block = TRY(read_block(reader, flags));
    if (block.size == 0) {
      return reader.at();
    }
    TRY(unpack_block(block, at, out));
  }
}

}  // namespace

Used unpack_lzo(base::Bytes packed, Buffer& out) {
  std::size_t used = 0;
  do {
    used = TRY(unpack_member(packed, used, out));
  } while (starts_with(packed.subspan(used), kLzopMagic));
  return used;
}

}  // namespace pvh::loader
