// SPDX-License-Identifier: BSD-2-Clause
#include "peers.hpp"

#include <algorithm>
#include <array>

#include <pvh/abi/elf.hpp>
#include <pvh/abi/elf_note.hpp>
#include <pvh/base/checked.hpp>

namespace pvh::loader {
namespace {

using Outcome = PeerEntry::Outcome;

constexpr std::uint64_t kHeader = sizeof(abi::Elf_Nhdr);

// No kernel has so many notes. Of the peers only libelf stops, at the same number.
constexpr std::size_t kMaxSteps = 65536;

constexpr std::uint64_t up_to_4(std::uint32_t size) {
  return (std::uint64_t{size} + 3) & ~std::uint64_t{3};
}

bool is_named_xen(base::Bytes file, std::uint64_t at) {
  const auto name = base::slice(file, at, abi::kXenNoteOwner.size());
  return name && std::ranges::equal(*name, abi::kXenNoteOwner, {}, [](std::byte b) {
           return static_cast<char>(std::to_integer<unsigned char>(b));
         });
}

std::uint64_t number_at(base::Bytes file, std::uint64_t at, std::uint64_t size) {
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < size; ++i) {
    const auto byte = base::read_at<std::uint8_t>(file, at + i);
    value |= std::uint64_t{byte.value_or(0)} << (8 * i);
  }
  return value;
}

// One PT_NOTE as QEMU walks it: by p_align, whoever owns the note, and with the size of each note
// alone, not their sum, held against p_filesz; so it may leave the segment. n_type is looked at
// before any of that.
std::optional<std::uint64_t> qemu_descriptor(const Elf& elf, const ProgramHeader& header,
                                             std::size_t& steps) {
  const bool is64 = elf.elf_class == ElfClass::k64;
  const auto aligned = [&](std::uint32_t size) {
    const std::uint64_t raised =
        (size + header.alignment - 1) / header.alignment * header.alignment;
    return is64 ? raised : raised & UINT32_MAX;
  };
  for (std::uint64_t at = header.offset; steps < kMaxSteps; ++steps) {
    const auto note = base::read_at<abi::Elf_Nhdr>(elf.bytes, at);
    if (!note) {
      return std::nullopt;
    }
    if (note->n_type.get() == abi::XEN_ELFNOTE_PHYS32_ENTRY) {
      return at + kHeader + aligned(note->n_namesz.get());
    }
    const std::uint64_t size =
        kHeader + aligned(note->n_namesz.get()) + aligned(note->n_descsz.get());
    if (size > header.file_size) {
      return std::nullopt;
    }
    at += size;
  }
  return std::nullopt;
}

struct LibelfNotes {
  std::size_t of_xen = 0;
  std::size_t seen = 0;
  PeerEntry entry;
};

void walk_as_libelf(const Elf& elf, std::uint64_t offset, std::uint64_t size, LibelfNotes& found) {
  const auto end = base::checked_add(offset, size);
  for (std::uint64_t at = offset; end && at < *end && found.seen < kMaxSteps; ++found.seen) {
    const auto note = base::read_at<abi::Elf_Nhdr>(elf.bytes, at);
    if (!note) {
      return;
    }
    const std::uint32_t descriptor_size = note->n_descsz.get();
    const std::uint64_t descriptor = at + kHeader + up_to_4(note->n_namesz.get());
    if (is_named_xen(elf.bytes, at + kHeader)) {
      ++found.of_xen;
      if (note->n_type.get() == abi::XEN_ELFNOTE_PHYS32_ENTRY) {
        // Any other size reads as 0 (elf_note_numeric).
        const bool numeric = descriptor_size == 1 || descriptor_size == 2 || descriptor_size == 4 ||
                             descriptor_size == 8;
        const std::uint64_t value = numeric ? number_at(elf.bytes, descriptor, descriptor_size) : 0;
        found.entry = {Outcome::kFound, static_cast<std::uint32_t>(value & UINT32_MAX)};
      }
    }
    at = descriptor + up_to_4(descriptor_size);
  }
}

}  // namespace

