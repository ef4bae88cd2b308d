# SPDX-License-Identifier: BSD-2-Clause
"""What is wrong is refused: with the promised exit status, in one line that says what, where and what to do, quickly,
and before the guest has run a single instruction (a kernel that starts prints "ok" and exits with status 85)."""
import gzip
import json
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import elf
from elf import Elf, Note, NoteSegment, Segment, entry_note
from packed import BOMBS, MAGIC, PACKERS, bzimage, with_length
from running import Ended, run

USAGE, MALFORMED, MISSING, NO_KVM, HOST_IO = 64, 65, 66, 69, 74

# The promise, in processor time: others use this machine too. A program under a sanitizer or in a debug build is slower.
SECONDS = 5 * float(os.environ.get("PVH_TEST_PATIENCE", "1"))
BOMB_SIZE = 3 << 29
MOST_MEMORY = 600 << 20  # the loader unpacks 512 MiB at most

GOOD = Elf(bits=64).build()
GOOD_32 = Elf(bits=32).build()


def check(ended: Ended, status: int, says: str, subject: str = "") -> None:
    assert ended.status == status, ended
    assert ended.stdout == b"", f"a guest ran\n{ended}"
    lines = ended.stderr.splitlines()
    assert len(lines) == 1 and ended.stderr.endswith("\n"), f"not one line\n{ended}"
    assert lines[0].startswith(f"pvh: {subject}"), f"does not name {subject!r}\n{ended}"
    assert re.search(says, lines[0][len(f"pvh: {subject}"):]), f"does not say {says!r}\n{ended}"
    assert ended.cpu < SECONDS, ended


