// SPDX-License-Identifier: BSD-2-Clause
#include "lib/loader/testing/bzimage_builder.hpp"

#define ZLIB_CONST
#include <bzlib.h>
#include <lz4.h>
#include <lz4frame.h>
#include <lz4hc.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <stdexcept>

#include <pvh/abi/bzimage.hpp>
#include <pvh/base/checked.hpp>

namespace pvh::loader::testkit {
namespace {

// A packer that fails is a broken test, so here is the place for exceptions.
void require(bool ok) {
  if (!ok) {
    throw std::runtime_error("cannot pack");
  }
}

// Small: a fuzzer packs by the thousand, and a packer's first step is to clear its window.
constexpr std::uint32_t kWindow = 1u << 16;

void append(ByteVector& bytes, base::Bytes more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

ByteVector pack_gzip(base::Bytes content) {
  z_stream stream{};
  require(::deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  ByteVector packed(::deflateBound(&stream, content.size()));
  stream.next_in = reinterpret_cast<const Bytef*>(content.data());
  stream.avail_in = *base::narrow<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = *base::narrow<uInt>(packed.size());
  require(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  return packed;
}

ByteVector pack_bzip2(base::Bytes content) {
  ByteVector packed(content.size() + content.size() / 50 + 1024);
  auto size = *base::narrow<unsigned>(packed.size());
  // libbz2 predates const; it does not write to its source.
  auto* const from = const_cast<char*>(reinterpret_cast<const char*>(content.data()));
  require(::BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(packed.data()), &size, from,
                                     *base::narrow<unsigned>(content.size()), 1, 0, 0) == BZ_OK);
  packed.resize(size);
  return packed;
}

ByteVector run_lzma(lzma_stream& stream, base::Bytes content) {
  ByteVector packed(content.size() + content.size() / 8 + 4096);
  stream.next_in = reinterpret_cast<const std::uint8_t*>(content.data());
  stream.avail_in = content.size();
  stream.next_out = reinterpret_cast<std::uint8_t*>(packed.data());
  stream.avail_out = packed.size();
  require(::lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
  packed.resize(stream.total_out);
  ::lzma_end(&stream);
  return packed;
}

ByteVector pack_lzma(base::Bytes content) {
  lzma_options_lzma options{};
  require(::lzma_lzma_preset(&options, 1) == 0);
  options.dict_size = kWindow;
  lzma_stream stream = LZMA_STREAM_INIT;
  require(::lzma_alone_encoder(&stream, &options) == LZMA_OK);
  return run_lzma(stream, content);
}

ByteVector pack_xz(base::Bytes content, bool x86) {
  lzma_options_lzma options{};
  require(::lzma_lzma_preset(&options, 1) == 0);
  options.dict_size = kWindow;
  std::vector<lzma_filter> filters;
  if (x86) {
    filters.push_back({LZMA_FILTER_X86, nullptr});
  }
  filters.push_back({LZMA_FILTER_LZMA2, &options});
  filters.push_back({LZMA_VLI_UNKNOWN, nullptr});
  lzma_stream stream = LZMA_STREAM_INIT;
  require(::lzma_stream_encoder(&stream, filters.data(), LZMA_CHECK_CRC32) == LZMA_OK);
  return run_lzma(stream, content);
}

// lzop's numbers are big-endian.
void append_number(ByteVector& bytes, std::uint64_t value, std::size_t size) {
  for (std::size_t i = size; i-- > 0;) {
    bytes.push_back(static_cast<std::byte>((value >> (8 * i)) & 0xff));
  }
}

std::uint64_t adler32_of(base::Bytes bytes) {
  return ::adler32_z(1, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
}

ByteVector pack_lzo(base::Bytes content) {
  constexpr std::size_t kBlock = 256 << 10;
  constexpr std::string_view kMagic{"\x89LZO\0\r\n\x1a\n", 9};
  ByteVector header;
  append_number(header, 0x1040, 2);     // lzop's version
  append_number(header, 0x20a0, 2);     // the library's
  append_number(header, 0x0940, 2);     // needed to extract
  append_number(header, 3, 1);          // LZO1X-999
  append_number(header, 9, 1);          // level
  append_number(header, 0x3000003, 4);  // Adler-32 of both sides, made on Unix
  append_number(header, 0100644, 4);    // mode
  append_number(header, 0, 8);          // time
  append_number(header, 0, 1);          // no name
  ByteVector packed = to_vector(kMagic);
  append(packed, header);
  append_number(packed, adler32_of(header), 4);
  ByteVector work(LZO1X_999_MEM_COMPRESS);
  for (std::size_t at = 0; at < content.size(); at += kBlock) {
    const base::Bytes block = content.subspan(at, std::min(kBlock, content.size() - at));
    ByteVector out(block.size() + block.size() / 16 + 128);
    lzo_uint size = out.size();
    require(::lzo1x_999_compress(reinterpret_cast<const unsigned char*>(block.data()), block.size(),
                                 reinterpret_cast<unsigned char*>(out.data()), &size,
                                 work.data()) == LZO_E_OK);
    out.resize(size);
    const bool is_stored = size >= block.size();
    append_number(packed, block.size(), 4);
    append_number(packed, is_stored ? block.size() : size, 4);
    append_number(packed, adler32_of(block), 4);
    if (!is_stored) {
      append_number(packed, adler32_of(out), 4);
    }
    append(packed, is_stored ? block : base::Bytes(out));
  }
  append_number(packed, 0, 4);
  return packed;
}

ByteVector pack_lz4_legacy(base::Bytes content) {
  constexpr std::size_t kBlock = 8 << 20;
  ByteVector packed = to_vector(base::to_bytes(base::Le32(0x184c2102)));
  for (std::size_t at = 0; at < content.size(); at += kBlock) {
    const base::Bytes block = content.subspan(at, std::min(kBlock, content.size() - at));
    const auto from_size = *base::narrow<int>(block.size());
    ByteVector out(*base::narrow<std::size_t>(::LZ4_compressBound(from_size)));
    const int size = ::LZ4_compress_HC(reinterpret_cast<const char*>(block.data()),
                                       reinterpret_cast<char*>(out.data()), from_size,
                                       *base::narrow<int>(out.size()), 9);
    require(size > 0);
    append(packed, base::to_bytes(base::Le32(*base::narrow<std::uint32_t>(size))));
    append(packed, base::Bytes(out).first(*base::narrow<std::size_t>(size)));
  }
  return packed;
}

ByteVector pack_lz4_frame(base::Bytes content) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  ByteVector packed(::LZ4F_compressFrameBound(content.size(), &preferences));
  const std::size_t size = ::LZ4F_compressFrame(packed.data(), packed.size(), content.data(),
                                                content.size(), &preferences);
  require(::LZ4F_isError(size) == 0);
  packed.resize(size);
  return packed;
}

// As `cat FILE | zstd` does it: without the content's size.
ByteVector pack_zstd(base::Bytes content) {
  ZSTD_CCtx* const context = ::ZSTD_createCCtx();
  ::ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 9);
  ::ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  ::ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  ByteVector packed(::ZSTD_compressBound(content.size()));
  const std::size_t size =
      ::ZSTD_compress2(context, packed.data(), packed.size(), content.data(), content.size());
  ::ZSTD_freeCCtx(context);
  require(::ZSTD_isError(size) == 0);
  packed.resize(size);
  return packed;
}

}  // namespace

const std::vector<Packing>& all_packings() {
  static const std::vector<Packing> kAll{Packing::kGzip,      Packing::kBzip2,    Packing::kLzma,
                                         Packing::kXz,        Packing::kXzX86,    Packing::kLzo,
                                         Packing::kLz4Legacy, Packing::kLz4Frame, Packing::kZstd};
  return kAll;
}

std::string_view name_of(Packing packing) {
  constexpr std::array kNames{"gzip", "bzip2",     "lzma",     "xz",  "xzx86",
                              "lzo",  "lz4legacy", "lz4frame", "zstd"};
  return kNames.at(static_cast<std::size_t>(packing));
}

Compression compression_of(Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return Compression::kGzip;
    case Packing::kBzip2:
      return Compression::kBzip2;
    case Packing::kLzma:
      return Compression::kLzma;
    case Packing::kXz:
    case Packing::kXzX86:
      return Compression::kXz;
    case Packing::kLzo:
      return Compression::kLzo;
    case Packing::kLz4Legacy:
    case Packing::kLz4Frame:
      return Compression::kLz4;
    case Packing::kZstd:
      return Compression::kZstd;
  }
  return Compression::kNone;
}

ByteVector pack(base::Bytes content, Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return pack_gzip(content);
    case Packing::kBzip2:
      return pack_bzip2(content);
    case Packing::kLzma:
      return pack_lzma(content);
    case Packing::kXz:
      return pack_xz(content, false);
    case Packing::kXzX86:
      return pack_xz(content, true);
    case Packing::kLzo:
      return pack_lzo(content);
    case Packing::kLz4Legacy:
      return pack_lz4_legacy(content);
    case Packing::kLz4Frame:
      return pack_lz4_frame(content);
    case Packing::kZstd:
      return pack_zstd(content);
  }
  return {};
}

ByteVector as_payload(ByteVector packed, std::size_t length, Packing packing) {
  if (packing != Packing::kGzip) {
    append(packed, base::to_bytes(base::Le32(*base::narrow<std::uint32_t>(length))));
  }
  return packed;
}

ByteVector pack_as_payload(base::Bytes content, Packing packing) {
  return as_payload(pack(content, packing), content.size(), packing);
}

ByteVector make_bzimage(base::Bytes payload, const BzImageOptions& options) {
  abi::setup_header header{};
  header.setup_sects = options.setup_sects;
  header.boot_flag = base::Le16(abi::kBootFlag);
  header.header = base::Le32(abi::kHdrS);
  header.version = base::Le16(options.version);
  header.loadflags = 1;
  header.payload_offset = base::Le32(options.payload_offset);
  header.payload_length = base::Le32(*base::narrow<std::uint32_t>(payload.size()));
  const std::size_t sectors =
      options.setup_sects != 0 ? options.setup_sects : abi::kDefaultSetupSectors;
  ByteVector bytes((sectors + 1) * abi::kSetupSectorSize + options.payload_offset);
  put(bytes, abi::kSetupHeaderOffset, header);
  append(bytes, payload);
  // What follows the payload in a real one: the code that unpacks it.
  bytes.resize(bytes.size() + 128, std::byte{0x90});
  return bytes;
}

}  // namespace pvh::loader::testkit
