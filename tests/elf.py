# SPDX-License-Identifier: BSD-2-Clause
"""Builds small ELF kernels, right and wrong, byte by byte.

    Elf(bits=64).build()                                      boots: prints "ok" and writes 0x2a to the debug exit
    Elf(note_segments=[[XEN]], header={"e_phnum": 65535})     any field can be overridden after everything is laid out

Offsets are handed out in this order: file header, program headers, segments (each 16-byte aligned), notes, sections.
"""
import struct
from dataclasses import dataclass, field

PT_LOAD, PT_NOTE = 1, 4
SHT_NOTE, SHT_STRTAB = 7, 3
ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
EM_386, EM_ARM, EM_X86_64 = 3, 40, 62
PHYS32_ENTRY, PHYS32_RELOC = 18, 19

LOAD_ADDRESS = 0x100000
DEBUG_EXIT_VALUE = 0x2A
DEBUG_EXIT_STATUS = DEBUG_EXIT_VALUE * 2 + 1
OUTPUT = b"ok\n"


def code(output: bytes = OUTPUT, value: int = DEBUG_EXIT_VALUE) -> bytes:
    """32-bit: writes `output` to COM1, then `value` to the debug exit, then halts."""
    out = b"\x66\xba\xf8\x03"  # mov $0x3f8, %dx
    for byte in output:
        out += b"\xb0" + bytes([byte]) + b"\xee"  # mov $byte, %al; out %al, %dx
    out += b"\xb0" + bytes([value]) + b"\xe6\xf4"  # mov $value, %al; out %al, $0xf4
    return out + b"\xfa\xf4\xeb\xfc"  # cli; hlt; jmp back


@dataclass
class Note:
    """namesz and descsz override what the header claims; None tells the truth."""
    owner: bytes = b"Xen\0"
    type: int = PHYS32_ENTRY
    desc: bytes = struct.pack("<I", LOAD_ADDRESS)
    namesz: int | None = None
    descsz: int | None = None

    def encode(self, padding: int) -> bytes:
        namesz = len(self.owner) if self.namesz is None else self.namesz
        descsz = len(self.desc) if self.descsz is None else self.descsz
        out = struct.pack("<III", namesz, descsz, self.type) + self.owner
        # The gABI pads the descriptor's start relative to the note's own: the 12-byte header counts.
        out = pad(out, padding) + self.desc
        return pad(out, padding)


def pad(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)


def entry_note(address: int = LOAD_ADDRESS, size: int = 4) -> Note:
    return Note(desc=address.to_bytes(size, "little"))


# What binutils puts into every object for an x86-64 compiler with CET: 8-byte alignment, owner "GNU", type 5.
def gnu_property(bits: int) -> Note:
    word = struct.pack("<III", 0xC0000002, 4, 3)
    return Note(owner=b"GNU\0", type=5, desc=pad(word, 8 if bits == 64 else 4))


OTHER_XEN_NOTE = Note(type=6, desc=b"test\0\0\0\0")


@dataclass
class Segment:
    """filesz and memsz None: as much as there is data. offset None: where the data was laid."""
    paddr: int = LOAD_ADDRESS
    data: bytes = field(default_factory=code)
    memsz: int | None = None
    filesz: int | None = None
    offset: int | None = None
    vaddr: int | None = None
    align: int = 0x1000
    flags: int = 7
    type: int = PT_LOAD


@dataclass
class NoteSegment:
    notes: list[Note] = field(default_factory=lambda: [entry_note()])
    padding: int = 4
    align: int = 4  # p_align or sh_addralign, which need not be how the notes are padded
    size: int | None = None
    offset: int | None = None

    def encode(self) -> bytes:
        out = b""
        for note in self.notes:
            out = pad(out, self.padding) + note.encode(self.padding)
        return out