@dataclass
class Kernel:
    """A broken kernel file. `at`: the offset that the message has to name."""
    name: str
    content: bytes | Callable[[], bytes]
    says: str
    status: int = MALFORMED
    at: int | None = None
    arguments: list[str] = field(default_factory=list)

    def bytes(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content()


def elf64(**fields) -> bytes:
    return Elf(bits=64, **fields).build()


def elf32(**fields) -> bytes:
    return Elf(bits=32, **fields).build()


def noted(*notes: Note, **fields) -> bytes:
    return elf64(note_segments=[NoteSegment(notes=list(notes), **fields)])


PHDR_64, PHDR_32 = 64, 52  # where the first program header is: that of the segment
NO_FILE = r"[Nn]o such file"
CUT = r"cut short|ends inside|too (small|short)"
NO_NOTE = r"no PVH entry.*type 18"
WRAPS = r"beyond the end of the address space"
NOT_IN_FILE = r"bytes are not in the file.*cut short"
TOP_64 = (1 << 64) - 0x1000
TOP_32 = (1 << 32) - 0x1000

ELF_HEADERS = [
    Kernel("empty", b"", "empty"),
    *(Kernel(f"elf64-cut-at-{size}", GOOD[:size], CUT) for size in (1, 3, 4, 5, 15, 16, 24, 40, 63)),
    *(Kernel(f"elf64-cut-in-the-table-at-{size}", GOOD[:size], r"program header") for size in (64, 65, 119, 175)),
    *(Kernel(f"elf32-cut-at-{size}", GOOD_32[:size], CUT) for size in (4, 16, 51)),
    *(Kernel(f"elf32-cut-in-the-table-at-{size}", GOOD_32[:size], r"program header") for size in (52, 83, 115)),
    Kernel("elf64-cut-in-the-segment", GOOD[:0xb4], NOT_IN_FILE, at=PHDR_64),
    Kernel("elf32-cut-in-the-segment", GOOD_32[:0x84], NOT_IN_FILE, at=PHDR_32),
    Kernel("elf64-cut-in-the-note", GOOD[:0xe0], NO_NOTE),
    Kernel("elf64-cut-before-the-note", GOOD[:0xd0], NO_NOTE),
    Kernel("big-endian", elf64(ident={5: 2}), "not little-endian", at=5),
    Kernel("elf-class-0", elf64(ident={4: 0}), "class 0", at=4),
    Kernel("elf-version-9", elf64(ident={6: 9}), "version 9", at=6),
    Kernel("arm", elf32(header={"e_machine": elf.EM_ARM}), r"not an ELF file for x86.*40", at=18),
    Kernel("object-file", elf64(header={"e_type": elf.ET_REL}), "not an executable.*object", at=16),
    Kernel("core-dump", elf64(header={"e_type": elf.ET_CORE}), "not an executable.*core", at=16),
    Kernel("no-type", elf64(header={"e_type": 0}), "not an executable", at=16),
    Kernel("no-program-headers", elf64(header={"e_phnum": 0}), "nothing to load|program headers"),
    Kernel("65535-program-headers", elf64(header={"e_phnum": 65535}), "program headers"),
    Kernel("65534-program-headers", elf64(header={"e_phnum": 65534}), "program headers"),
    Kernel("program-headers-of-32-bytes", elf64(header={"e_phentsize": 32}), "program headers.*32"),
    Kernel("program-headers-of-0-bytes", elf64(header={"e_phentsize": 0}), "program headers"),
    Kernel("program-headers-outside", elf64(header={"e_phoff": 0x1000000}), "program headers"),
    Kernel("program-headers-wrap", elf64(header={"e_phoff": (1 << 64) - 8}), "program headers"),
    Kernel("program-headers-wrap-32", elf32(header={"e_phoff": (1 << 32) - 8}), "program headers"),
    Kernel("only-notes", elf64(segments=[]), "nothing to load"),
]

SEGMENTS = [
    Kernel("segment-outside-the-file", elf64(segments=[Segment(offset=0x10000)]), NOT_IN_FILE, at=PHDR_64),
    Kernel("segment-offset-wraps", elf64(segments=[Segment(offset=(1 << 64) - 8)]), NOT_IN_FILE, at=PHDR_64),
    Kernel("segment-offset-wraps-32", elf32(segments=[Segment(offset=(1 << 32) - 8)]), NOT_IN_FILE, at=PHDR_32),
    Kernel("filesz-wraps", elf64(segments=[Segment(filesz=(1 << 64) - 1, memsz=(1 << 64) - 1)]), NOT_IN_FILE),
    Kernel("filesz-wraps-32", elf32(segments=[Segment(filesz=(1 << 32) - 1, memsz=(1 << 32) - 1)]), NOT_IN_FILE),
    Kernel("filesz-above-memsz", elf64(segments=[Segment(memsz=1)]), "more bytes in the file than in memory", at=PHDR_64),
    Kernel("filesz-above-memsz-32", elf32(segments=[Segment(memsz=1)]), "more bytes in the file than in memory", at=PHDR_32),
    Kernel("paddr-wraps", elf64(segments=[Segment(), Segment(paddr=TOP_64, memsz=0x2000)]), WRAPS, at=PHDR_64 + 56),
    Kernel("paddr-wraps-32", elf32(segments=[Segment(), Segment(paddr=TOP_32, memsz=0x2000)]), WRAPS, at=PHDR_32 + 32),
    Kernel("memsz-wraps", elf64(segments=[Segment(memsz=(1 << 64) - 1)]), WRAPS, at=PHDR_64),
    Kernel("memsz-wraps-32", elf32(segments=[Segment(memsz=(1 << 32) - 1)]), WRAPS, at=PHDR_32),
    Kernel("segments-overlap", elf64(segments=[Segment(memsz=0x2000), Segment(paddr=0x101000)]), "share physical memory.*0x101000"),
    Kernel("segments-overlap-32", elf32(segments=[Segment(memsz=0x2000), Segment(paddr=0x101000)]), "share physical memory"),
    Kernel("segment-twice", elf64(segments=[Segment(), Segment()]), "share physical memory"),
    Kernel("segment-inside-another", elf64(segments=[Segment(paddr=0x101000), Segment(memsz=0x100000)]), "share physical memory"),
    Kernel("segment-above-memory", elf64(segments=[Segment(), Segment(paddr=0x40000000)]), "memory", status=USAGE),
    Kernel("segment-in-the-hole", elf64(segments=[Segment(), Segment(paddr=0xFEE00000)]), "memory", status=USAGE,
           arguments=["-m", "5G"]),
    Kernel("segment-of-a-terabyte", elf64(segments=[Segment(memsz=1 << 40)]), "memory", status=USAGE),
    Kernel("kernel-larger-than-memory", elf64(segments=[Segment(memsz=64 << 20)]), "memory", status=USAGE,
           arguments=["-m", "32M"]),
    Kernel("memory-ends-below-the-kernel", GOOD, "memory", status=USAGE, arguments=["-m", "100K"]),
]

NOTES = [
    Kernel("no-note", elf64(note_segments=[]), NO_NOTE),
    Kernel("no-note-32", elf32(note_segments=[]), NO_NOTE),
    Kernel("empty-note-segment", noted(), NO_NOTE),
    Kernel("note-outside-the-file", noted(entry_note(), offset=0x10000), NO_NOTE),
    Kernel("note-offset-wraps", noted(entry_note(), offset=(1 << 64) - 4), NO_NOTE),
    Kernel("note-cut-in-its-header", noted(entry_note(), size=8), NO_NOTE),
    Kernel("note-cut-in-its-owner", noted(entry_note(), size=13), NO_NOTE),
    Kernel("note-cut-in-its-descriptor", noted(entry_note(), size=17), NO_NOTE),
    Kernel("note-owner-too-long", noted(Note(namesz=0xFFFFFFFF)), NO_NOTE),
    Kernel("note-descriptor-too-long", noted(Note(descsz=0xFFFFFFFC)), NO_NOTE),
    Kernel("note-of-another-owner", noted(Note(owner=b"Foo\0")), NO_NOTE),
    Kernel("note-of-xenix", noted(Note(owner=b"Xenix\0")), NO_NOTE),
    Kernel("note-without-owner", noted(Note(owner=b"")), NO_NOTE),
    Kernel("note-of-another-type", noted(Note(type=1)), NO_NOTE),
    Kernel("descriptor-of-0-bytes", noted(Note(desc=b"")), NO_NOTE),
    Kernel("descriptor-of-2-bytes", noted(Note(desc=b"\0\0")), NO_NOTE),
    Kernel("descriptor-of-3-bytes", noted(Note(desc=b"\0\0\x10")), NO_NOTE),
    Kernel("descriptor-of-16-bytes", noted(Note(desc=bytes(16))), NO_NOTE),
    Kernel("entry-0", noted(entry_note(0)), "entry"),
    Kernel("entry-outside-the-segments", noted(entry_note(0x200000)), "PVH entry is not in a loaded segment.*0x200000"),
    Kernel("entry-behind-the-segment", elf64(segments=[Segment(memsz=0x1000)],
                                             note_segments=[NoteSegment(notes=[entry_note(0x101000)])]),
           "PVH entry is not in a loaded segment"),
    Kernel("entry-is-virtual", noted(entry_note(0xFFFFFFFF80100000, size=8)), "entry"),
    Kernel("entry-above-4g", noted(entry_note((1 << 32) + 0x100000, size=8)), "entry"),
]


def noise(size: int) -> bytes:
    """Does not compress, and is the same in every run."""
    return random.Random(size).randbytes(size)


def junk_of(name: str) -> bytes:
    return MAGIC[name] + bytes((i * 167 + 13) & 0xFF for i in range(4096))


def cut(name: str) -> bytes:
    packed = PACKERS[name](GOOD + noise(5000))
    return packed[:len(packed) // 2]


PACKED = [
    *(Kernel(f"{name}-junk", junk_of(name), "damaged|not supported|not a kernel|more than is allowed") for name in MAGIC),
    *(Kernel(f"{name}-magic-alone", MAGIC[name], "damaged|not supported|not a kernel|ends inside") for name in MAGIC),
    *(Kernel(f"{name}-cut-short", lambda name=name: cut(name), "damaged.*cut short|cut short") for name in PACKERS if name != "none"),
    *(Kernel(f"{name}-of-text", PACKERS[name](b"no kernel at all\n" * 100), "not a kernel") for name in PACKERS if name != "none"),
    Kernel("gzip-of-nothing", gzip.compress(b""), "empty|not a kernel"),
    Kernel("gzip-of-gzip", gzip.compress(gzip.compress(GOOD)), "not a kernel|not supported|compress"),
    Kernel("gzip-of-a-broken-elf", gzip.compress(elf64(note_segments=[])), NO_NOTE),
    Kernel("gzip-wrong-checksum", gzip.compress(GOOD)[:-8] + bytes(8), "damaged"),
    Kernel("lzma-names-a-terabyte", MAGIC["lzma"] + b"\x80" + struct.pack("<Q", 1 << 40) + bytes(1000),
           "damaged|more than is allowed|MiB to unpack"),
]

BZIMAGES = [
    Kernel("bzimage-without-payload", bzimage(b""), "no payload", at=0x24C),
    Kernel("bzimage-old-protocol", bzimage(gzip.compress(GOOD), version=0x0207), "no payload.*2.07", at=0x206),
    Kernel("bzimage-cut-in-the-header", bzimage(GOOD)[:0x220], "ends inside a header"),
    Kernel("bzimage-payload-cut-short", bzimage(gzip.compress(GOOD))[:-20], "contradicts the file"),
    Kernel("bzimage-payload-outside", bzimage(gzip.compress(GOOD), payload_offset=0x100000), "contradicts the file"),
    Kernel("bzimage-payload-offset-wraps", bzimage(gzip.compress(GOOD), payload_offset=0xFFFFFFFF), "contradicts the file"),
    Kernel("bzimage-payload-length-wraps", bzimage(gzip.compress(GOOD), payload_length=0xFFFFFFFF), "contradicts the file"),
    Kernel("bzimage-payload-of-junk", bzimage(b"this is no compression " * 50), "compression is unknown"),
    Kernel("bzimage-payload-half", lambda: bzimage(gzip.compress(GOOD + noise(9999))[:5000]), "damaged"),
    Kernel("bzimage-payload-xz-half", lambda: bzimage(PACKERS["xz"](GOOD + noise(9999))[:5000]), "damaged"),
    Kernel("bzimage-of-an-elf-without-note", bzimage(with_length(PACKERS["xz"](elf64(note_segments=[])), 1)),
           "no PVH entry|damaged"),
    Kernel("bzimage-of-text", bzimage(gzip.compress(b"text")), "not a kernel"),
]

OTHER_FILES = [
    Kernel("text", b"This is a text file.\n" * 10, "not a kernel"),
    Kernel("script", b"#!/bin/sh\nexit 0\n", "not a kernel.*script"),
    Kernel("one-byte", b"x", "not a kernel"),
    Kernel("zeroes", bytes(65536), "not a kernel"),
    Kernel("cpio", b"070701" + b"0" * 104, "not a kernel.*cpio"),
]

KERNELS = ELF_HEADERS + SEGMENTS + NOTES + PACKED + BZIMAGES + OTHER_FILES


@pytest.fixture
def kernel_file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "kernel"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("row", KERNELS, ids=lambda row: row.name)
def test_a_broken_kernel_is_refused(pvh, kernel_file, row):
    path = kernel_file(row.bytes())
    ended = run([pvh, "run", path, "--debug-exit", *row.arguments], limit=2 * SECONDS)
    check(ended, row.status, row.says, f"{path}: ")
    if row.at is not None:
        assert f"at offset {row.at:#x}" in ended.stderr, ended


@pytest.mark.parametrize("row", KERNELS, ids=lambda row: row.name)
def test_a_broken_kernel_can_be_inspected(pvh, kernel_file, row):
    """In words or as JSON: never a crash, and an answer. A file with an ELF in it is an answer too."""
    path = kernel_file(row.bytes())
    for command in (["inspect", path], ["inspect", "--json", path], ["layout", path, *row.arguments],
                    ["extract", path, "-o", path.with_suffix(".elf")]):
        ended = run([pvh, *command], limit=2 * SECONDS)
        assert ended.status in (0, USAGE, MALFORMED), f"{command}\n{ended}"
        # A report that lists what is wrong needs no second voice.
        reported = command[0] == "inspect" and b"problem" in ended.stdout
        assert ended.status == 0 or reported or ended.stderr.startswith(f"pvh: {path}: "), f"{command}\n{ended}"
        if command[1] == "--json" and ended.stdout:
            json.loads(ended.stdout)


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "bzimage"])
def test_a_bomb_is_refused_without_eating_the_host(pvh, kernel_file, name, wrapped):
    bomb = BOMBS[name](BOMB_SIZE)
    path = kernel_file(bzimage(with_length(bomb, BOMB_SIZE)) if wrapped else bomb)
    ended = run([pvh, "run", path, "--debug-exit"], limit=8 * SECONDS)
    assert ended.max_rss < MOST_MEMORY, ended
    # Unpacking up to the limit is the work that takes the time; every format does it at its own speed.
    ended.cpu /= 2
    check(ended, MALFORMED, "more than is allowed.*512 MiB|not a kernel|damaged", f"{path}: ")


