// SPDX-License-Identifier: BSD-2-Clause
// Kernels for tests: small ELF files made to measure, right or wrong. Lays out headers, then notes,
// then the segments' bytes, then the section table; nothing is checked, so that everything can be
// got wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pvh/abi/elf.hpp>
#include <pvh/base/bytes.hpp>
#include <pvh/loader/image.hpp>

namespace pvh::loader::testkit {

using ByteVector = std::vector<std::byte>;

// One note, padded to `padding` from the start of its segment: before it, after its name, after its
// descriptor. The owner is written with its NUL unless `bare_owner`.
struct NoteSpec {
  std::string owner;
  std::uint32_t type;
  ByteVector descriptor;
  std::uint64_t padding = 4;
  bool bare_owner = false;
};

[[nodiscard]] NoteSpec xen_note(std::uint32_t type, std::uint64_t value, std::size_t size);
// XEN_ELFNOTE_PHYS32_ENTRY.
[[nodiscard]] NoteSpec xen_entry(std::uint64_t address, std::size_t size = 8);
// XEN_ELFNOTE_PHYS32_RELOC with 0-3 numbers.
[[nodiscard]] NoteSpec xen_relocation(const std::vector<std::uint32_t>& numbers);
// .note.gnu.property as linkers write it: padded to 8 in ELF64, to 4 in ELF32.
[[nodiscard]] NoteSpec gnu_property(ElfClass elf_class);
[[nodiscard]] NoteSpec gnu_build_id();

[[nodiscard]] ByteVector encode_notes(const std::vector<NoteSpec>& notes);

struct SegmentSpec {
  std::uint64_t paddr;
  ByteVector content;
  std::optional<std::uint64_t> memory_size = std::nullopt;  // as long as its content
  std::optional<std::uint64_t> vaddr = std::nullopt;        // the same as paddr
  std::uint64_t alignment = 0x1000;
  std::uint32_t flags = abi::PF_R | abi::PF_W | abi::PF_X;
  std::uint32_t type = abi::PT_LOAD;
};

class ElfBuilder {
 public:
  explicit ElfBuilder(ElfClass elf_class);

  ElfBuilder& type(std::uint16_t type);
  ElfBuilder& machine(std::uint16_t machine);
  ElfBuilder& entry(std::uint64_t entry);
  // Program headers are in the order of these calls.
  ElfBuilder& segment(SegmentSpec segment);
  ElfBuilder& load(std::uint64_t paddr, ByteVector content,
                   std::optional<std::uint64_t> memory_size = std::nullopt);
  ElfBuilder& notes(const std::vector<NoteSpec>& notes, std::uint64_t alignment = 4);
  ElfBuilder& note_bytes(ByteVector bytes, std::uint64_t alignment = 4);
  // Notes that only a section header (SHT_NOTE) leads to.
  ElfBuilder& note_section(const std::vector<NoteSpec>& notes, std::uint64_t alignment = 4);

  [[nodiscard]] ByteVector build() const;

 private:
  template <typename Ehdr, typename Phdr, typename Shdr>
  [[nodiscard]] ByteVector build_as() const;

  struct Section {
    ByteVector content;
    std::uint64_t alignment;
  };

  ElfClass elf_class_;
  std::uint16_t type_ = abi::ET_EXEC;
  std::uint16_t machine_;
  std::uint64_t entry_ = 0;
  std::vector<SegmentSpec> segments_;
  std::vector<Section> sections_;
};

// The smallest kernel with everything in its place: `code` at 1 MiB, entered there.
inline constexpr std::uint64_t kCodeAddress = 0x100000;
[[nodiscard]] ByteVector small_kernel(ElfClass elf_class, base::Bytes code);
[[nodiscard]] ByteVector small_kernel(ElfClass elf_class);

// Where a program header, or the ELF header's field `offsetof(Ehdr, ...)`, lies in what the builder
// makes.
[[nodiscard]] std::size_t program_header_offset(ElfClass elf_class, std::size_t index);

template <base::Wire T>
void put(ByteVector& bytes, std::size_t offset, const T& value) {
  const auto raw = base::to_bytes(value);
  for (std::size_t i = 0; i < raw.size(); ++i) {
    bytes.at(offset + i) = raw[i];
  }
}

// `content`, byte for byte.
[[nodiscard]] ByteVector to_vector(base::Bytes content);
[[nodiscard]] ByteVector to_vector(std::string_view content);

[[nodiscard]] bool write_file(const std::string& path, base::Bytes content);

// The ways in which a PVH note reaches a loader, and in which loaders miss it.
enum class NotePlacement { kOnly, kFirstOfTwo, kLastOfTwo, kSectionOnly };
enum class PropertyNote { kNone, kBefore, kAfter };  // in the same segment

struct NoteCase {
  ElfClass elf_class;
  std::size_t descriptor_size;  // 4 or 8
  std::uint64_t alignment;      // p_align: 4 or 8
  PropertyNote property;
  NotePlacement placement;
};

// All combinations.
[[nodiscard]] std::vector<NoteCase> note_matrix();
// "elf64-desc8-align4-property-before-last-of-two"
[[nodiscard]] std::string name_of(const NoteCase& note_case);
// A kernel that loads `code` at `address` and is entered there.
[[nodiscard]] ByteVector build_case(const NoteCase& note_case, base::Bytes code,
                                    std::uint64_t address);

}  // namespace pvh::loader::testkit
