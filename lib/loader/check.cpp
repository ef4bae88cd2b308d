// SPDX-License-Identifier: BSD-2-Clause
// The rules. Each says in its comment where the fact is from: a source file of the monitor's, or
// tests/kernel_check_test.py, which tries it on QEMU 7.2. linux-loader is the ELF loader inside
// Firecracker, Cloud Hypervisor and libkrun; libelf the one inside Xen's dom0 builder and xl.
#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <pvh/abi/elf.hpp>
#include <pvh/abi/elf_note.hpp>
#include <pvh/loader/check.hpp>

#include "elf.hpp"
#include "peers.hpp"

namespace pvh::loader {
namespace {

using enum Monitor;

constexpr MonitorSet kQemu{kQemuPc, kQemuMicrovm};
constexpr MonitorSet kLinuxLoader{kFirecracker, kCloudHypervisor, kLibkrun};
constexpr MonitorSet kXen{kXenDom0, kXenDomU};

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

constexpr std::string_view kLinkWithFragment =
    "link with the pvh linker fragment (pvh_add_kernel does), or keep the note in a segment of its "
    "own: `PHDRS { note PT_NOTE FLAGS(4); }` and `.note.Xen : { KEEP(*(.note.Xen)) } :text :note`";
constexpr std::string_view kNoNote =
    "link with the pvh runtime and its linker fragment (pvh_add_kernel does): without KEEP() in "
    "`.note.Xen : { KEEP(*(.note.Xen)) } :text :note` --gc-sections drops the note, and without "
    "`PHDRS { note PT_NOTE FLAGS(4); }` loaders miss it; Linux: CONFIG_PVH=y";
constexpr std::string_view kOneNoteSegment =
    "discard the other notes (`/DISCARD/ : { *(.note.gnu.*) }`) or put all into one PT_NOTE padded "
    "to 4; the pvh linker fragment does";
constexpr std::string_view kAlignTo4 =
    "give the Xen note a PT_NOTE of its own with p_align 4 and discard .note.gnu.property "
    "(`/DISCARD/ : { *(.note.gnu.property) }`, or -Wa,-mx86-used-note=no and "
    "-fcf-protection=none); "
    "the pvh linker fragment does";
constexpr std::string_view kOneEntry = "keep one note \"Xen\" of type 18";
constexpr std::string_view kPhysicalEntry =
    "it has to hold the physical address (p_paddr) of the entry";
constexpr std::string_view kLoadAt1MiB = "link it at 1 MiB or above; 2 MiB is usual";

class Checker {
 public:
  Checker(const Image& image, const Elf& elf, CheckReport& report)
      : image_(image), elf_(elf), report_(report) {}

  void run();

 private:
  void check_container();
  void check_problems();
  void check_rejected_note();
  void check_note_search(const Note& entry);
  void check_qemu_search(const Note& entry);
  void check_linux_loader_search(const Note& entry);
  void check_libelf_search(const Note& entry);
  void check_headers();
  void check_multiboot();
  void check_addresses();
  void check_memory_hole();
  void check_permissions();
  void check_relocation();

  // A finding about the ELF, so about those who get to see it.
  void add(Rule rule, Severity severity, MonitorSet monitors, std::optional<std::uint64_t> offset,
           std::string what, std::string_view remedy);
  [[nodiscard]] bool finds_entry(PeerEntry found) const;
  [[nodiscard]] Rule why_misread() const;