@dataclass
class Options:
    """Arguments to a good kernel. {good} is the kernel, {dir} a folder, {big} a file of 300 MiB."""
    name: str
    arguments: list[str]
    says: str
    status: int = USAGE
    subject: str = ""


OPTIONS = [
    *(Options(f"memory-{value or 'nothing'}", ["run", "{good}", "-m", value], r"memory|size|-m")
      for value in ("0", "0K", "-1", "1Z", "12Q", "", "x", "1.5G", "G", "0x100", "1G1", "99999999999999999999999", "16777216T")),
    Options("memory-of-an-exabyte", ["run", "{good}", "-m", "1048576T"], "memory|more than"),
    *(Options(f"cpus-{value or 'nothing'}", ["run", "{good}", "-c", value], r"cpus|-c")
      for value in ("0", "-1", "100000", "256", "x", "", "1.5", "4294967297")),
    *(Options(f"start-info-{value}", ["run", "{good}", "--start-info", value], "start-info") for value in ("2", "-1", "x")),
    *(Options(f"memmap-{value or 'nothing'}", ["run", "{good}", "--memmap", value], "memmap") for value in ("nosuch", "Strict", "")),
    *(Options(f"timeout-{value}", ["run", "{good}", "--timeout", value], "timeout") for value in ("-1", "0", "x", "nan", "inf", "1e99")),
    Options("grace-0", ["run", "{good}", "--grace", "0"], "--grace: \"0\" is not a number of seconds above 0"),
    *(Options(f"console-{value}", ["run", "{good}", "--console", value], "console") for value in ("nosuch", "file=", "file", "uds=", "stdio=x")),
    Options("module-without-name", ["run", "{good}", "--module", ",cmdline=x"], "module"),
    Options("unknown-option", ["run", "{good}", "--no-such-option"], "no-such-option"),
    Options("option-without-value", ["run", "{good}", "--memory"], "memory"),
    Options("no-kernel", ["run"], "KERNEL"),
    Options("two-kernels", ["run", "{good}", "{good}"], "argument|kernel|expected"),
    Options("no-command", [], "command"),
    Options("unknown-command", ["fly"], "no such command"),
    Options("inspect-without-kernel", ["inspect"], "KERNEL"),
    Options("inspect-with-a-command-line", ["inspect", "{good}", "--", "x"], "--"),
    Options("extract-without-output", ["extract", "{good}"], "output"),
    Options("missing-kernel", ["run", "{dir}/none"], NO_FILE, MISSING, "{dir}/none: "),
    Options("kernel-is-a-folder", ["run", "{dir}"], "[Dd]irectory|folder", MISSING, "{dir}: "),
    Options("kernel-below-a-file", ["run", "{good}/x"], NO_FILE, MISSING, "{good}/x: "),
    Options("kernel-without-name", ["run", ""], NO_FILE, MISSING),
    Options("missing-initrd", ["run", "{good}", "-i", "{dir}/none"], NO_FILE, MISSING, "{dir}/none: "),
    Options("initrd-is-a-folder", ["run", "{good}", "-i", "{dir}"], "[Dd]irectory|folder", MISSING, "{dir}: "),
    Options("missing-module", ["run", "{good}", "--module", "{dir}/none,cmdline=x"], NO_FILE, MISSING, "{dir}/none: "),
    Options("initrd-larger-than-memory", ["run", "{good}", "-i", "{big}"], "big|memory"),
    Options("initrd-as-large-as-memory", ["run", "{good}", "-i", "{big}", "-m", "300M"], "big|memory"),
    Options("modules-larger-than-memory", ["run", "{good}", "--module", "{big}", "--module", "{big}", "-m", "500M"], "big|memory"),
    Options("command-line-too-long-for-firecracker", ["run", "{good}", "--memmap", "firecracker", "-a", "x" * 2048],
            "command line", subject="{good}: "),
    Options("command-line-too-long-for-qemu", ["run", "{good}", "--memmap", "qemu", "-a", "x" * 4096], "command line", subject="{good}: "),
    Options("command-line-too-long-for-cloud-hypervisor", ["run", "{good}", "--memmap", "cloud-hypervisor", "-a", "x" * 65536],
            "command line", subject="{good}: "),
    Options("two-modules-for-firecracker", ["run", "{good}", "--memmap", "firecracker", "-i", "{good}", "--module", "{good}"],
            "module", subject="{good}: "),
    Options("missing-kernel-to-inspect", ["inspect", "{dir}/none"], NO_FILE, MISSING, "{dir}/none: "),
    Options("missing-kernel-to-extract", ["extract", "{dir}/none", "-o", "{dir}/out"], NO_FILE, MISSING, "{dir}/none: "),
    Options("missing-kernel-to-lay-out", ["layout", "{dir}/none"], NO_FILE, MISSING, "{dir}/none: "),
    Options("extract-to-nowhere", ["extract", "{good}", "-o", "{dir}/none/out"], NO_FILE, HOST_IO, "{dir}/none/out: "),
    Options("console-file-nowhere", ["run", "{good}", "--console", "file={dir}/none/x"], r"none/x.*[Nn]o such file", HOST_IO),
    Options("console-file-is-a-folder", ["run", "{good}", "--console", "file={dir}"], "[Dd]irectory", HOST_IO),
    Options("console-socket-path-too-long", ["run", "{good}", "--console", "uds=/" + "x" * 200], "socket"),
    Options("stats-nowhere", ["run", "{good}", "--stats", "{dir}/none/x"], NO_FILE, HOST_IO, "{dir}/none/x: "),
    Options("stats-is-a-folder", ["run", "{good}", "--stats", "{dir}"], "[Dd]irectory", HOST_IO, "{dir}: "),
]


