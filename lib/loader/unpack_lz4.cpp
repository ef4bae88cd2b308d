// SPDX-License-Identifier: BSD-2-Clause
// Two formats: the "legacy" one, which Linux uses, is a magic number and then blocks, each preceded
// by its packed size, without an end mark or a checksum; the frame format is `lz4`'s default.
#include <lz4.h>
#include <lz4frame.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include <pvh/base/little_endian.hpp>
#include <pvh/base/try.hpp>

#include "unpack.hpp"

namespace pvh::loader {
namespace {

// What a legacy block unpacks to, all but the last.
constexpr int kLegacyBlock = 8 << 20;

std::optional<std::uint32_t> word_at(base::Bytes bytes, std::size_t at) {
  const auto word = base::read_at<base::Le32>(bytes, at);
  return word ? std::optional(word->get()) : std::nullopt;
}

// The blocks of the stream that begins at `used`, up to the end, the next magic number, or the
// length that the Linux build appends.
Used unpack_legacy_stream(base::Bytes packed, std::size_t used, Buffer& out) {
  used += kLz4LegacyMagic.size();
  while (used < packed.size() && !starts_with(packed.subspan(used), kLz4LegacyMagic)) {
    const auto block_size = word_at(packed, used);
    if (!block_size) {
      return cut_short(used);
    }
    const bool is_last_word = packed.size() - used == 4;
    if (is_last_word && *block_size == (out.size() & UINT32_MAX)) {
      return used;
    }
    if (*block_size == 0 || *block_size > LZ4_COMPRESSBOUND(kLegacyBlock)) {
      return corrupt("a block is too long", used);
    }
    const auto block = base::slice(packed, used + 4, *block_size);
    if (!block) {
      return cut_short(packed.size());
    }
    const auto room = out.room(kLegacyBlock);
    if (!room) {
      return no_room(out, room.error());
    }
    const auto* const from = reinterpret_cast<const char*>(block->data());
    auto* const to = reinterpret_cast<char*>(room->data());
    const auto size = static_cast<int>(*block_size);
    // Near the limit there is no room for a whole block: then as much of it as fits, which uses the
    // byte beyond the limit if there is more.
    const int capacity = static_cast<int>(std::min<std::size_t>(room->size(), kLegacyBlock));
    const int made = capacity == kLegacyBlock
                         ? ::LZ4_decompress_safe(from, to, size, capacity)
                         : ::LZ4_decompress_safe_partial(from, to, size, capacity, capacity);
    if (made < 0) {
      return corrupt("a block is not valid", used);
    }
    out.commit(static_cast<std::size_t>(made));
    if (out.over_limit()) {
      return no_room(out, EFBIG);
    }
    used += 4 + *block_size;
  }
  return used;
}

struct Freer {
  void operator()(LZ4F_dctx* context) const { ::LZ4F_freeDecompressionContext(context); }
};

// The frame at `used`; answers where it ends.
Used unpack_frame(LZ4F_dctx* context, base::Bytes packed, std::size_t used, Buffer& out) {
  ::LZ4F_resetDecompressionContext(context);
  for (;;) {
    const auto room = out.room();
    if (!room) {
      return no_room(out, room.error());
    }
    std::size_t in_size = packed.size() - used;
    std::size_t out_size = room->size();
    const std::size_t status = ::LZ4F_decompress(context, room->data(), &out_size,
                                                 packed.data() + used, &in_size, nullptr);
    if (::LZ4F_isError(status) != 0) {
      return corrupt(::LZ4F_getErrorName(status), used);
    }
    used += in_size;
    out.commit(out_size);
    if (status == 0) {
      return used;
    }
    // There was room; without progress it wants input that does not exist.
    if (in_size == 0 && out_size == 0) {
      return cut_short(used);
    }
  }
}

}  // namespace

Used unpack_lz4(base::Bytes packed, Buffer& out) {
  std::size_t used = 0;
  do {
    used = TRY(unpack_legacy_stream(packed, used, out));
  } while (starts_with(packed.subspan(used), kLz4LegacyMagic));
  return used;
}

Used unpack_lz4_frame(base::Bytes packed, Buffer& out) {
  LZ4F_dctx* raw = nullptr;
  if (::LZ4F_isError(::LZ4F_createDecompressionContext(&raw, LZ4F_VERSION)) != 0) {
    return unsupported("liblz4 has no memory", 0);
  }
  const std::unique_ptr<LZ4F_dctx, Freer> context(raw);
  std::size_t used = 0;
  do {
    used = TRY(unpack_frame(context.get(), packed, used, out));
  } while (starts_with(packed.subspan(used), kLz4FrameMagic));
  return used;
}

}  // namespace pvh::loader
