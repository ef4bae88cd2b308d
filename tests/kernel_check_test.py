# SPDX-License-Identifier: BSD-2-Clause
"""`pvh check`: what it says of QEMU is what QEMU does (software emulation: this needs no KVM), what it says of Debian's
kernels is right, and its statuses and formats are the promised ones."""
import gzip
import json
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import elf
from elf import Elf, Note, NoteSegment, Segment, entry_note
from lab_boot_test import IMAGES
from packed import bzimage
from running import Ended, run

USAGE, MALFORMED, MISSING, HOST_IO = 64, 65, 66, 74
# Generous: a pc needs seconds to its first instruction under emulation, on an idle machine.
QEMU_LIMIT = 60
QEMU = {"qemu-pc": "pc", "qemu-microvm": "microvm"}
MONITORS = ["pvh", "qemu-pc", "qemu-microvm", "firecracker", "cloud-hypervisor", "xen-dom0", "xen-domu", "libkrun"]
BUILD_ID = Note(owner=b"GNU\0", type=3, desc=bytes(range(20)))

# Nobody has anything to say of it.
GOOD = Elf(bits=64, segments=[Segment(flags=5)], note_segments=[NoteSegment(notes=[entry_note(size=8)])])


def check(pvh: Path, kernel: Path, *arguments, status: int | None = None) -> Ended:
    ended = run([pvh, "check", kernel, *arguments])
    assert ended.stderr == "", ended
    assert status is None or ended.status == status, ended
    return ended


def report(pvh: Path, kernel: Path, *arguments) -> dict:
    return json.loads(check(pvh, kernel, "--json", *arguments).stdout)


def verdicts(found: dict) -> dict[str, str | None]:
    return {monitor["name"]: monitor["protocol"] for monitor in found["monitors"]}


@pytest.fixture
def write(tmp_path):
    def call(kernel: Elf | bytes, name: str = "kernel") -> Path:
        path = tmp_path / name
        path.write_bytes(kernel if isinstance(kernel, bytes) else kernel.build())
        return path

    return call


# ---- what QEMU does ----------------------------------------------------------------------------------------------

def multiboot(flags: int = 0, addresses: bytes = b"") -> bytes:
    return struct.pack("<III", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF) + addresses


CODE = elf.pad(elf.code(), 4)
KLUDGE = multiboot(0x10000, struct.pack("<5I", elf.LOAD_ADDRESS + len(CODE), elf.LOAD_ADDRESS, 0, 0, elf.LOAD_ADDRESS))


def with_multiboot_at(offset: int) -> bytes:
    built = Elf(bits=64, segments=[Segment(data=CODE + bytes(9000))]).build()
    return built[:offset] + multiboot() + built[offset + 12:]


def loaded_at(address: int) -> Elf:
    return Elf(bits=64, segments=[Segment(paddr=address)], note_segments=[NoteSegment(notes=[entry_note(address, 8)])])


def noted(*notes: Note, **fields) -> Elf:
    return Elf(bits=64, note_segments=[NoteSegment(notes=list(notes), **fields)])


@dataclass
class Case:
    """`rule`: what check says on both machines; None for nothing about QEMU but notes."""
    name: str
    kernel: Elf | bytes | Callable[[], bytes]
    rule: str | None
    says: bytes = b""  # what QEMU says when it refuses


