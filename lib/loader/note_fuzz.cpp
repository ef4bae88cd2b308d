// SPDX-License-Identifier: BSD-2-Clause
// The note finder against a walker that knows nothing of its guesses. Three claims:
//
//   a segment that a plain walk (4-byte padding, as every loader in the field does it) can follow
//   from end to end is read as that walk reads it;
//   notes that were written well, padded to 4 and to 8 bytes, with anything in between, are all
//   found, and the first entry among them is the one;
//   whatever is reported of any bytes is there, byte for byte.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <pvh/loader/image.hpp>

#include "lib/base/testing/fuzz.hpp"
#include "lib/loader/testing/elf_builder.hpp"

namespace {

using namespace pvh;
using namespace pvh::loader;
using fuzz::number;
using fuzz::require;
using testkit::ByteVector;

constexpr std::uint64_t kLoaded = 0x1000;  // bytes from testkit::kCodeAddress on
constexpr std::size_t kMostBytes = 8192;   // of notes: fewer than the finder gives up at

// What a walk saw, in the terms of the file.
struct Seen {
  std::uint64_t offset;
  std::uint32_t type;
  std::string name;  // its terminator included
  std::uint64_t descriptor;
  std::uint64_t descriptor_size;
};

// Nothing when the bytes are not notes from end to end, each with a name of letters and its end.
std::optional<std::vector<Seen>> plain_walk(base::Bytes notes, std::uint64_t offset) {
  std::vector<Seen> seen;
  std::uint64_t at = 0;
  while (notes.size() - at >= 12) {
    const std::uint64_t name_size = number(notes, at, 4);
    const std::uint64_t size = number(notes, at + 4, 4);
    const std::uint64_t descriptor = at + 12 + (name_size + 3) / 4 * 4;
    const std::uint64_t end = descriptor + size;
    if (name_size < 2 || name_size > 256 || end > notes.size()) {
      return std::nullopt;
    }
    const std::string name(reinterpret_cast<const char*>(notes.data()) + at + 12, name_size);
    const bool letters = std::ranges::all_of(name.substr(0, name_size - 1),
                                             [](char c) { return c >= ' ' && c < '\x7f'; });
    if (!letters || name.back() != '\0') {
      return std::nullopt;
    }
    seen.push_back({offset + at, static_cast<std::uint32_t>(number(notes, at + 8, 4)), name,
                    descriptor + offset, size});
    at = std::min<std::uint64_t>((end + 3) / 4 * 4, notes.size());
  }
  return seen;
}

bool is_entry(const Seen& note, base::Bytes elf) {
  if (note.name != std::string_view("Xen\0", 4) || note.type != 18 ||
      (note.descriptor_size != 4 && note.descriptor_size != 8)) {
    return false;
  }
  const std::uint64_t value = number(elf, note.descriptor, note.descriptor_size);
  return value >= testkit::kCodeAddress && value < testkit::kCodeAddress + kLoaded;
}

// Where notes lie in the file: read from the headers, by hand.
struct Place {
  std::uint64_t offset;
  std::uint64_t size;
};
std::vector<Place> note_segments(base::Bytes elf, ElfClass elf_class) {
  const bool wide = elf_class == ElfClass::k64;
  const std::uint64_t table = number(elf, wide ? 0x20 : 0x1c, wide ? 8 : 4);
  const std::uint64_t count = number(elf, wide ? 0x38 : 0x2c, 2);
  std::vector<Place> places;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = table + i * (wide ? 56 : 32);
    if (number(elf, at, 4) == 4) {
      places.push_back({number(elf, at + (wide ? 8 : 4), wide ? 8 : 4),
                        number(elf, at + (wide ? 32 : 16), wide ? 8 : 4)});
    }
  }
  return places;
}

