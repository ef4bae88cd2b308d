// SPDX-License-Identifier: BSD-2-Clause
#include "lib/loader/testing/elf_builder.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <type_traits>
#include <utility>

#include <pvh/abi/elf_note.hpp>
#include <pvh/base/checked.hpp>

namespace pvh::loader::testkit {
namespace {

constexpr std::uint32_t kNtGnuBuildId = 3;
constexpr std::uint32_t kNtGnuProperty = 5;

void pad(ByteVector& bytes, std::uint64_t alignment) {
  if (alignment > 1) {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  }
}

void append(ByteVector& bytes, base::Bytes more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

// Any number in a field of any width; tests want the high bits cut off.
template <typename Field>
Field field(std::uint64_t value) {
  using Number = decltype(std::declval<Field>().get());
  return Field(static_cast<Number>(value));
}

ByteVector words(const std::vector<std::uint32_t>& numbers) {
  ByteVector bytes;
  for (const std::uint32_t number : numbers) {
    append(bytes, base::to_bytes(base::Le32(number)));
  }
  return bytes;
}

}  // namespace

NoteSpec xen_note(std::uint32_t type, std::uint64_t value, std::size_t size) {
  ByteVector descriptor = to_vector(base::to_bytes(base::Le64(value)));
  descriptor.resize(size);
  return {.owner = "Xen", .type = type, .descriptor = std::move(descriptor)};
}

NoteSpec xen_entry(std::uint64_t address, std::size_t size) {
  return xen_note(abi::XEN_ELFNOTE_PHYS32_ENTRY, address, size);
}

NoteSpec xen_relocation(const std::vector<std::uint32_t>& numbers) {
  return {.owner = "Xen", .type = abi::XEN_ELFNOTE_PHYS32_RELOC, .descriptor = words(numbers)};
}

NoteSpec gnu_property(ElfClass elf_class) {
  // GNU_PROPERTY_X86_FEATURE_1_AND: type, size, value, and in ELF64 padding to 8.
  std::vector<std::uint32_t> property{0xc0000002, 4, 3};
  if (elf_class == ElfClass::k64) {
    property.push_back(0);
  }
  return {.owner = "GNU",
          .type = kNtGnuProperty,
          .descriptor = words(property),
          .padding = elf_class == ElfClass::k64 ? 8u : 4u};
}

NoteSpec gnu_build_id() {
  return {.owner = "GNU", .type = kNtGnuBuildId, .descriptor = ByteVector(20, std::byte{0xab})};
}

ByteVector encode_notes(const std::vector<NoteSpec>& notes) {
  ByteVector bytes;
  for (const NoteSpec& note : notes) {
    pad(bytes, note.padding);
    const std::size_t name_size = note.owner.size() + (note.bare_owner ? 0 : 1);
    append(bytes, base::to_bytes(abi::Elf_Nhdr{field<base::Le32>(name_size),
                                               field<base::Le32>(note.descriptor.size()),
                                               base::Le32(note.type)}));
    append(bytes, to_vector(note.owner));
    bytes.resize(bytes.size() + name_size - note.owner.size());
    pad(bytes, note.padding);
    append(bytes, note.descriptor);
    pad(bytes, note.padding);
  }
  return bytes;
}

ElfBuilder::ElfBuilder(ElfClass elf_class)
    : elf_class_(elf_class), machine_(elf_class == ElfClass::k32 ? abi::EM_386 : abi::EM_X86_64) {}

ElfBuilder& ElfBuilder::type(std::uint16_t type) {
  type_ = type;
  return *this;
}

ElfBuilder& ElfBuilder::machine(std::uint16_t machine) {
  machine_ = machine;
  return *this;
}

ElfBuilder& ElfBuilder::entry(std::uint64_t entry) {
  entry_ = entry;
  return *this;
}

ElfBuilder& ElfBuilder::segment(SegmentSpec segment) {
  segments_.push_back(std::move(segment));
  return *this;
}

ElfBuilder& ElfBuilder::load(std::uint64_t paddr, ByteVector content,
                             std::optional<std::uint64_t> memory_size) {
  return segment({.paddr = paddr, .content = std::move(content), .memory_size = memory_size});
}

ElfBuilder& ElfBuilder::note_bytes(ByteVector bytes, std::uint64_t alignment) {
  return segment({.paddr = 0,
                  .content = std::move(bytes),
                  .alignment = alignment,
                  .flags = abi::PF_R,
                  .type = abi::PT_NOTE});
}

ElfBuilder& ElfBuilder::notes(const std::vector<NoteSpec>& notes, std::uint64_t alignment) {
  return note_bytes(encode_notes(notes), alignment);
}

ElfBuilder& ElfBuilder::note_section(const std::vector<NoteSpec>& notes, std::uint64_t alignment) {
  sections_.push_back({encode_notes(notes), alignment});
  return *this;
}

template <typename Ehdr, typename Phdr, typename Shdr>
ByteVector ElfBuilder::build_as() const {
  ByteVector bytes(sizeof(Ehdr) + segments_.size() * sizeof(Phdr));
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const SegmentSpec& segment = segments_[i];
    pad(bytes, 16);
    Phdr header{};
    header.p_type = base::Le32(segment.type);
    header.p_flags = base::Le32(segment.flags);
    header.p_offset = field<decltype(header.p_offset)>(bytes.size());
    header.p_vaddr = field<decltype(header.p_vaddr)>(segment.vaddr.value_or(segment.paddr));
    header.p_paddr = field<decltype(header.p_paddr)>(segment.paddr);
    header.p_filesz = field<decltype(header.p_filesz)>(segment.content.size());
    header.p_memsz =
        field<decltype(header.p_memsz)>(segment.memory_size.value_or(segment.content.size()));
    header.p_align = field<decltype(header.p_align)>(segment.alignment);
    put(bytes, sizeof(Ehdr) + i * sizeof(Phdr), header);
    append(bytes, segment.content);
  }
  std::vector<Shdr> sections;
  for (const Section& section : sections_) {
    pad(bytes, 16);
    Shdr header{};
    header.sh_type = base::Le32(abi::SHT_NOTE);
    header.sh_offset = field<decltype(header.sh_offset)>(bytes.size());
    header.sh_size = field<decltype(header.sh_size)>(section.content.size());
    header.sh_addralign = field<decltype(header.sh_addralign)>(section.alignment);
    sections.push_back(header);
    append(bytes, section.content);
  }
  Ehdr header{};
  if (!sections.empty()) {
    pad(bytes, 16);
    header.e_shoff = field<decltype(header.e_shoff)>(bytes.size());
    header.e_shentsize = base::Le16(sizeof(Shdr));
    header.e_shnum = field<base::Le16>(sections.size() + 1);
    append(bytes, base::to_bytes(Shdr{}));
    for (const Shdr& section : sections) {
      append(bytes, base::to_bytes(section));
    }
  }
  std::ranges::copy(abi::kElfMagic, header.e_ident.begin());
  header.e_ident[abi::EI_CLASS] = elf_class_ == ElfClass::k32 ? abi::ELFCLASS32 : abi::ELFCLASS64;
  header.e_ident[abi::EI_DATA] = abi::ELFDATA2LSB;
  header.e_ident[abi::EI_VERSION] = abi::EV_CURRENT;
  header.e_type = base::Le16(type_);
  header.e_machine = base::Le16(machine_);
  header.e_version = base::Le32(abi::EV_CURRENT);
  header.e_entry = field<decltype(header.e_entry)>(entry_);
  header.e_phoff = field<decltype(header.e_phoff)>(sizeof(Ehdr));
  header.e_ehsize = base::Le16(sizeof(Ehdr));
  header.e_phentsize = base::Le16(sizeof(Phdr));
  header.e_phnum = field<base::Le16>(segments_.size());
  put(bytes, 0, header);
  return bytes;
}

ByteVector ElfBuilder::build() const {
  return elf_class_ == ElfClass::k32
             ? build_as<abi::Elf32_Ehdr, abi::Elf32_Phdr, abi::Elf32_Shdr>()
             : build_as<abi::Elf64_Ehdr, abi::Elf64_Phdr, abi::Elf64_Shdr>();
}

ByteVector small_kernel(ElfClass elf_class, base::Bytes code) {
  return ElfBuilder(elf_class)
      .entry(kCodeAddress)
      .load(kCodeAddress, to_vector(code))
      .notes({xen_entry(kCodeAddress, elf_class == ElfClass::k32 ? 4 : 8)})
      .build();
}

ByteVector small_kernel(ElfClass elf_class) {
  return small_kernel(elf_class, ByteVector(64, std::byte{0xf4}));
}

std::size_t program_header_offset(ElfClass elf_class, std::size_t index) {
  return elf_class == ElfClass::k32 ? sizeof(abi::Elf32_Ehdr) + index * sizeof(abi::Elf32_Phdr)
                                    : sizeof(abi::Elf64_Ehdr) + index * sizeof(abi::Elf64_Phdr);
}

ByteVector to_vector(base::Bytes content) {
  return {content.begin(), content.end()};
}

ByteVector to_vector(std::string_view content) {
  return to_vector(std::as_bytes(std::span(content)));
}

bool write_file(const std::string& path, base::Bytes content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
  file.close();
  return file.good();
}

std::vector<NoteCase> note_matrix() {
  std::vector<NoteCase> cases;
  for (const auto elf_class : {ElfClass::k32, ElfClass::k64}) {
    for (const std::size_t descriptor_size : {4u, 8u}) {
      for (const std::uint64_t alignment : {4u, 8u}) {
        for (const auto property :
             {PropertyNote::kNone, PropertyNote::kBefore, PropertyNote::kAfter}) {
          for (const auto placement : {NotePlacement::kOnly, NotePlacement::kFirstOfTwo,
                                       NotePlacement::kLastOfTwo, NotePlacement::kSectionOnly}) {
            cases.push_back({elf_class, descriptor_size, alignment, property, placement});
          }
        }
      }
    }
  }
  return cases;
}

std::string name_of(const NoteCase& note_case) {
  std::string name = note_case.elf_class == ElfClass::k32 ? "elf32" : "elf64";
  name += note_case.descriptor_size == 4 ? "-desc4" : "-desc8";
  name += note_case.alignment == 4 ? "-align4" : "-align8";
  constexpr std::array kProperties{"", "-property-before", "-property-after"};
  constexpr std::array kPlacements{"-only", "-first-of-two", "-last-of-two", "-section-only"};
  name += kProperties.at(static_cast<std::size_t>(note_case.property));
  name += kPlacements.at(static_cast<std::size_t>(note_case.placement));
  return name;
}

ByteVector build_case(const NoteCase& note_case, base::Bytes code, std::uint64_t address) {
  std::vector<NoteSpec> notes{xen_entry(address, note_case.descriptor_size)};
  if (note_case.property == PropertyNote::kBefore) {
    notes.insert(notes.begin(), gnu_property(note_case.elf_class));
  } else if (note_case.property == PropertyNote::kAfter) {
    notes.push_back(gnu_property(note_case.elf_class));
  }
  ElfBuilder builder(note_case.elf_class);
  builder.entry(address).load(address, to_vector(code));
  switch (note_case.placement) {
    case NotePlacement::kOnly:
      builder.notes(notes, note_case.alignment);
      break;
    case NotePlacement::kFirstOfTwo:
      builder.notes(notes, note_case.alignment).notes({gnu_build_id()});
      break;
    case NotePlacement::kLastOfTwo:
      builder.notes({gnu_build_id()}).notes(notes, note_case.alignment);
      break;
    case NotePlacement::kSectionOnly:
      builder.note_section(notes, note_case.alignment);
      break;
  }
  return builder.build();
}

}  // namespace pvh::loader::testkit
