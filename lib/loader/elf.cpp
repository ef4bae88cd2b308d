// SPDX-License-Identifier: BSD-2-Clause
#include "elf.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <pvh/abi/elf.hpp>
#include <pvh/base/checked.hpp>
#include <pvh/base/try.hpp>

namespace pvh::loader {
namespace {

constexpr std::size_t kMaxProblems = 64;

// The same fields have the same names in both classes; only their widths and places differ.
struct Format32 {
  using Ehdr = abi::Elf32_Ehdr;
  using Phdr = abi::Elf32_Phdr;
  using Shdr = abi::Elf32_Shdr;
};
struct Format64 {
  using Ehdr = abi::Elf64_Ehdr;
  using Phdr = abi::Elf64_Phdr;
  using Shdr = abi::Elf64_Shdr;
};

std::unexpected<ImageFault> fault(ImageError code, std::string detail,
                                  std::optional<std::uint64_t> offset) {
  return std::unexpected(ImageFault{code, std::move(detail), offset});
}

template <typename Format>
std::expected<void, ImageFault> read_program_headers(const typename Format::Ehdr& header,
                                                     Elf& elf) {
  using Phdr = Format::Phdr;
  const std::uint16_t count = header.e_phnum.get();
  if (count == 0) {
    return {};
  }
  if (count == abi::PN_XNUM) {
    return fault(ImageError::kBadProgramHeaders, "65535 or more of them",
                 offsetof(typename Format::Ehdr, e_phnum));
  }
  if (header.e_phentsize.get() != sizeof(Phdr)) {
    return fault(ImageError::kBadProgramHeaders,
                 fmt::format("their size is {}, not {}", header.e_phentsize.get(), sizeof(Phdr)),
                 offsetof(typename Format::Ehdr, e_phentsize));
  }
  const std::uint64_t first = header.e_phoff.get();
  const std::uint64_t size = std::uint64_t{count} * sizeof(Phdr);
  if (!base::checked_add(first, size)) {
    return fault(ImageError::kBadProgramHeaders, fmt::format("they start at {:#x}", first),
                 offsetof(typename Format::Ehdr, e_phoff));
  }
  elf.program_headers.reserve(std::min<std::uint64_t>(count, elf.bytes.size() / sizeof(Phdr)));
  for (std::uint64_t at = first; at < first + size; at += sizeof(Phdr)) {
    const auto phdr = base::read_at<Phdr>(elf.bytes, at);
    if (!phdr) {
      return fault(ImageError::kTruncatedHeader,
                   fmt::format("{} program headers need {:#x} bytes, there are {:#x}", count,
                               first + size, elf.bytes.size()),
                   at);
    }
    elf.program_headers.push_back({.header_offset = at,
                                   .type = phdr->p_type.get(),
                                   .flags = phdr->p_flags.get(),
                                   .offset = phdr->p_offset.get(),
                                   .vaddr = phdr->p_vaddr.get(),
                                   .paddr = phdr->p_paddr.get(),
                                   .file_size = phdr->p_filesz.get(),
                                   .memory_size = phdr->p_memsz.get(),
                                   .alignment = phdr->p_align.get()});
  }
  return {};
}

template <typename Format>
void read_section_headers(const typename Format::Ehdr& header, Elf& elf) {
  using Shdr = Format::Shdr;
  const std::uint64_t first = header.e_shoff.get();
  const auto table =
      base::slice(elf.bytes, first, std::uint64_t{header.e_shnum.get()} * sizeof(Shdr));
  if (!table || header.e_shentsize.get() != sizeof(Shdr)) {
    return;
  }
  elf.section_headers.reserve(header.e_shnum.get());
  for (std::uint64_t at = 0; at < table->size(); at += sizeof(Shdr)) {
    const auto shdr = base::read_at<Shdr>(*table, at);
    elf.section_headers.push_back({.type = shdr->sh_type.get(),
                                   .offset = shdr->sh_offset.get(),
                                   .size = shdr->sh_size.get()});
  }
}

std::string_view type_name(std::uint16_t type) {
  switch (type) {
    case abi::ET_REL:
      return "an object file, not linked yet";
    case abi::ET_CORE:
      return "a core dump";
    default:
      return "not a known type";
  }
}

template <typename Format>
std::expected<void, ImageFault> read_headers(Elf& elf) {
  using Ehdr = Format::Ehdr;
  const auto header = base::read_at<Ehdr>(elf.bytes, 0);
  if (!header) {
    return fault(
        ImageError::kTruncatedHeader,
        fmt::format("the ELF header has {} bytes, the file {}", sizeof(Ehdr), elf.bytes.size()),
        elf.bytes.size());
  }
  elf.type = header->e_type.get();
  elf.machine = header->e_machine.get();
  elf.entry = header->e_entry.get();
  elf.flags = header->e_flags.get();
  if (elf.machine != abi::EM_386 && elf.machine != abi::EM_X86_64) {
    return fault(ImageError::kNotX86, fmt::format("machine {}", elf.machine),
                 offsetof(Ehdr, e_machine));
  }
  if (elf.type != abi::ET_EXEC && elf.type != abi::ET_DYN) {
    return fault(ImageError::kNotExecutable,
                 fmt::format("type {}: {}", elf.type, type_name(elf.type)), offsetof(Ehdr, e_type));
  }
  TRY(read_program_headers<Format>(*header, elf));
  read_section_headers<Format>(*header, elf);
  return {};
}

// One fault at most: the first thing wrong with a segment explains the rest.
std::optional<ImageFault> judge_segment(const Elf& elf, std::size_t index,
                                        const ProgramHeader& header) {
  const auto bad = [&](ImageError code, std::string detail) {
    return ImageFault{code, fmt::format("segment {}: {}", index, detail), header.header_offset};
  };
  if (!base::slice(elf.bytes, header.offset, header.file_size)) {
    return bad(ImageError::kSegmentOutsideFile,
               fmt::format("{:#x} bytes at {:#x} of a file of {:#x}", header.file_size,
                           header.offset, elf.bytes.size()));
  }
  if (header.file_size > header.memory_size) {
    return bad(
        ImageError::kFileSizeAboveMemSize,
        fmt::format("{:#x} in the file, {:#x} in memory", header.file_size, header.memory_size));
  }
  const std::uint64_t top = elf.elf_class == ElfClass::k32 ? UINT32_MAX : UINT64_MAX;
  if (header.memory_size != 0 && header.memory_size - 1 > top - header.paddr) {
    return bad(ImageError::kSegmentWraps,
               fmt::format("{:#x} bytes at {:#x}", header.memory_size, header.paddr));
  }
  return std::nullopt;
}

std::optional<base::Range> range_of(const Segment& segment) {
  return base::Range::from_size(segment.paddr, segment.memory_size);
}

// Sorted by address, a segment overlaps an earlier one only if it overlaps the one that reaches
// furthest.
void find_overlaps(Image& image) {
  std::vector<std::size_t> order(image.segments.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::erase_if(order, [&](std::size_t i) { return !range_of(image.segments[i]); });
  std::ranges::sort(order, {},
                    [&](std::size_t i) { return std::pair(image.segments[i].paddr, i); });
  std::optional<std::size_t> furthest;
  for (const std::size_t i : order) {
    const Segment& segment = image.segments[i];
    const base::Range range = *range_of(segment);
    if (furthest) {
      const Segment& other = image.segments[*furthest];
      const base::Range taken = *range_of(other);
      if (taken.overlaps(range)) {
        add_problem(image, {ImageError::kSegmentsOverlap,
                            fmt::format("segment {} at {:#x}-{:#x} and segment {} at {:#x}-{:#x}",
                                        other.index, taken.first().value(), taken.last().value(),
                                        segment.index, range.first().value(), range.last().value()),
                            segment.header_offset});
      }
      if (taken.last() >= range.last()) {
        continue;
      }
    }
    furthest = i;
  }
}

}  // namespace

bool looks_like_elf(base::Bytes bytes) {
  // A file that ends inside the magic number is an ELF cut short, if it is anything.
  const std::size_t size = std::min(bytes.size(), abi::kElfMagic.size());
  for (std::size_t i = 0; i < size; ++i) {
    if (std::to_integer<std::uint8_t>(bytes[i]) != abi::kElfMagic[i]) {
      return false;
    }
  }
  return size != 0;
}

std::expected<Elf, ImageFault> read_elf(base::Bytes bytes) {
  const auto ident = base::read_at<std::array<std::uint8_t, abi::EI_NIDENT>>(bytes, 0);
  if (!ident) {
    return fault(ImageError::kTruncatedHeader,
                 fmt::format("the ELF identification has {} bytes, the file {}", abi::EI_NIDENT,
                             bytes.size()),
                 bytes.size());
  }
  const std::uint8_t elf_class = (*ident)[abi::EI_CLASS];
  if (elf_class != abi::ELFCLASS32 && elf_class != abi::ELFCLASS64) {
    return fault(ImageError::kNotX86, fmt::format("class {}", elf_class), abi::EI_CLASS);
  }
  if ((*ident)[abi::EI_DATA] != abi::ELFDATA2LSB) {
    return fault(ImageError::kNotX86, "not little-endian", abi::EI_DATA);
  }
  if ((*ident)[abi::EI_VERSION] != abi::EV_CURRENT) {
    return fault(ImageError::kNotX86, fmt::format("version {}", (*ident)[abi::EI_VERSION]),
                 abi::EI_VERSION);
  }
  Elf elf{};
  elf.bytes = bytes;
  if (elf_class == abi::ELFCLASS32) {
    elf.elf_class = ElfClass::k32;
    TRY(read_headers<Format32>(elf));
  } else {
    elf.elf_class = ElfClass::k64;
    TRY(read_headers<Format64>(elf));
  }
  return elf;
}

void find_segments(const Elf& elf, Image& image) {
  for (std::size_t i = 0; i < elf.program_headers.size(); ++i) {
    const ProgramHeader& header = elf.program_headers[i];
    if (header.type != abi::PT_LOAD) {
      continue;
    }
    if (auto problem = judge_segment(elf, i, header)) {
      add_problem(image, std::move(*problem));
    }
    if (header.memory_size == 0) {
      continue;
    }
    image.segments.push_back({.index = i,
                              .header_offset = header.header_offset,
                              .offset = header.offset,
                              .file_size = header.file_size,
                              .paddr = base::PhysAddr(header.paddr),
                              .memory_size = base::ByteSize(header.memory_size),
                              .vaddr = header.vaddr,
                              .alignment = header.alignment,
                              .flags = header.flags});
  }
  if (image.segments.empty()) {
    add_problem(image,
                {ImageError::kNoSegments,
                 fmt::format("{} program headers", elf.program_headers.size()), std::nullopt});
  }
  find_overlaps(image);
}

void add_problem(Image& image, ImageFault fault) {
  if (image.problems.size() < kMaxProblems) {
    const auto place = std::ranges::upper_bound(image.problems, fault.code, {}, &ImageFault::code);
    image.problems.insert(place, std::move(fault));
  }
}

}  // namespace pvh::loader
