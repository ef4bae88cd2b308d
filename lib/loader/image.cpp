// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <pvh/abi/bzimage.hpp>
#include <pvh/abi/elf.hpp>
#include <pvh/base/checked.hpp>
#include <pvh/base/try.hpp>
#include <pvh/loader/image.hpp>

#include "elf.hpp"
#include "unpack.hpp"

namespace pvh::loader {
namespace {

std::unexpected<ImageFault> fault(ImageError code, std::string detail,
                                  std::optional<std::uint64_t> offset) {
  return std::unexpected(ImageFault{code, std::move(detail), offset});
}

// Files that people give by mistake.
struct Lookalike {
  std::string_view magic;
  std::string_view name;
};
constexpr std::array kLookalikes{
    Lookalike{"070701", "a cpio archive: an initrd?"},
    Lookalike{"MZ", "an EFI program without a Linux boot header"},
    Lookalike{"hsqs", "a squashfs file system"},
    Lookalike{"QFI\xfb", "a qcow2 disk"},
    Lookalike{"!<arch>", "an ar archive: a .deb or a .a?"},
    Lookalike{"#!", "a script"},
    Lookalike{"\x1f\x9d", "compress (.Z)"},
};

std::unexpected<ImageFault> unknown_format(base::Bytes file) {
  for (const Lookalike& lookalike : kLookalikes) {
    if (starts_with(file, lookalike.magic)) {
      return fault(ImageError::kUnknownFormat, std::string(lookalike.name), std::nullopt);
    }
  }
  std::string first;
  for (const std::byte b : file.first(std::min<std::size_t>(file.size(), 4))) {
    first += fmt::format(" {:02x}", std::to_integer<unsigned>(b));
  }
  return fault(ImageError::kUnknownFormat, fmt::format("it begins with{}", first), std::nullopt);
}

bool looks_like_bzimage(base::Bytes file) {
  const auto field = [&](std::uint64_t member) { return abi::kSetupHeaderOffset + member; };
  const auto flag = base::read_at<base::Le16>(file, field(offsetof(abi::setup_header, boot_flag)));
  const auto magic = base::read_at<base::Le32>(file, field(offsetof(abi::setup_header, header)));
  return flag && flag->get() == abi::kBootFlag && magic && magic->get() == abi::kHdrS;
}

struct Payload {
  base::Bytes bytes;
  std::uint64_t offset;
};

std::expected<Payload, ImageFault> find_payload(base::Bytes file) {
  constexpr std::uint64_t kLength =
      abi::kSetupHeaderOffset + offsetof(abi::setup_header, payload_length);
  const auto header = base::read_at<abi::setup_header>(file, abi::kSetupHeaderOffset);
  if (!header) {
    return fault(ImageError::kTruncatedHeader,
                 fmt::format("the bzImage header ends at {:#x}",
                             abi::kSetupHeaderOffset + sizeof(abi::setup_header)),
                 file.size());
  }
  const std::uint16_t version = header->version.get();
  if (version < abi::kPayloadProtocol) {
    return fault(ImageError::kNoPayload,
                 fmt::format("boot protocol {}.{:02}", version >> 8, version & 0xff),
                 abi::kSetupHeaderOffset + offsetof(abi::setup_header, version));
  }
  const std::uint64_t length = header->payload_length.get();
  if (length == 0) {
    return fault(ImageError::kNoPayload, "its length is 0", kLength);
  }
  const std::uint64_t sectors =
      header->setup_sects != 0 ? header->setup_sects : abi::kDefaultSetupSectors;
  const std::uint64_t offset = (sectors + 1) * abi::kSetupSectorSize + header->payload_offset.get();
  const auto payload = base::slice(file, offset, length);
  if (!payload) {
    return fault(ImageError::kBadBzImage,
                 fmt::format("its payload, {:#x} bytes at {:#x}, does not lie in a file of {:#x}",
                             length, offset, file.size()),
                 kLength);
  }
  return Payload{*payload, offset};
}

// Makes `bytes` the ELF inside it, unpacked into image.unpacked if need be.
std::expected<base::Bytes, ImageFault> reach_elf(base::Bytes bytes, const ImageLimits& limits,
                                                 Image& image) {
  std::uint64_t offset = 0;
  const auto unpack_into_image = [&](base::Bytes packed) -> std::expected<void, ImageFault> {
    auto unpacked = unpack(packed, limits.unpacked);
    if (!unpacked) {
      ImageFault problem = std::move(unpacked).error();
      if (problem.offset) {
        *problem.offset += offset;
      }
      return std::unexpected(std::move(problem));
    }
    image.unpacked = std::move(*unpacked);
    bytes = std::as_const(image.unpacked).bytes();
    return {};
  };

  if (const auto outer = compression_of(bytes)) {
    image.compression = *outer;
    TRY(unpack_into_image(bytes));
  }
  if (!looks_like_bzimage(bytes)) {
    return bytes;
  }
  image.container = Container::kBzImage;
  const Payload payload = TRY(find_payload(bytes));
  const auto inner = compression_of(payload.bytes);
  if (!inner && !looks_like_elf(payload.bytes)) {
    return fault(ImageError::kUnsupported, "the payload's compression is unknown", payload.offset);
  }
  bytes = payload.bytes;
  if (inner) {
    image.compression = *inner;
    offset = payload.offset;
    // An outer layer's bytes live until the inner ones are there.
    TRY(unpack_into_image(bytes));
  }
  return bytes;
}

}  // namespace

base::Explanation explain(ImageError code) {
  switch (code) {
    case ImageError::kEmpty:
      return {"the file is empty", ""};
    case ImageError::kUnknownFormat:
      return {"not a kernel that can be booted here",
              "give it an ELF, a bzImage (vmlinuz), or one of them compressed"};
    case ImageError::kTruncatedHeader:
      return {"the file ends inside a header", "it is cut short; copy it again"};
    case ImageError::kNotX86:
      return {"not an ELF file for x86", "give it a kernel built for x86"};
    case ImageError::kNotExecutable:
      return {"the ELF file is not an executable", "give it the linked kernel"};
    case ImageError::kBadProgramHeaders:
      return {"the ELF program headers make no sense", ""};
    case ImageError::kNoSegments:
      return {"the ELF file has nothing to load", "link it with PT_LOAD segments"};
    case ImageError::kSegmentOutsideFile:
      return {"a segment's bytes are not in the file", "it is cut short; copy it again"};
    case ImageError::kFileSizeAboveMemSize:
      return {"a segment has more bytes in the file than in memory", ""};
    case ImageError::kSegmentWraps:
      return {"a segment goes beyond the end of the address space",
              "its p_paddr has to be a physical address"};
    case ImageError::kSegmentsOverlap:
      return {"two segments share physical memory", "give them different p_paddr"};
    case ImageError::kNoPvhNote:
      return {"no PVH entry: no usable ELF note \"Xen\" of type 18",
              "build it with its PVH entry (Linux: CONFIG_PVH=y, Xen: CONFIG_PVH_GUEST=y)"};
    case ImageError::kEntryOutsideSegments:
      return {"the PVH entry is not in a loaded segment",
              "the ELF note \"Xen\" of type 18 has to hold a physical address (p_paddr)"};
    case ImageError::kBadBzImage:
      return {"the bzImage header contradicts the file", "it is cut short; copy it again"};
    case ImageError::kNoPayload:
      return {"the bzImage has no payload that could be unpacked",
              "boot its vmlinux, or a kernel newer than Linux 2.6.26"};
    case ImageError::kCorruptPayload:
      return {"the compressed data is damaged", "copy the file again"};
    case ImageError::kPayloadTooLarge:
      return {"it unpacks to more than is allowed", ""};
    case ImageError::kUnsupported:
      return {"compressed in a way that is not supported",
              "unpack it with its own tool, or compress it with gzip, xz or zstd"};
  }
  return {"unknown error", ""};
}

std::string_view to_string(Container container) {
  switch (container) {
    case Container::kElf:
      return "ELF";
    case Container::kBzImage:
      return "bzImage";
  }
  return "unknown";
}

std::string_view to_string(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "none";
    case Compression::kGzip:
      return "gzip";
    case Compression::kBzip2:
      return "bzip2";
    case Compression::kLzma:
      return "lzma";
    case Compression::kXz:
      return "xz";
    case Compression::kLzo:
      return "lzo";
    case Compression::kLz4:
      return "lz4";
    case Compression::kZstd:
      return "zstd";
  }
  return "unknown";
}