@dataclass
class Elf:
    bits: int = 32
    segments: list[Segment] = field(default_factory=lambda: [Segment()])
    note_segments: list[NoteSegment] = field(default_factory=lambda: [NoteSegment()])
    note_sections: list[NoteSegment] = field(default_factory=list)
    notes_first: bool = False  # the PT_NOTEs before the PT_LOADs in the table
    header: dict[str, int] = field(default_factory=dict)
    ident: dict[int, int] = field(default_factory=dict)

    def sizes(self) -> tuple[int, int, int]:
        return (52, 32, 40) if self.bits == 32 else (64, 56, 64)

    def program_header(self, type_: int, flags: int, offset: int, vaddr: int, paddr: int, filesz: int, memsz: int,
                       align: int) -> bytes:
        if self.bits == 32:
            return struct.pack("<8I", type_, offset, vaddr, paddr, filesz, memsz, flags, align)
        return struct.pack("<2I6Q", type_, flags, offset, vaddr, paddr, filesz, memsz, align)

    def section_header(self, type_: int, offset: int, size: int, align: int) -> bytes:
        if self.bits == 32:
            return struct.pack("<10I", 0, type_, 0, 0, offset, size, 0, 0, align, 0)
        return struct.pack("<2I4Q2I2Q", 0, type_, 0, 0, offset, size, 0, 0, align, 0)

    def build(self) -> bytes:
        ehsize, phentsize, shentsize = self.sizes()
        count = len(self.segments) + len(self.note_segments)
        body = b""
        start = ehsize + count * phentsize

        def lay(data: bytes) -> int:
            nonlocal body
            body += bytes(-(start + len(body)) % 16)
            offset = start + len(body)
            body += data
            return offset

        loads = []
        for segment in self.segments:
            offset = lay(segment.data)
            filesz = len(segment.data) if segment.filesz is None else segment.filesz
            loads.append(self.program_header(
                segment.type, segment.flags, offset if segment.offset is None else segment.offset,
                segment.paddr if segment.vaddr is None else segment.vaddr, segment.paddr, filesz,
                len(segment.data) if segment.memsz is None else segment.memsz, segment.align))
        notes = []
        for notes_ in self.note_segments:
            data = notes_.encode()
            offset = lay(data)
            offset = offset if notes_.offset is None else notes_.offset
            size = len(data) if notes_.size is None else notes_.size
            notes.append(self.program_header(PT_NOTE, 4, offset, 0, 0, size, size, notes_.align))
        sections = b""
        if self.note_sections:
            headers = [self.section_header(0, 0, 0, 0)]
            for notes_ in self.note_sections:
                data = notes_.encode()
                offset = lay(data)
                headers.append(self.section_header(SHT_NOTE, offset if notes_.offset is None else notes_.offset,
                                                   len(data) if notes_.size is None else notes_.size, notes_.align))
            headers.append(self.section_header(SHT_STRTAB, lay(b"\0"), 1, 1))
            sections = b"".join(headers)
        section_count = len(sections) // shentsize
        section_offset = lay(sections) if sections else 0
        values = {
            "e_type": ET_EXEC, "e_machine": EM_386 if self.bits == 32 else EM_X86_64, "e_version": 1,
            "e_entry": LOAD_ADDRESS, "e_phoff": ehsize if count else 0, "e_shoff": section_offset, "e_flags": 0,
            "e_ehsize": ehsize, "e_phentsize": phentsize, "e_phnum": count, "e_shentsize": shentsize,
            "e_shnum": section_count, "e_shstrndx": section_count - 1 if section_count else 0,
        }
        values.update(self.header)
        ident = bytearray(b"\x7fELF" + bytes([1 if self.bits == 32 else 2, 1, 1]) + bytes(9))
        for index, value in self.ident.items():
            ident[index] = value
        layout = "<HHIIIIIHHHHHH" if self.bits == 32 else "<HHIQQQIHHHHHH"
        header = bytes(ident) + struct.pack(layout, *values.values())
        table = notes + loads if self.notes_first else loads + notes
        return header + b"".join(table) + body
