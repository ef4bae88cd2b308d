// SPDX-License-Identifier: BSD-2-Clause
// Private to the loader: ELF32 and ELF64 headers, read into one shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <vector>

#include <pvh/base/bytes.hpp>
#include <pvh/loader/image.hpp>

namespace pvh::loader {

struct ProgramHeader {
  std::uint64_t header_offset;
  std::uint32_t type;
  std::uint32_t flags;
  std::uint64_t offset;
  std::uint64_t vaddr;
  std::uint64_t paddr;
  std::uint64_t file_size;
  std::uint64_t memory_size;
  std::uint64_t alignment;
};

struct SectionHeader {
  std::uint32_t type;
  std::uint64_t offset;
  std::uint64_t size;
};

struct Elf {
  base::Bytes bytes;
  ElfClass elf_class;
  std::uint16_t type;
  std::uint16_t machine;
  std::uint64_t entry;
  std::uint32_t flags;  // e_flags
  std::vector<ProgramHeader> program_headers;
  // A missing or broken section table is an empty one: nothing is loaded by it.
  std::vector<SectionHeader> section_headers;
};

[[nodiscard]] bool looks_like_elf(base::Bytes bytes);

// The headers, all of them inside `bytes`. What they say is not judged here.
[[nodiscard]] std::expected<Elf, ImageFault> read_elf(base::Bytes bytes);

// The segments with memory to them, and what is wrong with them as a whole.
void find_segments(const Elf& elf, Image& image);

// Looks through the notes; fills in image.notes, pvh_entry, relocation, and adds a problem if there
// is no entry. Needs image.segments.
void find_notes(const Elf& elf, Image& image);

// Keeps the problems in the order of their codes, which is worst first (what cannot be loaded comes
// before what cannot be entered), and the list short, however broken the file is.
void add_problem(Image& image, ImageFault fault);

}  // namespace pvh::loader