// What is said of a note is what its bytes say.
void check_note(const Note& note, const Image& image) {
  const base::Bytes elf = image.elf;
  if (note.verdict == NoteVerdict::kTruncated) {
    return;
  }
  require(note.padding == 4 || note.padding == 8);
  require(note.offset <= elf.size() && elf.size() - note.offset >= 12);
  require(note.type == number(elf, note.offset + 8, 4));
  require(note.descriptor_size == number(elf, note.offset + 4, 4));
  const std::uint64_t name_size = number(elf, note.offset, 4);
  const std::uint64_t p = note.padding;
  // Padding counts from the start of the notes, which lie on a multiple of 8 in these files.
  const std::uint64_t descriptor = (note.offset + 12 + name_size + p - 1) / p * p;
  require(descriptor + note.descriptor_size <= elf.size());
  const bool is_number = note.descriptor_size == 4 || note.descriptor_size == 8;
  require(note.value.has_value() == is_number);
  if (is_number) {
    require(*note.value == number(elf, descriptor, note.descriptor_size));
  }
  std::string name(reinterpret_cast<const char*>(elf.data()) + note.offset + 12, name_size);
  if (!name.empty() && name.back() == '\0') {
    name.pop_back();
  }
  require(note.owner == name.substr(0, 64));
  const bool xen = name == "Xen" && name_size <= 4;
  require((note.verdict == NoteVerdict::kOtherOwner) == !xen);
  const bool about_entry = xen && (note.type == 18 || note.type == 19);
  require((note.verdict == NoteVerdict::kOtherType) == (xen && !about_entry));
  const auto value = note.value.value_or(0);
  switch (note.verdict) {
    case NoteVerdict::kEntry:
      require(note.type == 18 && is_number && image.pvh_entry == base::PhysAddr(value));
      require(value >= testkit::kCodeAddress && value < testkit::kCodeAddress + kLoaded);
      break;
    case NoteVerdict::kEntryAbove4GiB:
      require(note.type == 18 && is_number && value > UINT32_MAX);
      break;
    case NoteVerdict::kEntryOutsideSegments:
      require(note.type == 18 && is_number && value <= UINT32_MAX);
      require(value < testkit::kCodeAddress || value >= testkit::kCodeAddress + kLoaded);
      break;
    default:
      break;
  }
}

const Note* find(const Image& image, std::uint64_t offset) {
  const auto found = std::ranges::find(image.notes, offset, &Note::offset);
  return found == image.notes.end() ? nullptr : &*found;
}

void check_against_walk(const Image& image) {
  const auto places = note_segments(image.elf, image.elf_class);
  bool all = true;
  const Seen* first_entry = nullptr;
  std::vector<Seen> seen;
  for (const Place& place : places) {
    const auto walked = plain_walk(image.elf.subspan(place.offset, place.size), place.offset);
    all = all && walked;
    if (walked) {
      seen.insert(seen.end(), walked->begin(), walked->end());
    }
  }
  for (const Seen& note : seen) {
    const Note* const found = find(image, note.offset);
    require(found != nullptr && found->type == note.type &&
            found->descriptor_size == note.descriptor_size && found->padding == 4);
    first_entry = first_entry == nullptr && is_entry(note, image.elf) ? &note : first_entry;
  }
  if (!all) {
    return;
  }
  const auto from_segments =
      std::ranges::count(image.notes, NoteSource::kProgramHeader, &Note::source);
  require(static_cast<std::size_t>(from_segments) == seen.size());
  if (first_entry != nullptr) {
    require(image.pvh_entry == base::PhysAddr(number(image.elf, first_entry->descriptor,
                                                     first_entry->descriptor_size)));
  }
}

// ---- notes that are written well

// No four bytes of it can be the length of a name.
ByteVector opaque(FuzzedDataProvider& draw, std::size_t most) {
  ByteVector bytes;
  for (const std::uint8_t byte :
       draw.ConsumeBytes<std::uint8_t>(draw.ConsumeIntegralInRange<std::size_t>(0, most))) {
    bytes.push_back(std::byte(byte | 0x80u));
  }
  return bytes;
}

testkit::NoteSpec draw_note(FuzzedDataProvider& draw) {
  constexpr std::array kOwners{"Xen", "GNU", "Linux", "FreeBSD", "stapsdt", "a.longer.name"};
  switch (draw.ConsumeIntegralInRange(0, 3)) {
    case 0:
      return testkit::xen_entry(
          draw.ConsumeBool()
              ? testkit::kCodeAddress + draw.ConsumeIntegralInRange<std::uint64_t>(0, 0xfff)
              : draw.ConsumeIntegral<std::uint64_t>() | 0x8080808000000000u,
          draw.ConsumeBool() ? 4 : 8);
    case 1:
      return testkit::xen_relocation({0x200000, 0x100000, 0x3fffffff});
    default:
      return {draw.PickValueInArray(kOwners), draw.ConsumeIntegralInRange<std::uint32_t>(0, 32),
              opaque(draw, 24)};
  }
}

struct Made {
  ByteVector bytes;
  std::vector<std::pair<std::uint64_t, testkit::NoteSpec>> notes;  // by offset
};

