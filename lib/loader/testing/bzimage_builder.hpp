// SPDX-License-Identifier: BSD-2-Clause
// Packed kernels for tests: every compression that the loader reads, and the bzImage around it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <pvh/base/bytes.hpp>
#include <pvh/loader/image.hpp>

#include "lib/loader/testing/elf_builder.hpp"

namespace pvh::loader::testkit {

// Finer than Compression: what a tool or the Linux build writes.
enum class Packing {
  kGzip,
  kBzip2,
  kLzma,
  kXz,
  kXzX86,  // with the x86 filter (BCJ), as Linux packs its kernels
  kLzo,    // as `lzop -9`: checksums of both sides
  kLz4Legacy,
  kLz4Frame,
  kZstd
};

[[nodiscard]] const std::vector<Packing>& all_packings();
[[nodiscard]] std::string_view name_of(Packing packing);
[[nodiscard]] Compression compression_of(Packing packing);

[[nodiscard]] ByteVector pack(base::Bytes content, Packing packing);

// As the Linux build does it: the length of what was packed behind it, but not for gzip.
[[nodiscard]] ByteVector as_payload(ByteVector packed, std::size_t length, Packing packing);
[[nodiscard]] ByteVector pack_as_payload(base::Bytes content, Packing packing);

struct BzImageOptions {
  std::uint16_t version = 0x020f;
  std::uint8_t setup_sects = 4;  // as it is in the file; 0 means 4
  std::uint32_t payload_offset = 0x40;
};

[[nodiscard]] ByteVector make_bzimage(base::Bytes payload, const BzImageOptions& options = {});

}  // namespace pvh::loader::testkit