  const Image& image_;
  const Elf& elf_;
  CheckReport& report_;
  MonitorSet readers_ = MonitorSet::all();
};

void Checker::add(Rule rule, Severity severity, MonitorSet monitors,
                  std::optional<std::uint64_t> offset, std::string what, std::string_view remedy) {
  const MonitorSet affected = monitors.among(readers_).among(report_.asked);
  if (!affected.empty()) {
    report_.findings.push_back({rule, severity, affected, offset, std::move(what), remedy});
  }
}

// Who takes the ELF out of the file. QEMU: bzImages by HdrS, before anything else (hw/i386/x86.c),
// and no compressed ELF ("invalid kernel header"). Cloud Hypervisor: bzImage by its 32-bit entry
// (vmm/src/vm.rs, load_kernel). Firecracker: no bzImage up to 1.16, the Linux protocol later;
// libkrun: none, and its compressed formats drop the PVH entry (src/vmm/src/builder.rs,
// load_external_kernel). Xen: bzimage_parse() unpacks both in dom0; xl unpacks a bzImage's payload
// and gzip alone (xg_dom_bzimageloader.c, xc_dom_kernel_file).
void Checker::check_container() {
  if (image_.container == Container::kBzImage) {
    const MonitorSet by_linux = kQemu.with({kCloudHypervisor}).among(report_.asked);
    add(Rule::kBzImageLinuxProtocol, Severity::kNote, by_linux, std::nullopt,
        "a bzImage: booted by the Linux boot protocol, not by PVH",
        "for PVH give it the ELF inside: `pvh extract KERNEL -o vmlinux`");
    add(Rule::kBzImageRefused, Severity::kError, {kFirecracker, kLibkrun}, std::nullopt,
        "a bzImage: not read as a PVH kernel (Firecracker takes none up to 1.16, and later ones by "
        "the Linux protocol)",
        "give it the ELF inside: `pvh extract KERNEL -o vmlinux`");
    report_.by_linux = by_linux;
    readers_ = kXen.with({kPvh});
  } else if (image_.compression != Compression::kNone) {
    MonitorSet readers{kPvh, kXenDom0};
    if (image_.compression == Compression::kGzip) {
      readers.add(kXenDomU);
    }
    add(Rule::kCompressedElf, Severity::kError, MonitorSet::all().without(readers), std::nullopt,
        fmt::format("an ELF compressed by {}: not unpacked, or without its PVH entry",
                    to_string(image_.compression)),
        "give it the ELF: `pvh extract KERNEL -o vmlinux`");
    readers_ = readers;
  }
}

void Checker::check_problems() {
  for (const ImageFault& problem : image_.problems) {
    const base::Explanation words = explain(problem.code);
    const auto malformed = [&](Rule rule, MonitorSet monitors, Severity severity) {
      add(rule, severity, monitors, problem.offset,
          base::compose({words.what, ""}, problem.detail, std::nullopt, 0),
          words.remedy.empty() ? "link it again" : words.remedy);
    };
    switch (problem.code) {
      case ImageError::kNoSegments:
        malformed(Rule::kNoSegments, MonitorSet::all(), Severity::kError);
        break;
      case ImageError::kSegmentOutsideFile:
        malformed(Rule::kSegmentOutsideFile, MonitorSet::all(), Severity::kError);
        break;
      case ImageError::kFileSizeAboveMemSize:
        malformed(Rule::kFileSizeAboveMemorySize, MonitorSet::all(), Severity::kError);
        break;
      case ImageError::kSegmentWraps:
        malformed(Rule::kSegmentWraps, MonitorSet::all(), Severity::kError);
        break;
      case ImageError::kSegmentsOverlap:
        // The others copy one over the other, in the order of the headers (tried on QEMU).
        malformed(Rule::kSegmentsOverlap, {kPvh}, Severity::kError);
        malformed(Rule::kSegmentsOverlap, MonitorSet::all().without({kPvh}), Severity::kWarning);
        break;
      default:
        break;  // about notes: check_rejected_note(); the rest never is in an Image
    }
  }
}

// There is no entry. The note that came closest tells the most.
void Checker::check_rejected_note() {
  const auto reject = [&](Rule rule, const Note* note, std::string what, std::string_view remedy) {
    add(rule, Severity::kError, MonitorSet::all(),
        note != nullptr ? std::optional(note->offset) : std::nullopt, std::move(what), remedy);
  };
  const auto rejected = [&](NoteVerdict verdict) {
    const auto found = std::ranges::find_if(image_.notes, [&](const Note& note) {
      return note.verdict == verdict && note.owner == "Xen" &&
             note.type == abi::XEN_ELFNOTE_PHYS32_ENTRY;
    });
    return found == image_.notes.end() ? nullptr : &*found;
  };
  if (const Note* note = rejected(NoteVerdict::kEntryOutsideSegments)) {
    // libelf refuses it ("ELF start or entries are out of bounds"); the others jump there.
    reject(Rule::kEntryOutsideSegments, note,
           fmt::format("the PVH entry {:#x} is in no loaded segment", note->value.value_or(0)),
           kPhysicalEntry);
  } else if (const Note* above = rejected(NoteVerdict::kEntryAbove4GiB)) {
    reject(Rule::kEntryAbove4GiB, above,
           fmt::format("the PVH entry {:#x} is above 4 GiB, and loaders take its low 32 bits",
                       above->value.value_or(0)),
           kPhysicalEntry);
  } else if (const Note* size = rejected(NoteVerdict::kDescriptorSize)) {
    // linux-loader: InvalidPvhNote below 4 bytes; libelf reads what is not 1, 2, 4 or 8 as 0.
    reject(Rule::kNoteDescriptorSize, size,
           fmt::format("the PVH note's value has {} bytes, not 4 or 8", size->descriptor_size),
           "make it 8 bytes in ELF64, 4 in ELF32");
  } else if (const Note* cut = rejected(NoteVerdict::kTruncated)) {
    reject(Rule::kNoteTruncated, cut, "the PVH note runs past its segment, its section or the file",
           kLinkWithFragment);
  } else {
    reject(
        Rule::kNoPvhNote, nullptr,
        "no PVH entry: the file has no ELF note \"Xen\" of type 18, in no segment and no section",
        kNoNote);
  }
}

bool Checker::finds_entry(PeerEntry found) const {
  return found.outcome == PeerEntry::Outcome::kFound && image_.pvh_entry &&
         found.address == image_.pvh_entry->value();
}

// What makes those of the peers that read the segment by different rules differ.
Rule Checker::why_misread() const {
  const auto entries = std::ranges::count_if(image_.notes, [](const Note& note) {
    return note.type == abi::XEN_ELFNOTE_PHYS32_ENTRY && note.owner == "Xen";
  });
  return entries > 1 ? Rule::kTwoEntries : Rule::kNoteMisread;
}

std::string describe(PeerEntry found) {
  switch (found.outcome) {
    case PeerEntry::Outcome::kFound:
      return fmt::format("reads the entry as {:#x}", found.address);
    case PeerEntry::Outcome::kRefused:
      return "refuses the file's notes";
    case PeerEntry::Outcome::kNone:
    case PeerEntry::Outcome::kCrash:
      break;
  }
  return "finds no PVH entry";
}

// get_elf_note_type() walks by p_align where everybody pads to 4; .note.gnu.property makes the
// linker raise it to 8. It divides by it, so 0 is a SIGFPE; it does not look at the owner; of
// several the last wins.
void Checker::check_qemu_search(const Note& entry) {
  const PeerEntry found = find_as_qemu(elf_);
  if (finds_entry(found)) {
    return;
  }
  const ProgramHeader& segment = elf_.program_headers[entry.index];
  if (found.outcome == PeerEntry::Outcome::kCrash) {
    const auto zero = std::ranges::find_if(elf_.program_headers, [](const ProgramHeader& header) {
      return header.type == abi::PT_NOTE && header.file_size != 0 && header.alignment == 0;
    });
    add(Rule::kNoteAlignmentZero, Severity::kError, kQemu, zero->header_offset,
        "a PT_NOTE has p_align 0, by which QEMU divides: it dies of SIGFPE", kAlignTo4);
    return;
  }
  if (segment.alignment != 4) {
    add(Rule::kNoteAlignment, Severity::kError, kQemu, segment.header_offset,
        fmt::format("the PT_NOTE has p_align {}, by which QEMU walks notes that are padded "
                    "otherwise: it {}",
                    segment.alignment, describe(found)),
        kAlignTo4);
    return;
  }
  const auto foreign = std::ranges::find_if(image_.notes, [](const Note& note) {
    return note.type == abi::XEN_ELFNOTE_PHYS32_ENTRY && note.owner != "Xen";
  });
  if (foreign != image_.notes.end()) {
    add(Rule::kForeignEntryNote, Severity::kError, kQemu, foreign->offset,
        fmt::format("a note of type 18 whose owner is not Xen, which QEMU does not look at: it {}",
                    describe(found)),
        "give that note another type, or put it behind Xen's in the same segment");
    return;
  }
  add(why_misread(), Severity::kError, kQemu, entry.offset,
      fmt::format("QEMU {} instead of {:#x}", describe(found), *entry.value),
      why_misread() == Rule::kTwoEntries ? kOneEntry : kAlignTo4);
}

// `pvh_boot_cap = parse_elf_note(..)` for every PT_NOTE: one without the note undoes the one with
// it. Notes are padded to 4, whatever p_align says.
void Checker::check_linux_loader_search(const Note& entry) {
  const PeerEntry found = find_as_linux_loader(elf_);
  if (finds_entry(found)) {
    return;
  }
  if (finds_entry(find_as_linux_loader(elf_, elf_.program_headers[entry.index])) &&
      found.outcome != PeerEntry::Outcome::kFound) {
    const auto last = std::ranges::find(elf_.program_headers.rbegin(), elf_.program_headers.rend(),
                                        abi::PT_NOTE, &ProgramHeader::type);
    add(Rule::kTwoNoteSegments, Severity::kError, kLinuxLoader, last->header_offset,
        fmt::format("a PT_NOTE without the Xen note follows the one with it (segment {}): of "
                    "several the last one counts",
                    entry.index),
        kOneNoteSegment);
    return;
  }
  add(why_misread(), Severity::kError, kLinuxLoader, entry.offset,
      fmt::format("a loader that pads notes to 4 {} instead of {:#x}", describe(found),
                  *entry.value),
      why_misread() == Rule::kTwoEntries ? kOneEntry : kAlignTo4);
}

// All segments, the last note wins, padded to 4.
void Checker::check_libelf_search(const Note& entry) {
  const PeerEntry found = find_as_libelf(elf_);
  if (!finds_entry(found)) {
    add(why_misread(), Severity::kError, kXen, entry.offset,
        fmt::format("Xen {} instead of {:#x}", describe(found), *entry.value),
        why_misread() == Rule::kTwoEntries ? kOneEntry : kAlignTo4);
  }
}

void Checker::check_note_search(const Note& entry) {
  if (entry.source == NoteSource::kSectionHeader) {
    // Only libelf falls back to SHT_NOTE sections, and only when no segment has a note of Xen's.
    MonitorSet blind = kQemu.with(kLinuxLoader);
    if (!finds_entry(find_as_libelf(elf_))) {
      blind = blind.with(kXen);
    }
    add(Rule::kNoteNotInSegment, Severity::kError, blind, entry.offset,
        "the PVH note is in a section only: it is in no PT_NOTE segment, which is all that they "
        "look at",
        kLinkWithFragment);
    return;
  }
  check_qemu_search(entry);
  if (elf_.elf_class == ElfClass::k64) {
    check_linux_loader_search(entry);
  }
  check_libelf_search(entry);
  // read_pvh_start_addr() reads a size_t in ELF64 (newer QEMUs do not) and cuts it to 32 bits
  // later, so this boots; tried on QEMU.
  if (elf_.elf_class == ElfClass::k64 && entry.descriptor_size == 4) {
    add(Rule::kShortDescriptor, Severity::kNote, kQemu, entry.offset,
        "the PVH note's value has 4 bytes; older QEMUs read 8 in ELF64, and drop the upper half",
        "make it 8 bytes (`.quad`)");
  }
}

// Field offsets in the ELF header.
constexpr std::uint64_t kEntryField = offsetof(abi::Elf64_Ehdr, e_entry);

void Checker::check_headers() {
  if (elf_.elf_class == ElfClass::k32) {
    // validate_header: e_phentsize must be that of an Elf64_Phdr (InvalidProgramHeaderSize).
    add(Rule::kElf32, Severity::kError, kLinuxLoader, abi::EI_CLASS,
        "an ELF32, and they read ELF64 only",
        "link it as ELF64 (elf64-x86-64); the entry stays 32-bit code");
    return;
  }
  // validate_header: e_phoff (InvalidProgramHeaderOffset).
  if (!elf_.program_headers.empty() &&
      elf_.program_headers.front().header_offset < sizeof(abi::Elf64_Ehdr)) {
    add(Rule::kProgramHeadersOffset, Severity::kError, kLinuxLoader,
        offsetof(abi::Elf64_Ehdr, e_phoff), "the program headers lie inside the ELF header",
        "put them behind it, at 64 or above");
  }
  // InvalidEntryAddress: both pass 1 MiB as highmem_start_address, libkrun passes none.
  if (elf_.entry < kMiB) {
    add(Rule::kElfEntryTooLow, Severity::kError, {kFirecracker, kCloudHypervisor}, kEntryField,
        fmt::format("e_entry is {:#x}, below 1 MiB: refused, although PVH does not use it",
                    elf_.entry),
        "name an entry symbol at 1 MiB or above: ENTRY(symbol) in the linker script");
  }
}

// x86_load_linux() tries Multiboot before PVH; load_multiboot() refuses by e_machine, not by class,
// and does not look at the ELF at all when the header has addresses. load_elfboot() refuses flags
// that would be Multiboot's.
void Checker::check_multiboot() {
  if (const auto header = find_multiboot1(elf_.bytes)) {
    if (elf_.machine == abi::EM_X86_64 && !header->has_addresses) {
      add(Rule::kMultiboot1InElf64, Severity::kError, kQemu, header->offset,
          "a Multiboot1 header in an x86-64 ELF: QEMU tries Multiboot before PVH, and refuses "
          "(\"Cannot load x86-64 image, give a 32bit one\")",
          "remove the Multiboot1 header (magic 0x1badb002) from the first 8 KiB of the file; a "
          "Multiboot2 header may stay");
    } else {
      add(Rule::kMultiboot1First, Severity::kWarning, kQemu, header->offset,
          "a Multiboot1 header: QEMU boots it by Multiboot, with EAX 0x2badb002 and no start_info",
          "remove the header, or take both protocols at the entry");
      report_.by_multiboot = kQemu.among(readers_).among(report_.asked);
    }
    return;
  }
  constexpr std::uint32_t kRefusedFlags = 0x00010004;
  if ((elf_.flags & kRefusedFlags) != 0) {
    add(Rule::kElfFlags, Severity::kError, kQemu,
        elf_.elf_class == ElfClass::k64 ? offsetof(abi::Elf64_Ehdr, e_flags)
                                        : offsetof(abi::Elf32_Ehdr, e_flags),
        fmt::format("e_flags is {:#x}: QEMU refuses (\"elfboot unsupported flags\")", elf_.flags),
        "x86 has no e_flags: leave them 0");
  }
}

// What a monitor overwrites, or has no memory at, below 1 MiB.
struct Taken {
  MonitorSet monitors;
  std::uint64_t first;
  std::uint64_t end;
  std::string_view what;
};

// pvh: loader::Shape::kStrict. SeaBIOS and qboot: tried on QEMU, each row (SeaBIOS clears
// BUILD_STACK_ADDR..BUILD_EBDA_MINIMUM before it boots anything). Firecracker and Cloud Hypervisor:
// their arch/x86_64/layout.rs; they write this after the kernel. libkrun began as Firecracker's and
// keeps its layout. Xen's dom0 has the host's memory map.
constexpr std::array kTaken{
    Taken{{kPvh}, 0x9f000, kMiB, "its tables"},
    Taken{{kQemuPc}, 0, 0x1000, "the BIOS data and the memory map"},
    Taken{{kQemuPc}, 0x11c0, 0x2218, "the command line and start_info"},
    Taken{{kQemuPc}, 0x7000, 0x90000, "memory that SeaBIOS clears"},
    Taken{{kQemuPc}, 0x9fc00, kMiB, "the BIOS and its ROMs"},
    Taken{{kQemuMicrovm}, 0, 0x2000, "qboot's data"},
    Taken{{kQemuMicrovm}, 0x7b00, 0x7c00, "qboot's stack and the module list"},
    Taken{{kQemuMicrovm}, 0x9fc00, 0xa0000, "the BIOS data area"},
    Taken{{kQemuMicrovm}, 0xef000, kMiB, "qboot and its boot data"},
    Taken{kLinuxLoader, 0x500, 0x528, "the GDT and IDT"},
    Taken{kLinuxLoader, 0x6000, 0x6060, "start_info"},
    Taken{kLinuxLoader, 0x7000, 0x7c00, "the memory map"},
    Taken{{kFirecracker}, 0x20000, 0x20800, "the command line"},
    Taken{{kCloudHypervisor, kLibkrun}, 0x20000, 0x30000, "the command line"},
    Taken{{kFirecracker}, 0x9fc00, 0xe0024, "the MP table and ACPI"},
    Taken{{kCloudHypervisor, kLibkrun}, 0x9fc00, kMiB, "the MP table and ACPI"},
};

// Where devices begin, below 4 GiB. QEMU: at 3.5 GiB when all RAM fits below, else at 3 GiB.
// Firecracker and Cloud Hypervisor: layout.rs; libkrun: MMIO_MEM_START. xl: LIBXL's lowmem_end.
struct DeviceHole {
  MonitorSet monitors;
  std::uint64_t first;
};
constexpr std::array kDeviceHoles{
    DeviceHole{{kPvh, kFirecracker, kCloudHypervisor}, 3 * kGiB},
    DeviceHole{{kLibkrun}, 0xd0000000},
    DeviceHole{{kQemuPc, kQemuMicrovm}, 0xe0000000},
    DeviceHole{{kXenDomU}, 0xf0000000},
};

void Checker::check_addresses() {
  for (const Segment& segment : image_.segments) {
    const auto range = base::Range::from_size(segment.paddr, segment.memory_size);
    if (!range) {
      continue;  // segment-wraps has told
    }
    const std::uint64_t first = range->first().value();
    const std::uint64_t last = range->last().value();
    const auto where = [&] {
      return fmt::format("segment {} at {:#x}-{:#x}", segment.index, first, last);
    };
    MonitorSet told;
    for (const Taken& taken : kTaken) {
      if (first < taken.end && last >= taken.first && !taken.monitors.without(told).empty()) {
        add(Rule::kLowLoadAddress, Severity::kError, taken.monitors.without(told),
            segment.header_offset,
            fmt::format("{} lies on {} at {:#x}-{:#x}", where(), taken.what, taken.first,
                        taken.end - 1),
            kLoadAt1MiB);
        told = told.with(taken.monitors);
      }
    }
    // check_load_address() in dom0_build.c wants RAM there, or moves the kernel.
    if (first < kMiB && last >= 0xa0000 && !image_.relocation) {
      add(Rule::kLowLoadAddress, Severity::kError, {kXenDom0}, segment.header_offset,
          fmt::format("{} lies on the host's ROMs at 0xa0000-0xfffff", where()), kLoadAt1MiB);
      told.add(kXenDom0);
    }
    if (first < kMiB) {
      add(Rule::kLowLoadAddress, Severity::kWarning, MonitorSet::all().without(told),
          segment.header_offset,
          fmt::format("{} is below 1 MiB, where monitors put boot data and firmware", where()),
          kLoadAt1MiB);
    }
    for (const DeviceHole& hole : kDeviceHoles) {
      if (first < 4 * kGiB && last >= hole.first) {
        add(Rule::kLoadInDeviceHole, Severity::kError, hole.monitors, segment.header_offset,
            fmt::format("{} lies on devices: there is no RAM at {:#x}-0xffffffff", where(),
                        hole.first),
            kLoadAt1MiB);
      }
    }
  }
  const auto lowest = std::ranges::min_element(image_.segments, {}, &Segment::paddr);
  if (lowest != image_.segments.end() && !lowest->paddr.is_aligned(base::kPageSize)) {
    // xc_dom_alloc_segment: "segment start isn't page aligned".
    add(Rule::kSegmentNotPageAligned, Severity::kError, {kXenDomU}, lowest->header_offset,
        fmt::format("the lowest segment begins at {:#x}, inside a page: xl refuses it",
                    lowest->paddr.value()),
        "let it begin at a page: `. = 2M;` in the linker script, without + SIZEOF_HEADERS");
  }
}

// xl and Xen allocate one run from the lowest to the highest byte; everybody needs RAM up to it.
void Checker::check_memory_hole() {
  constexpr std::uint64_t kLarge = 256 * kMiB;
  std::vector<const Segment*> order;
  order.reserve(image_.segments.size());
  for (const Segment& segment : image_.segments) {
    order.push_back(&segment);
  }
  std::ranges::sort(order, {}, [](const Segment* segment) { return segment->paddr; });
  std::uint64_t end = order.empty() ? 0 : order.front()->paddr.value();
  for (const Segment* segment : order) {
    const std::uint64_t first = segment->paddr.value();
    if (first > end && first - end >= kLarge) {
      add(Rule::kMemoryHole, Severity::kWarning, MonitorSet::all(), segment->header_offset,
          fmt::format("{} MiB of nothing before segment {} at {:#x}: the guest needs RAM up to it",
                      (first - end) / kMiB, segment->index, first),
          "check its p_paddr: it is a physical address, not p_vaddr");
    }
    const auto range = base::Range::from_size(segment->paddr, segment->memory_size);
    end = std::max(end, range ? range->last().value() : first);
  }
}

void Checker::check_permissions() {
  const auto both = std::ranges::find_if(image_.segments, [](const Segment& segment) {
    return (segment.flags & abi::PF_W) != 0 && (segment.flags & abi::PF_X) != 0;
  });
  if (both != image_.segments.end()) {
    // No monitor looks at it: a PVH guest starts without paging.
    add(Rule::kWritableCode, Severity::kNote, MonitorSet::all(), both->header_offset,
        fmt::format("segment {} is writable and executable", both->index),
        "give code and data segments of their own");
  }
}

// elf_xen_parse_note() takes the numbers as they are, and find_kernel_memory() masks with align
// - 1.
void Checker::check_relocation() {
  for (const Note& note : image_.notes) {
    if (note.owner != "Xen" || note.type != abi::XEN_ELFNOTE_PHYS32_RELOC) {
      continue;
    }
    if (note.verdict == NoteVerdict::kBadValue || note.verdict == NoteVerdict::kDescriptorSize) {
      add(Rule::kBadRelocation, Severity::kWarning, {kXenDom0}, note.offset,
          fmt::format("the relocation note of {} bytes: {}", note.descriptor_size,
                      to_string(note.verdict)),
          "it holds up to three 32-bit numbers: alignment (a power of two), lowest address, "
          "highest "
          "address of the last byte");
    }
  }
  if (!image_.relocation || image_.segments.empty()) {
    return;
  }
  const auto lowest = std::ranges::min_element(image_.segments, {}, &Segment::paddr);
  if (!lowest->paddr.is_aligned(base::ByteSize(image_.relocation->alignment))) {
    add(Rule::kBadRelocation, Severity::kWarning, {kXenDom0}, lowest->header_offset,
        fmt::format("the kernel is linked at {:#x}, which is no multiple of the {:#x} by which its "
                    "relocation note lets it be moved",
                    lowest->paddr.value(), image_.relocation->alignment),
        "link it at a multiple of that alignment");
  }
}

void Checker::run() {
  check_container();
  check_problems();
  const auto entry = std::ranges::find(image_.notes, NoteVerdict::kEntry, &Note::verdict);
  if (entry == image_.notes.end()) {
    check_rejected_note();
  } else {
    check_note_search(*entry);
  }
  check_headers();
  check_multiboot();
  check_addresses();
  check_memory_hole();
  check_permissions();
  check_relocation();
  std::ranges::stable_sort(report_.findings, {}, &Finding::severity);
}

}  // namespace

MonitorSet CheckReport::refusing() const {
  MonitorSet set;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kError) {
      set = set.with(finding.monitors);
    }
  }
  return set;
}

std::optional<Protocol> CheckReport::protocol(Monitor monitor) const {
  if (refusing().contains(monitor)) {
    return std::nullopt;
  }
  if (by_linux.contains(monitor)) {
    return Protocol::kLinux;
  }
  return by_multiboot.contains(monitor) ? Protocol::kMultiboot : Protocol::kPvh;
}

CheckReport check_image(const Image& image, MonitorSet asked) {
  CheckReport report;
  report.asked = asked;
  // parse_image() has read these headers, so they are there.
  if (const auto elf = read_elf(image.elf)) {
    Checker(image, *elf, report).run();
  }
  return report;
}

}  // namespace pvh::loader