std::string_view to_string(ElfClass elf_class) {
  switch (elf_class) {
    case ElfClass::k32:
      return "ELF32";
    case ElfClass::k64:
      return "ELF64";
  }
  return "unknown";
}

bool first_module_is_metadata(const Image& image) {
  return image.guest_os == "FreeBSD";
}

std::string_view to_string(NoteVerdict verdict) {
  switch (verdict) {
    case NoteVerdict::kEntry:
      return "the PVH entry";
    case NoteVerdict::kRelocation:
      return "the relocation limits";
    case NoteVerdict::kOtherOwner:
      return "not Xen's";
    case NoteVerdict::kOtherType:
      return "not about the PVH entry";
    case NoteVerdict::kDuplicate:
      return "another note came first";
    case NoteVerdict::kDescriptorSize:
      return "neither 4 nor 8 bytes";
    case NoteVerdict::kEntryAbove4GiB:
      return "the entry is above 4 GiB, but is 32-bit code";
    case NoteVerdict::kEntryOutsideSegments:
      return "nothing is loaded there";
    case NoteVerdict::kBadValue:
      return "its numbers contradict each other";
    case NoteVerdict::kTruncated:
      return "runs past its end";
  }
  return "unknown";
}

std::expected<Image, ImageFault> parse_image(base::Bytes file, const ImageLimits& limits) {
  if (file.empty()) {
    return fault(ImageError::kEmpty, "", std::nullopt);
  }
  Image image;
  image.elf = TRY(reach_elf(file, limits, image));
  if (!looks_like_elf(image.elf)) {
    return unknown_format(image.elf);
  }
  const Elf elf = TRY(read_elf(image.elf));
  image.elf_class = elf.elf_class;
  image.machine = elf.machine;
  image.relocatable = elf.type == abi::ET_DYN;
  image.elf_entry = elf.entry;
  find_segments(elf, image);
  find_notes(elf, image);
  return image;
}

}  // namespace pvh::loader