@dataclass
class Places:
    good: Path
    dir: Path
    big: Path


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    base = tmp_path_factory.mktemp("bad-input")
    places = Places(base / "good", base / "folder", base / "big")
    places.good.write_bytes(GOOD)
    places.dir.mkdir()
    with places.big.open("wb") as file:
        file.truncate(300 << 20)
    return places


def test_the_good_kernel_boots(boot, places):
    """Else nothing above would be worth anything."""
    ended = boot(places.good)
    assert (ended.status, ended.stdout) == (elf.DEBUG_EXIT_STATUS, elf.OUTPUT), ended


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.name)
def test_bad_options_are_refused(pvh, places, row):
    values = vars(places)
    ended = run([pvh, *(argument.format(**values) for argument in row.arguments)], limit=2 * SECONDS)
    check(ended, row.status, row.says, row.subject.format(**values))


def test_the_usage_message_points_at_the_help(pvh):
    ended = run([pvh, "run", "--no-such-option"])
    assert "pvh run --help" in ended.stderr, ended


def long_command_line(size: int) -> list[str]:
    # One argument of a program may have 128 KiB.
    word = 100_000
    words = ["x" * word] * (size // word)
    return ["--", *words, "x" * max(1, size - len(words) * (word + 1))]


def test_a_command_line_of_a_mebibyte_is_passed_or_refused(boot, pvh, places):
    ended = boot(places.good, *long_command_line(1 << 20))
    assert (ended.status, ended.stdout) == (elf.DEBUG_EXIT_STATUS, elf.OUTPUT), ended
    ended = run([pvh, "run", places.good, "--debug-exit", "-m", "2M", *long_command_line(1 << 20)])
    check(ended, USAGE, "command line", f"{places.good}: ")


def test_a_terabyte_of_memory_boots_or_is_refused(pvh, kvm, places):
    """Memory that the guest does not touch costs little: where the kernel overcommits, this is fine."""
    ended = run([pvh, "run", places.good, "--debug-exit", "-m", "1T", "--timeout", "20"], limit=30)
    if ended.status == elf.DEBUG_EXIT_STATUS:
        assert ended.stdout == elf.OUTPUT and ended.cpu < SECONDS, ended
    else:
        check(ended, NO_KVM, "memory|KVM")


# ---- where the file comes from ---------------------------------------------------------------------------------

def test_a_kernel_comes_through_a_pipe(boot, places):
    with subprocess.Popen(["cat", places.good], stdout=subprocess.PIPE) as cat:
        ended = boot("/dev/stdin", stdin=cat.stdout)
    assert (ended.status, ended.stdout) == (elf.DEBUG_EXIT_STATUS, elf.OUTPUT), ended


def test_a_large_kernel_comes_through_a_pipe(boot, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(elf64(segments=[Segment(), Segment(paddr=0x200000, data=noise(5 << 20))]))
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        ended = boot("/dev/stdin", stdin=cat.stdout)
    assert (ended.status, ended.stdout) == (elf.DEBUG_EXIT_STATUS, elf.OUTPUT), ended


def test_a_pipe_closed_at_once_is_an_empty_kernel(pvh):
    reader, writer = os.pipe()
    os.close(writer)
    try:
        check(run([pvh, "run", "/dev/stdin"], stdin=reader), MALFORMED, "empty", "/dev/stdin: ")
    finally:
        os.close(reader)


def test_a_closed_stdin_has_no_kernel(pvh):
    ended = run(["sh", "-c", 'exec "$0" run /dev/stdin <&-', pvh])
    check(ended, MALFORMED, "empty", "/dev/stdin: ")


def test_a_fifo_whose_writer_leaves_is_an_empty_kernel(pvh, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", 'exec 3>"$0"; exec 3>&-', fifo]):
        check(run([pvh, "run", fifo]), MALFORMED, "empty", f"{fifo}: ")


def test_a_special_file_is_no_kernel(pvh):
    check(run([pvh, "run", "/dev/null"]), MALFORMED, "empty", "/dev/null: ")


def test_an_endless_kernel_is_refused(pvh):
    ended = run([pvh, "run", "/dev/zero"], limit=6 * SECONDS)
    assert ended.status in (MALFORMED, MISSING), ended
    assert ended.max_rss < 1200 << 20, ended


# ---- a host that refuses ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def public(pvh) -> Path:
    """A folder that nobody may enter and read: the program and a kernel."""
    folder = Path(tempfile.mkdtemp(prefix="pvh-test-"))
    folder.chmod(0o755)
    shutil.copy(pvh, folder / "pvh")
    (folder / "pvh").chmod(0o755)
    (folder / "good").write_bytes(GOOD)
    (folder / "good").chmod(0o644)
    (folder / "secret").write_bytes(GOOD)
    (folder / "secret").chmod(0)
    yield folder
    shutil.rmtree(folder)


def as_nobody(command: list) -> list:
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]


def in_own_mounts(script: str) -> list:
    """The start of a command that runs `script` with its arguments in a mount namespace of its own, or skips."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    if run([*unshare, "true"]).status != 0:
        pytest.skip("no mount namespaces here")
    return [*unshare, "sh", "-ec", script]


@pytest.mark.parametrize("arguments", [["secret"], ["good", "--initrd", "secret"]], ids=["kernel", "initrd"])
def test_an_unreadable_file_is_named(public, arguments):
    ended = run(as_nobody(["./pvh", "run", *arguments]), cwd=public)
    check(ended, MISSING, "Permission denied", "secret: ")


def test_kvm_without_permission_is_explained(public):
    if os.geteuid() != 0 and os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("this user may use KVM")
    if run(as_nobody(["test", "-w", "/dev/kvm"])).status == 0:
        pytest.skip("everybody may use KVM here")
    ended = run(as_nobody(["./pvh", "run", "good", "--debug-exit"]), cwd=public)
    check(ended, NO_KVM, "KVM.*(Permission denied|No such file).*pvh lab")


def test_a_missing_kvm_is_explained(public):
    command = in_own_mounts('mount -t tmpfs none /dev; exec "$0" "$@"')
    ended = run([*command, public / "pvh", "run", public / "good", "--debug-exit"])
    check(ended, NO_KVM, "KVM.*No such file.*pvh lab")


def test_something_else_in_the_place_of_kvm_is_explained(public):
    if not os.path.exists("/dev/kvm"):
        pytest.skip("nothing to put it over")
    command = in_own_mounts('mount --bind /dev/null /dev/kvm; exec "$0" "$@"')
    ended = run([*command, public / "pvh", "run", public / "good", "--debug-exit"])
    check(ended, NO_KVM, "KVM")


def test_what_needs_no_kvm_works_without(public):
    command = in_own_mounts('mount -t tmpfs none /dev; exec "$0" "$@"')
    for words in (["inspect"], ["layout"]):
        ended = run([*command, public / "pvh", *words, public / "good"])
        assert ended.status == 0 and ended.stdout and not ended.stderr, ended


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_a_host_error(pvh, kvm, places, redirection):
    ended = run(["sh", "-c", f'exec "$0" run "$1" --debug-exit --timeout 5 {redirection}', pvh, places.good])
    assert ended.status == HOST_IO, ended
    assert re.fullmatch(r"pvh: .*(Bad file descriptor|No space left on device).*\n", ended.stderr), ended


@pytest.mark.parametrize("command", ["inspect", "layout", "extract -o -", "--help", "run --help", "--version"])
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_reports_that_cannot_be_written_are_a_host_error(pvh, places, command, redirection):
    kernel = "" if "--" in command else '"$1"'
    ended = run(["sh", "-c", f'exec "$0" {command} {kernel} {redirection}', pvh, places.good])
    assert ended.status == HOST_IO, ended
    assert re.fullmatch(r"pvh: .*(Bad file descriptor|No space left on device).*\n", ended.stderr), ended


def test_a_closed_stdout_is_not_another_file(pvh, kvm, places, tmp_path):
    """Whatever is opened first must not take descriptor 1, or the guest would write into it."""
    stats = tmp_path / "stats"
    ended = run(["sh", "-c", 'exec "$0" run "$1" --debug-exit --timeout 5 --stats "$2" >&-', pvh, places.good, stats])
    assert ended.status == HOST_IO, ended
    text = stats.read_text() if stats.exists() else ""
    assert text == "" or json.loads(text), text


def test_a_closed_stderr_changes_no_status(pvh, places):
    for redirection in ("2>&-", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-"):
        ended = run(["sh", "-c", f'exec "$0" run "$1" {redirection}', pvh, places.dir / "none"])
        assert ended.status == MISSING, f"{redirection}\n{ended}"


def test_the_table_is_as_large_as_promised():
    assert len(KERNELS) + len(OPTIONS) >= 60
    names = [row.name for row in KERNELS + OPTIONS]
    assert len(names) == len(set(names))
