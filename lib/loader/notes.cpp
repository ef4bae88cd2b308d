// SPDX-License-Identifier: BSD-2-Clause
// The note finder. Loaders in the field lose or misread the PVH note in several ways: they look
// at program headers only, let the last PT_NOTE win, or walk with p_align where the notes are
// padded to 4. So here every note is looked at, and what became of it is kept.
//
// Padding: ELF32 and most ELF64 notes are padded to 4 bytes, .note.gnu.property in ELF64 to 8, and
// a linker script that puts all notes into one segment mixes both in it, with zeroes in between. No
// header tells which. But a note that begins at a multiple of 8 and has a name of 1 to 4 bytes, as
// "Xen" has, puts its descriptor at the same place under both; what differs is where the next note
// begins. So the next note is where something that looks like a note begins.
#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <pvh/abi/elf.hpp>
#include <pvh/abi/elf_note.hpp>
#include <pvh/base/checked.hpp>

#include "elf.hpp"

namespace pvh::loader {
namespace {

// A kernel has a dozen notes in a kilobyte or two. These stop a file that is made of nothing else,
// or that names the same bytes in thousands of headers.
constexpr std::size_t kMaxNotes = 4096;
constexpr std::size_t kMaxSteps = 1u << 20;

constexpr std::size_t kMaxOwner = 64;
// No note's owner is longer; what claims to be is not a note.
constexpr std::uint32_t kPlausibleName = 256;

constexpr std::uint64_t kHeader = sizeof(abi::Elf_Nhdr);
constexpr std::uint64_t kDefaultRelocationAlignment = 0x200000;
constexpr std::uint64_t kSmallestRelocationAlignment = 0x1000;

// A note's parts, as offsets into its segment. 32-bit sizes cannot make a 64-bit sum wrap.
struct Parts {
  abi::Elf_Nhdr header;
  std::uint64_t name;
  std::uint64_t descriptor;
  std::uint64_t end;  // of the descriptor, without padding
};

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

std::optional<Parts> read_parts(base::Bytes notes, std::uint64_t at, std::uint64_t padding) {
  const auto header = base::read_at<abi::Elf_Nhdr>(notes, at);
  if (!header) {
    return std::nullopt;
  }
  Parts parts{*header, at + kHeader, 0, 0};
  parts.descriptor = round_up(parts.name + header->n_namesz.get(), padding);
  parts.end = parts.descriptor + header->n_descsz.get();
  return parts;
}

bool is_zero(base::Bytes bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

// A guess, used only where two readings differ and to find the thread again: a header whose name
// and descriptor fit, with a printable name that ends in NUL (or is a bare "Xen").
bool looks_like_note(base::Bytes notes, std::uint64_t at) {
  const auto parts = read_parts(notes, at, 4);
  if (!parts || parts->end > notes.size()) {
    return false;
  }
  const std::uint32_t size = parts->header.n_namesz.get();
  if (size == 0 || size > kPlausibleName) {
    return false;
  }
  const base::Bytes name = notes.subspan(parts->name, size);
  const auto printable = [](std::byte b) { return b >= std::byte{0x20} && b < std::byte{0x7f}; };
  const std::size_t letters =
      static_cast<std::size_t>(std::ranges::find_if_not(name, printable) - name.begin());
  return letters != 0 && (is_zero(name.subspan(letters)) && (letters < size || size == 3));
}

bool nothing_left(base::Bytes notes, std::uint64_t at) {
  return at >= notes.size() || notes.size() - at < kHeader;
}

struct Reading {
  Parts parts;
  std::uint64_t padding;
  std::uint64_t next;
};

// The note at `at`, whose parts fit under 4-byte padding; and where the next one begins.
Reading choose_reading(base::Bytes notes, std::uint64_t at, const Parts& narrow) {
  const Parts wide = *read_parts(notes, at, 8);
  const std::uint64_t after_narrow = round_up(narrow.end, 4);
  const std::array readings{
      Reading{narrow, 4, after_narrow},
      // A 4-padded note before one that its section aligns to 8.
      Reading{narrow, 4, round_up(after_narrow, 8)},
      Reading{wide, 8, round_up(wide.end, 8)},
  };
  for (const Reading& reading : readings) {
    if (reading.parts.end <= notes.size() &&
        (nothing_left(notes, reading.next) || looks_like_note(notes, reading.next))) {
      return reading;
    }
  }
  return readings.front();
}

class Finder {
 public:
  Finder(const Elf& elf, Image& image) : elf_(elf), image_(image) {}

  void look_through_segments();
  void look_through_sections();
  void conclude();

 private:
  void walk(NoteSource source, std::size_t index, std::uint64_t offset, std::uint64_t size);
  void add(Note note, base::Bytes descriptor);
  [[nodiscard]] NoteVerdict judge(const Note& note, base::Bytes descriptor);
  [[nodiscard]] NoteVerdict judge_entry(const Note& note);
  [[nodiscard]] NoteVerdict judge_relocation(const Note& note, base::Bytes descriptor);
  [[nodiscard]] bool gave_up() const {
    return steps_ >= kMaxSteps || image_.notes.size() >= kMaxNotes;
  }

  const Elf& elf_;
  Image& image_;
  std::size_t steps_ = 0;
};

// What an overlong owner or a header without its name can still tell.
std::string owner_of(base::Bytes notes, const Parts& parts) {
  const std::uint64_t there = notes.size() - std::min<std::uint64_t>(parts.name, notes.size());
  std::uint64_t size = std::min<std::uint64_t>(parts.header.n_namesz.get(), there);
  if (size != 0 && size == parts.header.n_namesz.get() &&
      notes[parts.name + size - 1] == std::byte{0}) {
    --size;
  }
  size = std::min<std::uint64_t>(size, kMaxOwner);
  std::string owner;
  for (const std::byte b : size == 0 ? base::Bytes() : notes.subspan(parts.name, size)) {
    owner.push_back(static_cast<char>(std::to_integer<unsigned char>(b)));
  }
  return owner;
}

// A descriptor that is a string, up to its end or as much as a name may have.
std::string text_of(base::Bytes descriptor) {
  std::string text;
  for (const std::byte b : descriptor.first(std::min(descriptor.size(), kMaxOwner))) {
    if (b == std::byte{0}) {
      break;
    }
    text.push_back(static_cast<char>(std::to_integer<unsigned char>(b)));
  }
  return text;
}

void Finder::walk(NoteSource source, std::size_t index, std::uint64_t offset, std::uint64_t size) {
  const std::uint64_t in_file =
      offset >= elf_.bytes.size() ? 0 : std::min(size, elf_.bytes.size() - offset);
  const base::Bytes notes = in_file == 0 ? base::Bytes() : elf_.bytes.subspan(offset, in_file);
  bool lost = false;
  if (in_file < kHeader && size >= kHeader) {
    add({source, index, offset, 4, "", 0, 0, std::nullopt, NoteVerdict::kTruncated}, {});
    return;
  }
  for (std::uint64_t at = 0; !nothing_left(notes, at) && !gave_up(); ++steps_) {
    const Parts parts = *read_parts(notes, at, 4);
    const bool is_padding = is_zero(base::to_bytes(parts.header));
    if (is_padding || (lost && !looks_like_note(notes, at))) {
      at += 4;
      continue;
    }
    Note note{source,
              index,
              offset + at,
              4,
              owner_of(notes, parts),
              parts.header.n_type.get(),
              parts.header.n_descsz.get(),
              std::nullopt,
              NoteVerdict::kTruncated};
    lost = parts.end > notes.size();
    if (lost) {
      add(std::move(note), {});
      at += 4;
      continue;
    }
    const Reading reading = choose_reading(notes, at, parts);
    note.padding = reading.padding;
    const base::Bytes descriptor =
        notes.subspan(reading.parts.descriptor, parts.header.n_descsz.get());
    if (descriptor.size() == 4) {
      note.value = base::read_at<base::Le32>(descriptor, 0)->get();
    } else if (descriptor.size() == 8) {
      note.value = base::read_at<base::Le64>(descriptor, 0)->get();
    }
    note.verdict = NoteVerdict::kOtherType;
    if (parts.header.n_namesz.get() > 4 || note.owner != "Xen") {
      note.verdict = NoteVerdict::kOtherOwner;
    }
    add(std::move(note), descriptor);
    at = reading.next;
  }
}

void Finder::add(Note note, base::Bytes descriptor) {
  // The sections repeat what a segment has shown; so do segments that share their bytes.
  const bool seen = std::ranges::any_of(image_.notes, [&](const Note& other) {
    return other.offset == note.offset && other.verdict != NoteVerdict::kTruncated;
  });
  if (seen) {
    return;
  }
  if (note.verdict == NoteVerdict::kOtherType) {
    note.verdict = judge(note, descriptor);
  }
  image_.notes.push_back(std::move(note));
}

NoteVerdict Finder::judge(const Note& note, base::Bytes descriptor) {
  switch (note.type) {
    case abi::XEN_ELFNOTE_PHYS32_ENTRY:
      return judge_entry(note);
    case abi::XEN_ELFNOTE_PHYS32_RELOC:
      return judge_relocation(note, descriptor);
    case abi::XEN_ELFNOTE_GUEST_OS:
      if (image_.guest_os.empty()) {
        image_.guest_os = text_of(descriptor);
      }
      return NoteVerdict::kOtherType;
    default:
      return NoteVerdict::kOtherType;
  }
}

NoteVerdict Finder::judge_entry(const Note& note) {
  if (image_.pvh_entry) {
    return NoteVerdict::kDuplicate;
  }
  if (!note.value) {
    return NoteVerdict::kDescriptorSize;
  }
  if (*note.value > UINT32_MAX) {
    return NoteVerdict::kEntryAbove4GiB;
  }
  const base::PhysAddr entry(*note.value);
  const bool inside = std::ranges::any_of(image_.segments, [&](const Segment& segment) {
    const auto range = base::Range::from_size(segment.paddr, segment.memory_size);
    return range && range->contains(entry);
  });
  if (!inside) {
    return NoteVerdict::kEntryOutsideSegments;
  }
  image_.pvh_entry = entry;
  return NoteVerdict::kEntry;
}

// Up to three u32. An alignment that is not given is the largest p_align, if that is a page or more
// (xen/include/public/elfnote.h).
NoteVerdict Finder::judge_relocation(const Note& note, base::Bytes descriptor) {
  if (image_.relocation) {
    return NoteVerdict::kDuplicate;
  }
  if (note.descriptor_size % 4 != 0 || note.descriptor_size > 12) {
    return NoteVerdict::kDescriptorSize;
  }
  std::uint64_t alignment = 0;
  for (const Segment& segment : image_.segments) {
    if (std::has_single_bit(segment.alignment)) {
      alignment = std::max(alignment, segment.alignment);
    }
  }
  if (alignment < kSmallestRelocationAlignment) {
    alignment = kDefaultRelocationAlignment;
  }
  const auto number = [&](std::uint64_t at, std::uint64_t otherwise) {
    const auto field = base::read_at<base::Le32>(descriptor, at);
    return field ? field->get() : otherwise;
  };
  const Relocation relocation{number(0, alignment), base::PhysAddr(number(4, 0)),
                              base::PhysAddr(number(8, UINT32_MAX))};
  if (!std::has_single_bit(relocation.alignment) || relocation.min > relocation.max) {
    return NoteVerdict::kBadValue;
  }
  image_.relocation = relocation;
  return NoteVerdict::kRelocation;
}

void Finder::look_through_segments() {
  for (std::size_t i = 0; i < elf_.program_headers.size() && !gave_up(); ++i) {
    const ProgramHeader& header = elf_.program_headers[i];
    if (header.type == abi::PT_NOTE) {
      walk(NoteSource::kProgramHeader, i, header.offset, header.file_size);
    }
  }
}

void Finder::look_through_sections() {
  for (std::size_t i = 0; i < elf_.section_headers.size() && !gave_up(); ++i) {
    const SectionHeader& header = elf_.section_headers[i];
    if (header.type == abi::SHT_NOTE) {
      walk(NoteSource::kSectionHeader, i, header.offset, header.size);
    }
  }
}

// How close a rejected entry note came; 0 for a note that is none.
int closeness(const Note& note) {
  if (note.owner != "Xen" || note.type != abi::XEN_ELFNOTE_PHYS32_ENTRY) {
    return 0;
  }
  switch (note.verdict) {
    case NoteVerdict::kEntryOutsideSegments:
      return 4;
    case NoteVerdict::kEntryAbove4GiB:
      return 3;
    case NoteVerdict::kDescriptorSize:
      return 2;
    case NoteVerdict::kTruncated:
      return 1;
    case NoteVerdict::kEntry:
    case NoteVerdict::kRelocation:
    case NoteVerdict::kOtherOwner:
    case NoteVerdict::kOtherType:
    case NoteVerdict::kDuplicate:
    case NoteVerdict::kBadValue:
      return 0;
  }
  return 0;
}

std::string describe_absence(const std::vector<Note>& notes, bool gave_up) {
  if (gave_up) {
    return fmt::format("gave up after {} notes: no kernel has so many", notes.size());
  }
  if (notes.empty()) {
    return "the file has no notes at all";
  }
  std::vector<std::string_view> owners;
  for (const Note& note : notes) {
    if (std::ranges::find(owners, note.owner) == owners.end() && owners.size() < 8) {
      owners.push_back(note.owner);
    }
  }
  return fmt::format("{} of other types or owners: {}",
                     notes.size() == 1 ? "one note" : fmt::format("{} notes", notes.size()),
                     fmt::join(owners, ", "));
}

void Finder::conclude() {
  if (image_.pvh_entry) {
    return;
  }
  const auto best = std::ranges::max_element(image_.notes, {}, closeness);
  if (best == image_.notes.end() || closeness(*best) == 0) {
    add_problem(image_,
                {ImageError::kNoPvhNote, describe_absence(image_.notes, gave_up()), std::nullopt});
    return;
  }
  const auto code = best->verdict == NoteVerdict::kEntryOutsideSegments
                        ? ImageError::kEntryOutsideSegments
                        : ImageError::kNoPvhNote;
  const std::string value = best->value ? fmt::format(" {:#x}", *best->value) : "";
  add_problem(image_, {code,
                       fmt::format("the note's value{} of {} bytes: {}", value,
                                   best->descriptor_size, to_string(best->verdict)),
                       best->offset});
}

}  // namespace

void find_notes(const Elf& elf, Image& image) {
  Finder finder(elf, image);
  finder.look_through_segments();
  // A linker script without a PT_NOTE still leaves the sections; Xen's own loader falls back too.
  if (!image.pvh_entry) {
    finder.look_through_sections();
  }
  finder.conclude();
}

}  // namespace pvh::loader