// One padding for all of a segment, or, as a linker script that throws all into one leaves it, a
// note of one's own padding each, begun at a multiple of 8.
Made draw_notes(FuzzedDataProvider& draw) {
  Made made;
  const bool mixed = draw.ConsumeBool();
  const std::uint64_t padding = draw.ConsumeBool() ? 4 : 8;
  const std::size_t count = draw.ConsumeIntegralInRange<std::size_t>(1, 12);
  for (std::size_t i = 0; i < count; ++i) {
    testkit::NoteSpec note = draw_note(draw);
    note.padding = mixed ? (draw.ConsumeBool() ? 4 : 8) : padding;
    while (mixed && made.bytes.size() % 8 != 0) {
      made.bytes.push_back(std::byte{0});
    }
    made.notes.emplace_back(made.bytes.size(), note);
    const ByteVector bytes = testkit::encode_notes({note});
    made.bytes.insert(made.bytes.end(), bytes.begin(), bytes.end());
    while (made.bytes.size() % note.padding != 0) {
      made.bytes.push_back(std::byte{0});
    }
  }
  return made;
}

void check_well_written(FuzzedDataProvider& draw) {
  const ElfClass elf_class = draw.ConsumeBool() ? ElfClass::k32 : ElfClass::k64;
  testkit::ElfBuilder builder(elf_class);
  std::vector<Made> all;
  for (std::size_t i = draw.ConsumeIntegralInRange<std::size_t>(1, 3); i > 0; --i) {
    all.push_back(draw_notes(draw));
    builder.note_bytes(all.back().bytes, 8);
  }
  builder.load(testkit::kCodeAddress, ByteVector(kLoaded));
  const ByteVector file = builder.build();
  const auto image = parse_image(file);
  require(image.has_value());
  const auto places = note_segments(image->elf, elf_class);
  require(places.size() == all.size());
  std::optional<std::uint64_t> entry;
  std::size_t notes = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    require(places[i].offset % 8 == 0);
    for (const auto& [offset, spec] : all[i].notes) {
      const Note* const found = find(*image, places[i].offset + offset);
      require(found != nullptr && found->owner == spec.owner && found->type == spec.type &&
              found->descriptor_size == spec.descriptor.size());
      const bool is_xen = spec.owner == "Xen";
      const bool is_number = spec.descriptor.size() == 4 || spec.descriptor.size() == 8;
      if (is_xen && is_number) {
        const std::uint64_t value = number(spec.descriptor, 0, spec.descriptor.size());
        require(found->value == value);
        const bool inside =
            value >= testkit::kCodeAddress && value < testkit::kCodeAddress + kLoaded;
        entry = !entry && spec.type == 18 && inside ? value : entry;
      }
      ++notes;
    }
  }
  require(image->notes.size() == notes);
  require(image->pvh_entry.has_value() == entry.has_value());
  require(!entry || image->pvh_entry == base::PhysAddr(*entry));
}

// ---- any bytes

void check_any(FuzzedDataProvider& draw) {
  const ElfClass elf_class = draw.ConsumeBool() ? ElfClass::k32 : ElfClass::k64;
  const bool in_section = draw.ConsumeBool();
  testkit::ElfBuilder builder(elf_class);
  builder.load(testkit::kCodeAddress, ByteVector(kLoaded));
  if (in_section) {
    builder.note_section({testkit::xen_entry(testkit::kCodeAddress + 16)});
  }
  std::size_t left = kMostBytes;
  for (std::size_t i = draw.ConsumeIntegralInRange<std::size_t>(1, 3); i > 0; --i) {
    const std::string text =
        i == 1 ? draw.ConsumeRemainingBytesAsString() : draw.ConsumeRandomLengthString(left);
    ByteVector bytes = testkit::to_vector(text);
    bytes.resize(std::min(bytes.size(), left));
    left -= bytes.size();
    builder.note_bytes(bytes, 8);
  }
  const ByteVector file = builder.build();
  const auto image = parse_image(file);
  require(image.has_value());
  std::set<std::uint64_t> offsets;
  std::size_t entries = 0;
  for (const Note& note : image->notes) {
    check_note(note, *image);
    require(note.verdict == NoteVerdict::kTruncated || offsets.insert(note.offset).second);
    entries += note.verdict == NoteVerdict::kEntry ? 1 : 0;
  }
  require(entries == (image->pvh_entry ? 1u : 0u));
  require(!in_section || image->pvh_entry);
  check_against_walk(*image);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider draw(data, size);
  if (draw.ConsumeBool()) {
    check_well_written(draw);
  } else {
    check_any(draw);
  }
  return 0;
}