NO_NOTE = b"without PVH ELF Note"
NOT_64 = b"Cannot load x86-64 image"
CASES = [
    Case("good", GOOD, None),
    Case("elf32", Elf(bits=32), None),
    Case("no-note", Elf(bits=64, note_segments=[]), "no-pvh-note", NO_NOTE),
    Case("section-only", Elf(bits=64, note_segments=[], note_sections=[NoteSegment()]), "note-not-in-segment", NO_NOTE),
    Case("p-align-8", noted(entry_note(size=8), align=8), "note-alignment", NO_NOTE),
    Case("p-align-0", noted(entry_note(size=8), align=0), "note-alignment-zero"),
    Case("p-align-0-of-nothing", Elf(bits=64, note_segments=[NoteSegment(), NoteSegment(notes=[], align=0)]), None),
    Case("p-align-1", noted(entry_note(size=8), align=1), None),
    Case("value-of-4-bytes", noted(entry_note(size=4)), None),
    Case("two-note-segments", Elf(bits=64, note_segments=[NoteSegment(), NoteSegment(notes=[BUILD_ID])]), None),
    Case("behind-a-foreign-segment", Elf(bits=64, note_segments=[NoteSegment(notes=[BUILD_ID]), NoteSegment()]), None),
    Case("multiboot1-in-elf64", Elf(bits=64, segments=[Segment(data=CODE + multiboot())]), "multiboot1-in-elf64", NOT_64),
    Case("multiboot1-at-the-end-of-its-reach", with_multiboot_at(8140), "multiboot1-in-elf64", NOT_64),
    Case("multiboot1-out-of-reach", with_multiboot_at(8144), None),
    Case("multiboot1-unaligned", with_multiboot_at(4098), None),
    Case("multiboot1-in-elf32", Elf(bits=32, segments=[Segment(data=CODE + multiboot())]), "multiboot1-first"),
    Case("multiboot1-in-elf32-of-x86-64", Elf(bits=32, segments=[Segment(data=CODE + multiboot())],
                                              header={"e_machine": elf.EM_X86_64}), "multiboot1-in-elf64", NOT_64),
    Case("multiboot1-in-elf64-of-i386", Elf(bits=64, segments=[Segment(data=CODE + multiboot())],
                                            header={"e_machine": elf.EM_386}), "multiboot1-first"),
    Case("multiboot1-with-addresses", Elf(bits=64, segments=[Segment(data=CODE + KLUDGE)]), "multiboot1-first"),
    Case("elf-flags", Elf(bits=64, header={"e_flags": 4}), "elf-flags", b"elfboot unsupported flags = 4"),
    Case("e-entry-0", Elf(bits=64, header={"e_entry": 0}), None),
    Case("first-page-not-whole", loaded_at(0x100010), None),
    Case("segments-overlap", Elf(bits=64, segments=[Segment(memsz=0x2000), Segment(paddr=0x101000, data=bytes(64))]),
         "segments-overlap"),
    Case("segment-outside-the-file", Elf(bits=64, segments=[Segment(), Segment(paddr=0x200000, offset=0x10000)]),
         "segment-outside-file", b"Error while loading elf kernel"),
    Case("entry-outside-segments", noted(entry_note(0xC0000000, 8)), "entry-outside-segments"),
    Case("compressed", lambda: gzip.compress(GOOD.build()), "compressed-elf", b"invalid kernel header"),
    *(Case(f"loaded-at-{address:#x}", loaded_at(address), "low-load-address")
      for address in (0x100, 0x1200, 0x3000, 0x7000, 0x8000, 0x90000, 0x9FC00, 0xC0000, 0xF0000)),
]


def qemu_command(machine: str, kernel: Path, command_line: str, *arguments: str) -> list:
    program = shutil.which("qemu-system-x86_64")
    if not program:
        pytest.skip("no qemu-system-x86_64")
    return [program, "-M", machine, "-accel", "tcg", "-kernel", kernel, "-append", command_line, "-nodefaults", "-display", "none",
            "-serial", "stdio", "-no-reboot", *arguments]


def boots_on_qemu(machine: str, kernel: Path) -> Ended:
    # The command line is one of the things that a low kernel is overwritten by.
    command = qemu_command(machine, kernel, "x" * 300, "-m", "256M", "-device", "isa-debug-exit,iobase=0xf4")
    return run(["timeout", "-s", "KILL", str(QEMU_LIMIT), *command], limit=QEMU_LIMIT + 10)


@pytest.mark.parametrize("monitor", QEMU)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_qemu_does_what_check_says(pvh, write, case, monitor):
    kernel = write(case.kernel() if callable(case.kernel) else case.kernel)
    found = report(pvh, kernel, "--vmm", monitor)
    rules = {finding["rule"] for finding in found["findings"] if finding["severity"] != "note"}
    assert rules == ({case.rule} if case.rule else set()), found
    ended = boots_on_qemu(QEMU[monitor], kernel)
    booted = (ended.status, ended.stdout) == (elf.DEBUG_EXIT_STATUS, elf.OUTPUT)
    assert booted == (verdicts(found)[monitor] is not None), f"{found}\n{ended}"
    assert not case.says or case.says in ended.stderr.encode(), ended
    if case.rule == "note-alignment-zero":
        assert ended.status in (-8, 128 + 8), ended


