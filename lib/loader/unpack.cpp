// SPDX-License-Identifier: BSD-2-Clause
#include "unpack.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <pvh/base/little_endian.hpp>
#include <pvh/base/try.hpp>

namespace pvh::loader {
namespace {

struct Codec {
  Compression compression;
  std::string_view magic;
  Used (*unpack)(base::Bytes packed, Buffer& out);
  bool ignores_garbage;  // does the format's own tool accept bytes after the end?
};

constexpr std::array kCodecs{
    Codec{Compression::kGzip, kGzipMagic, unpack_gzip, true},
    Codec{Compression::kBzip2, kBzip2Magic, unpack_bzip2, true},
    Codec{Compression::kXz, kXzMagic, unpack_xz, false},
    Codec{Compression::kLzo, kLzopMagic, unpack_lzo, true},
    Codec{Compression::kLz4, kLz4LegacyMagic, unpack_lz4, true},
    Codec{Compression::kLz4, kLz4FrameMagic, unpack_lz4_frame, true},
    Codec{Compression::kZstd, kZstdMagic, unpack_zstd, false},
    // Last: its magic is the weakest.
    Codec{Compression::kLzma, kLzmaMagic, unpack_lzma, false},
};

const Codec* codec_of(base::Bytes bytes) {
  const auto* const found = std::ranges::find_if(
      kCodecs, [&](const Codec& codec) { return starts_with(bytes, codec.magic); });
  return found == kCodecs.end() ? nullptr : found;
}

// gzip ends in its unpacked size, the Linux build appends it to the others. For a file that ends in
// something else the guess is only wrong.
std::uint64_t guess_size(base::Bytes packed) {
  const auto tail =
      packed.size() < 4 ? std::nullopt : base::read_at<base::Le32>(packed, packed.size() - 4);
  const std::uint64_t size = tail ? tail->get() : 0;
  const std::uint64_t usual = packed.size() * 4;
  return size >= packed.size() && size / 64 <= packed.size() ? size : usual;
}

}  // namespace

bool starts_with(base::Bytes bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::ranges::equal(bytes.first(magic.size()), magic, {}, {},
                            [](char c) { return static_cast<std::byte>(c); });
}

std::unexpected<ImageFault> corrupt(std::string_view why, std::size_t at) {
  return std::unexpected(ImageFault{ImageError::kCorruptPayload, std::string(why), at});
}

std::unexpected<ImageFault> cut_short(std::size_t at) {
  return corrupt("it is cut short", at);
}

std::unexpected<ImageFault> unsupported(std::string_view why, std::size_t at) {
  return std::unexpected(ImageFault{ImageError::kUnsupported, std::string(why), at});
}

std::unexpected<ImageFault> no_room(const Buffer& out, int sys_errno) {
  std::string detail = fmt::format("{} MiB", out.limit() >> 20);
  // EFBIG is our own limit, and the message says so already.
  return std::unexpected(ImageFault{ImageError::kPayloadTooLarge, std::move(detail), std::nullopt,
                                    sys_errno == EFBIG ? 0 : sys_errno});
}

std::optional<Compression> compression_of(base::Bytes bytes) {
  const Codec* const codec = codec_of(bytes);
  return codec == nullptr ? std::nullopt : std::optional(codec->compression);
}

std::expected<base::Mapping, ImageFault> unpack(base::Bytes packed, base::ByteSize limit) {
  const Codec* const codec = codec_of(packed);
  if (codec == nullptr) {
    return unsupported("unknown compression", 0);
  }
  Buffer out(limit.value(), guess_size(packed));
  Used result = codec->unpack(packed, out);
  if (!result) {
    ImageFault fault = std::move(result).error();
    fault.detail = fmt::format("{}: {}", to_string(codec->compression), fault.detail);
    return std::unexpected(std::move(fault));
  }
  if (out.over_limit()) {
    return no_room(out, EFBIG);
  }
  const base::Bytes rest = packed.subspan(*result);
  const auto length = base::read_at<base::Le32>(rest, 0);
  const bool is_length = rest.size() == 4 && length && length->get() == (out.size() & UINT32_MAX);
  if (!rest.empty() && !is_length && !codec->ignores_garbage) {
    return corrupt(
        fmt::format("{}: {} bytes follow its end", to_string(codec->compression), rest.size()),
        *result);
  }
  return out.take();
}

}  // namespace pvh::loader
