// SPDX-License-Identifier: BSD-2-Clause
// Private to the loader: compressed bytes in, the bytes that they stand for out.
//
// Every codec is one function of the same shape, chosen by the first bytes from one table. Output
// stops at the limit, and the codecs' own memory is bounded too. Nothing that the input says about
// its size is believed; it is at most a guess of how much address space to set aside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string_view>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/mapping.hpp>
#include <pvh/loader/image.hpp>

#include "buffer.hpp"

namespace pvh::loader {

// By their first bytes; nothing when no codec of ours knows them.
[[nodiscard]] std::optional<Compression> compression_of(base::Bytes bytes);

// All of `packed`, which compression_of() must know. Offsets in faults count from its start.
//
// The Linux build appends the unpacked length in four bytes to everything but gzip, which has it
// anyway: these four may follow in any format. Other bytes may follow where the format's own tool
// lets them.
[[nodiscard]] std::expected<base::Mapping, ImageFault> unpack(base::Bytes packed,
                                                              base::ByteSize limit);

// The codecs: they append to `out` and answer how many bytes of `packed` they have used.
using Used = std::expected<std::size_t, ImageFault>;
[[nodiscard]] Used unpack_gzip(base::Bytes packed, Buffer& out);
[[nodiscard]] Used unpack_bzip2(base::Bytes packed, Buffer& out);
[[nodiscard]] Used unpack_lzma(base::Bytes packed, Buffer& out);
[[nodiscard]] Used unpack_xz(base::Bytes packed, Buffer& out);
[[nodiscard]] Used unpack_lzo(base::Bytes packed, Buffer& out);
[[nodiscard]] Used unpack_lz4(base::Bytes packed, Buffer& out);
[[nodiscard]] Used unpack_lz4_frame(base::Bytes packed, Buffer& out);
[[nodiscard]] Used unpack_zstd(base::Bytes packed, Buffer& out);

// What the codecs have in common when they give up.
[[nodiscard]] std::unexpected<ImageFault> corrupt(std::string_view why, std::size_t at);
[[nodiscard]] std::unexpected<ImageFault> cut_short(std::size_t at);
[[nodiscard]] std::unexpected<ImageFault> unsupported(std::string_view why, std::size_t at);
// room() answered `sys_errno`.
[[nodiscard]] std::unexpected<ImageFault> no_room(const Buffer& out, int sys_errno);

// The rest of `bytes` begins with `magic`.
[[nodiscard]] bool starts_with(base::Bytes bytes, std::string_view magic);

inline constexpr std::string_view kGzipMagic{"\x1f\x8b"};
inline constexpr std::string_view kBzip2Magic{"BZh"};
// No magic but its usual first byte and the low half of a dictionary size.
inline constexpr std::string_view kLzmaMagic{"\x5d\0\0", 3};
inline constexpr std::string_view kXzMagic{
    "\xfd"
    "7zXZ\0",
    6};
inline constexpr std::string_view kLzopMagic{"\x89LZO\0\r\n\x1a\n", 9};
inline constexpr std::string_view kLz4LegacyMagic{"\x02\x21\x4c\x18"};
inline constexpr std::string_view kLz4FrameMagic{"\x04\x22\x4d\x18"};
inline constexpr std::string_view kZstdMagic{"\x28\xb5\x2f\xfd"};

}  // namespace pvh::loader