@pytest.mark.parametrize("with_header", [False, True])
def test_qemu_takes_the_protocol_that_check_says(pvh, write, with_header):
    """By PVH SeaBIOS leaves 0 in EAX, by Multiboot there is the magic number."""
    code = b"\x66\xba\xf8\x03\xee" + elf.code()  # mov $0x3f8, %dx; out %al, %dx
    header = multiboot() if with_header else b""
    kernel = write(Elf(bits=32, segments=[Segment(data=elf.pad(code, 4) + header)]))
    protocol = verdicts(report(pvh, kernel, "--vmm", "qemu-pc"))["qemu-pc"]
    assert protocol == ("multiboot" if with_header else "pvh")
    ended = boots_on_qemu("pc", kernel)
    assert ended.stdout == (b"\x02" if with_header else b"\0") + elf.OUTPUT, ended


@pytest.mark.parametrize("monitor", QEMU)
def test_our_own_kernel_is_judged_right(pvh, kernels, monitor):
    found = report(pvh, kernels / "startinfo32", "--vmm", monitor)
    assert found["ok"] and verdicts(found) == {monitor: "pvh"}, found
    ended = boots_on_qemu(QEMU[monitor], kernels / "startinfo32")
    assert ended.stdout.startswith(b"regs ") and b"\nverdict ok\n" in ended.stdout, ended


# ---- stock kernels -----------------------------------------------------------------------------------------------

@pytest.mark.timeout(300)
@pytest.mark.parametrize("image", IMAGES)
def test_stock_kernels_are_judged_right(pvh, images, image):
    found = report(pvh, images[image])
    protocols = verdicts(found)
    assert protocols["pvh"] == protocols["xen-dom0"] == protocols["xen-domu"] == "pvh", found
    if image.endswith("bzImage"):
        assert protocols == {"pvh": "pvh", "qemu-pc": "linux", "qemu-microvm": "linux", "firecracker": None,
                             "cloud-hypervisor": "linux", "xen-dom0": "pvh", "xen-domu": "pvh", "libkrun": None}, found
    else:
        assert protocols["firecracker"] == protocols["cloud-hypervisor"] == protocols["libkrun"] == "pvh", found
        for monitor, machine in QEMU.items():
            assert protocols[monitor] == "pvh" and linux_speaks_on_qemu(machine, images[image]), found


def linux_speaks_on_qemu(machine: str, kernel: Path) -> bool:
    """Whether it prints its first line; the rest of the boot shows nothing more."""
    command = qemu_command(machine, kernel, "console=ttyS0 earlyprintk=serial", "-m", "512M")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        end = threading.Timer(100, process.kill)
        end.start()
        try:
            return any(b"Linux version" in line for line in process.stdout)
        finally:
            end.cancel()
            process.kill()


# ---- the command -------------------------------------------------------------------------------------------------

def test_a_good_kernel_is_status_0_and_a_summary(pvh, write):
    kernel = write(GOOD)
    ended = check(pvh, kernel, status=0)
    assert ended.stdout.decode() == (
        f"{kernel}: boots on: pvh yes, QEMU pc yes, QEMU microvm yes, Firecracker yes, Cloud Hypervisor yes, Xen dom0 yes, "
        "Xen domU yes, libkrun yes\n")


def test_quiet_says_nothing_of_what_is_fine(pvh, write):
    assert check(pvh, write(GOOD), "--quiet", status=0).stdout == b""


