// SPDX-License-Identifier: BSD-2-Clause
// A kernel file, understood: what it is, what is to be loaded where, and which of its notes names
// the PVH entry.
//
// parse_image() takes the bytes of an ELF, of a bzImage, or of either's compressed form, and gives
// an Image. It fails only when there is no ELF to speak of (the file is something else, is cut
// short before its headers, does not unpack). Whatever is wrong with an ELF that can be read is
// listed in Image::problems: inspect prints it, a plan refuses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/base/address.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/base/fault.hpp>
#include <pvh/base/mapping.hpp>

namespace pvh::loader {

enum class ImageError {
  kEmpty,                 // no bytes at all
  kUnknownFormat,         // neither ELF nor bzImage nor a compression that we know
  kTruncatedHeader,       // the file ends inside a header
  kNotX86,                // an ELF for another machine, byte order or version
  kNotExecutable,         // ET_REL, ET_CORE and the like
  kBadProgramHeaders,     // e_phentsize or e_phnum make no sense
  kNoSegments,            // nothing to load
  kSegmentOutsideFile,    // p_offset + p_filesz
  kFileSizeAboveMemSize,  // p_filesz > p_memsz
  kSegmentWraps,          // p_paddr + p_memsz
  kSegmentsOverlap,       // in physical memory
  kNoPvhNote,             // no acceptable XEN_ELFNOTE_PHYS32_ENTRY
  kEntryOutsideSegments,  // the note's address is in no loaded segment
  kBadBzImage,            // the setup header contradicts itself or the file
  kNoPayload,             // a bzImage older than protocol 2.08, or without payload
  kCorruptPayload,        // the compressed data does not unpack
  kPayloadTooLarge,       // it unpacks to more than the limit
  kUnsupported            // a compression variant that we know but do not unpack
};

[[nodiscard]] base::Explanation explain(ImageError code);

using ImageFault = base::Fault<ImageError>;

enum class Container { kElf, kBzImage };
enum class Compression { kNone, kGzip, kBzip2, kLzma, kXz, kLzo, kLz4, kZstd };
enum class ElfClass { k32, k64 };

[[nodiscard]] std::string_view to_string(Container container);
[[nodiscard]] std::string_view to_string(Compression compression);
[[nodiscard]] std::string_view to_string(ElfClass elf_class);

// One PT_LOAD with memory to it. Placed by its physical address.
struct Segment {
  std::size_t index;            // in the program header table
  std::uint64_t header_offset;  // of its program header in the ELF
  std::uint64_t offset;         // of its bytes in the ELF
  std::uint64_t file_size;
  base::PhysAddr paddr;
  base::ByteSize memory_size;  // never 0; what lies beyond file_size is zero
  std::uint64_t vaddr;
  std::uint64_t alignment;
  std::uint32_t flags;  // PF_*
};

enum class NoteSource { kProgramHeader, kSectionHeader };

// What became of one note on the way to the entry point.
enum class NoteVerdict {
  kEntry,                 // this one names the PVH entry
  kRelocation,            // XEN_ELFNOTE_PHYS32_RELOC, read
  kOtherOwner,            // not "Xen"
  kOtherType,             // Xen's, but not about the PVH entry
  kDuplicate,             // another note came first
  kDescriptorSize,        // neither 4 nor 8 bytes
  kEntryAbove4GiB,        // the entry is 32-bit code
  kEntryOutsideSegments,  // nothing is loaded there
  kBadValue,              // a relocation that contradicts itself
  kTruncated              // runs past its segment, its section or the file
};

[[nodiscard]] std::string_view to_string(NoteVerdict verdict);

struct Note {
  NoteSource source;
  std::size_t index;      // of the program or section header
  std::uint64_t offset;   // of the note in the ELF
  std::uint64_t padding;  // 4 or 8: how this one was walked
  std::string owner;      // without its terminator, at most 64 bytes of it
  std::uint32_t type;
  std::uint32_t descriptor_size;
  std::optional<std::uint64_t> value;  // of a 4- or 8-byte descriptor
  NoteVerdict verdict;
};

// XEN_ELFNOTE_PHYS32_RELOC: the image may be moved by multiples of `alignment` so that it lies in
// [min, max].
struct Relocation {
  std::uint64_t alignment;
  base::PhysAddr min;
  base::PhysAddr max;  // last byte
};

struct Image {
  Container container = Container::kElf;
  Compression compression = Compression::kNone;
  ElfClass elf_class = ElfClass::k64;
  std::uint16_t machine = 0;  // EM_*
  bool relocatable = false;   // ET_DYN
  std::uint64_t elf_entry = 0;
  std::vector<Segment> segments;  // as in the file; those named in `problems` too
  std::vector<Note> notes;        // every note looked at, in the order looked at, once each
  std::optional<base::PhysAddr> pvh_entry;
  std::optional<Relocation> relocation;
  std::string guest_os;  // XEN_ELFNOTE_GUEST_OS: "linux", "FreeBSD", "NetBSD"; empty without it
  std::vector<ImageFault>
      problems;            // what makes it unfit to boot, worst first; empty: it can be planned
  base::Bytes elf;         // the ELF: in the file's bytes, or in `unpacked`
  base::Mapping unpacked;  // moving the Image keeps `elf` valid

  Image() = default;
  Image(Image&&) = default;
  Image& operator=(Image&&) = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
};

struct ImageLimits {
  // Unpacking stops there, after each layer: a few bytes of xz can name terabytes.
  base::ByteSize unpacked{std::uint64_t{512} << 20};
};

// Whether the kernel takes its first module for its own loader's metadata, so that a ramdisk there
// is misread: FreeBSD does. [sys/x86/xen/pv.c in freebsd-src]
[[nodiscard]] bool first_module_is_metadata(const Image& image);

// `file` must outlive the Image. Linear in the file, in the unpacked size, and in the number of
// headers (times its logarithm, for the overlap check).
[[nodiscard]] std::expected<Image, ImageFault> parse_image(base::Bytes file,
                                                           const ImageLimits& limits = {});

}  // namespace pvh::loader