PeerEntry find_as_qemu(const Elf& elf) {
  PeerEntry entry;
  std::size_t steps = 0;
  for (const ProgramHeader& header : elf.program_headers) {
    if (header.type != abi::PT_NOTE || header.file_size == 0) {
      continue;
    }
    if (!base::slice(elf.bytes, header.offset, header.file_size)) {
      return {Outcome::kRefused, 0};
    }
    if (header.alignment == 0) {
      return {Outcome::kCrash, 0};  // QEMU_ALIGN_UP divides by it
    }
    const auto descriptor = qemu_descriptor(elf, header, steps);
    if (!descriptor) {
      continue;
    }
    // ELF64: 8 bytes whatever n_descsz is; the upper half is dropped later, but 0 means none.
    const std::uint64_t value =
        number_at(elf.bytes, *descriptor, elf.elf_class == ElfClass::k64 ? 8 : 4);
    entry = value == 0 ? PeerEntry{}
                       : PeerEntry{Outcome::kFound, static_cast<std::uint32_t>(value & UINT32_MAX)};
  }
  return entry;
}

PeerEntry find_as_linux_loader(const Elf& elf, const ProgramHeader& header) {
  std::uint64_t done = 0;
  for (std::size_t steps = 0; done < header.file_size && steps < kMaxSteps; ++steps) {
    const auto at = base::checked_add(header.offset, done);
    const auto note = at ? base::read_at<abi::Elf_Nhdr>(elf.bytes, *at) : std::nullopt;
    if (!note) {
      return {Outcome::kRefused, 0};
    }
    const std::uint32_t name_size = note->n_namesz.get();
    if (note->n_type.get() == abi::XEN_ELFNOTE_PHYS32_ENTRY &&
        name_size == abi::kXenNoteOwner.size() && is_named_xen(elf.bytes, *at + kHeader)) {
      const auto value = base::read_at<base::Le32>(elf.bytes, *at + kHeader + name_size);
      return note->n_descsz.get() < 4 || !value ? PeerEntry{Outcome::kRefused, 0}
                                                : PeerEntry{Outcome::kFound, value->get()};
    }
    done += kHeader + up_to_4(name_size) + up_to_4(note->n_descsz.get());
  }
  return {};
}

PeerEntry find_as_linux_loader(const Elf& elf) {
  PeerEntry entry;
  for (const ProgramHeader& header : elf.program_headers) {
    if (header.type == abi::PT_NOTE) {
      entry = find_as_linux_loader(elf, header);  // the last one wins, with or without the note
      if (entry.outcome == Outcome::kRefused) {
        return entry;
      }
    }
  }
  return entry;
}

PeerEntry find_as_libelf(const Elf& elf) {
  LibelfNotes found;
  for (const ProgramHeader& header : elf.program_headers) {
    // "Some versions of binutils do not correctly set p_offset for note segments."
    if (header.type == abi::PT_NOTE && header.offset != 0) {
      walk_as_libelf(elf, header.offset, header.file_size, found);
    }
  }
  // Any note of Xen's in a segment keeps it from the sections.
  if (found.of_xen == 0) {
    for (std::size_t i = 1; i < elf.section_headers.size(); ++i) {
      const SectionHeader& header = elf.section_headers[i];
      if (header.type == abi::SHT_NOTE) {
        walk_as_libelf(elf, header.offset, header.size, found);
      }
    }
  }
  return found.entry;
}

std::optional<MultibootHeader> find_multiboot1(base::Bytes file) {
  constexpr std::uint32_t kMagic = 0x1badb002;
  constexpr std::uint32_t kHasAddresses = 1u << 16;
  constexpr std::uint64_t kEnd = 8192 - 48;  // the last header that fits whole
  for (std::uint64_t at = 0; at < kEnd; at += 4) {
    const auto words = base::read_at<std::array<base::Le32, 3>>(file, at);
    if (!words) {
      break;
    }
    const std::uint32_t flags = (*words)[1].get();
    if ((*words)[0].get() == kMagic && kMagic + flags + (*words)[2].get() == 0) {
      return MultibootHeader{at, (flags & kHasAddresses) != 0};
    }
  }
  return std::nullopt;
}

}  // namespace pvh::loader