def test_a_finding_is_one_line(pvh, write):
    kernel = write(Elf(bits=64, segments=[Segment(flags=5)], note_segments=[], note_sections=[NoteSegment(notes=[entry_note(size=8)])]))
    lines = check(pvh, kernel, status=MALFORMED).stdout.decode().splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith(f"{kernel}: error: note-not-in-segment (QEMU pc, QEMU microvm, Firecracker, Cloud Hypervisor, "
                               "libkrun), at offset 0x"), lines
    assert "pvh_add_kernel" in lines[0] and "`PHDRS { note PT_NOTE FLAGS(4); }`" in lines[0], lines
    assert lines[1].endswith("Xen dom0 yes, Xen domU yes, libkrun no"), lines
    assert check(pvh, kernel, "--quiet", status=MALFORMED).stdout.decode().splitlines() == lines[:1]


@pytest.mark.parametrize("kernel,fix", [
    (Elf(bits=64, note_segments=[]), "pvh_add_kernel"),
    (Elf(bits=64, note_segments=[NoteSegment(notes=[BUILD_ID])]), "KEEP(*(.note.Xen))"),
    (Elf(bits=64, note_segments=[], note_sections=[NoteSegment()]), "pvh_add_kernel"),
    (Elf(bits=64, segments=[Segment(data=CODE + multiboot())]), "remove the Multiboot1 header"),
], ids=["no-note", "note-dropped", "section-only", "multiboot1"])
def test_the_build_is_told_the_fix(pvh, write, kernel, fix):
    ended = check(pvh, write(kernel), "--quiet", status=MALFORMED)
    assert len(ended.stdout.splitlines()) == 1 and fix in ended.stdout.decode(), ended


def test_vmm_narrows_to_those_named(pvh, write):
    kernel = write(Elf(bits=32, segments=[Segment(flags=5)]))
    check(pvh, kernel, status=MALFORMED)
    ended = check(pvh, kernel, "--vmm", "qemu-pc", "--vmm", "xen-domu", status=0)
    assert ended.stdout.decode() == f"{kernel}: boots on: QEMU pc yes, Xen domU yes\n"
    ended = check(pvh, kernel, "--vmm", "qemu-pc", "--vmm", "firecracker", status=MALFORMED)
    assert "elf32 (Firecracker)" in ended.stdout.decode(), ended


def test_the_option_may_come_before_the_kernel(pvh, write):
    ended = run([pvh, "check", "--vmm", "pvh", write(GOOD)])
    assert (ended.status, ended.stderr) == (0, ""), ended


def test_strict_makes_warnings_count(pvh, write):
    kernel = write(loaded_at(0x90000))
    warned = ["--vmm", "qemu-pc"]
    assert ": warning: low-load-address (QEMU pc)" in check(pvh, kernel, *warned, status=0).stdout.decode()
    assert check(pvh, kernel, *warned, "--quiet", status=0).stdout == b""
    ended = check(pvh, kernel, *warned, "--quiet", "--strict", status=MALFORMED)
    assert ": warning: low-load-address" in ended.stdout.decode(), ended
    assert not report(pvh, kernel, *warned, "--strict")["ok"]


def test_a_note_never_counts(pvh, write):
    kernel = write(noted(entry_note(size=4)))
    assert ": note: short-descriptor" in check(pvh, kernel, "--strict", status=0).stdout.decode()


def test_json_has_the_promised_shape(pvh, write):
    kernel = write(Elf(bits=32, segments=[Segment(flags=5)]))
    found = report(pvh, kernel)
    assert set(found) == {"version", "file", "ok", "monitors", "findings"}
    assert (found["version"], found["file"], found["ok"]) == (1, str(kernel), False)
    assert [monitor["name"] for monitor in found["monitors"]] == MONITORS
    assert all(set(monitor) == {"name", "boots", "protocol"} for monitor in found["monitors"])
    assert all(monitor["boots"] == (monitor["protocol"] is not None) for monitor in found["monitors"])
    (finding,) = found["findings"]
    assert set(finding) == {"severity", "rule", "monitors", "offset", "what", "remedy"}
    assert (finding["severity"], finding["rule"], finding["offset"]) == ("error", "elf32", 4)
    assert finding["monitors"] == ["firecracker", "cloud-hypervisor", "libkrun"]
    assert report(pvh, write(Elf(bits=64, note_segments=[])), "--vmm", "pvh")["findings"][0]["offset"] is None


def test_a_bzimage_is_judged_for_each(pvh, write):
    found = report(pvh, write(bzimage(GOOD.build())))
    assert verdicts(found) == {"pvh": "pvh", "qemu-pc": "linux", "qemu-microvm": "linux", "firecracker": None,
                               "cloud-hypervisor": "linux", "xen-dom0": "pvh", "xen-domu": "pvh", "libkrun": None}


@pytest.mark.parametrize("name,content,status,says", [
    ("no-such-file", None, MISSING, "no such file"),
    ("empty", b"", MALFORMED, "the file is empty"),
    ("text", b"#!/bin/sh\n", MALFORMED, "not a kernel"),
    ("cut", GOOD.build()[:40], MALFORMED, "cut short"),
], ids=lambda value: value if isinstance(value, str) and "-" in value else "")
@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]], ids=["text", "quiet", "json"])
def test_what_is_no_kernel_is_a_complaint(pvh, tmp_path, name, content, status, says, options):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    ended = run([pvh, "check", path, *options])
    assert (ended.status, ended.stdout) == (status, b""), ended
    assert ended.stderr.startswith(f"pvh: {path}: ") and says in ended.stderr and ended.stderr.count("\n") == 1, ended


def test_a_folder_is_status_66(pvh, tmp_path):
    ended = run([pvh, "check", tmp_path])
    assert (ended.status, ended.stdout) == (MISSING, b"") and ended.stderr.startswith(f"pvh: {tmp_path}: "), ended


def test_an_unreadable_kernel_is_status_66(pvh, write):
    kernel = write(GOOD)
    kernel.chmod(0)
    if os.access(kernel, os.R_OK):
        pytest.skip("this user may read everything")
    ended = run([pvh, "check", kernel])
    assert (ended.status, ended.stdout) == (MISSING, b"") and "Permission denied" in ended.stderr, ended


@pytest.mark.parametrize("arguments,says", [
    ([], "KERNEL"),
    (["{kernel}", "--vmm", "bochs"], 'no monitor "bochs"'),
    (["{kernel}", "--vmm"], "--vmm"),
    (["{kernel}", "--loud"], "--loud"),
    (["{kernel}", "--", "x"], "nothing after --"),
], ids=["no-kernel", "unknown-monitor", "no-monitor", "unknown-option", "rest"])
def test_bad_usage_is_status_64(pvh, write, arguments, says):
    kernel = write(GOOD)
    ended = run([pvh, "check", *(argument.format(kernel=kernel) for argument in arguments)])
    assert (ended.status, ended.stdout) == (USAGE, b"") and says in ended.stderr, ended
    assert ended.stderr.startswith("pvh: ") and ended.stderr.count("\n") == 1, ended


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_report_that_cannot_be_written_is_a_host_error(pvh, write, option, redirection):
    ended = run(["sh", "-c", f'exec "$0" check {option} "$1" {redirection}', pvh, write(GOOD)])
    assert ended.status == HOST_IO and ended.stderr.startswith("pvh: stdout: "), ended


def test_control_characters_do_not_reach_the_terminal(pvh, write):
    ended = check(pvh, write(GOOD, "\x1b[2Jk"), status=0)
    assert b"\x1b" not in ended.stdout and b"\\x1b[2Jk: boots on" in ended.stdout, ended


def test_the_help_names_the_monitors_and_statuses(pvh):
    ended = run([pvh, "check", "--help"])
    text = ended.stdout.decode()
    assert ended.status == 0 and "--strict" in text and "65" in text, ended
    assert all(monitor in text for monitor in MONITORS), ended


def test_a_large_kernel_takes_no_time(pvh, write):
    """It runs at build time, on every kernel: headers and notes are all that is read."""
    kernel = write(Elf(bits=64, segments=[Segment(flags=5), Segment(paddr=0x1000000, data=bytes(64 << 20), flags=6)],
                       note_segments=[NoteSegment(notes=[entry_note(size=8)])]))
    ended = check(pvh, kernel, status=0)
    assert ended.cpu < 2 * float(os.environ.get("PVH_TEST_PATIENCE", "1")), ended
