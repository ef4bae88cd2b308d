# SPDX-License-Identifier: BSD-2-Clause
"""Wherever a kernel's author, compiler or linker puts the Xen note, it is found, and its kernel boots."""
import itertools
import json

import pytest

import elf
from elf import OTHER_XEN_NOTE, Elf, Note, NoteSegment, entry_note, gnu_property
from running import run

# A PT_NOTE with a note that is not ours: a build id.
BUILD_ID = Note(owner=b"GNU\0", type=3, desc=bytes(range(20)))


def matrix():
    for bits, size, align, with_property, place in itertools.product(
            (32, 64), (4, 8), (4, 8), (False, True), ("only", "first", "last", "section")):
        name = f"elf{bits}-desc{size}-align{align}{'-property' if with_property else ''}-{place}"
        notes = ([gnu_property(bits)] if with_property else []) + [entry_note(size=size)]
        # p_align says how a linker padded the notes; it pads as it says.
        ours = NoteSegment(notes=notes, padding=align, align=align)
        other = NoteSegment(notes=[BUILD_ID])
        segments = {"only": [ours], "first": [ours, other], "last": [other, ours], "section": []}[place]
        sections = [ours] if place == "section" else []
        yield name, Elf(bits=bits, note_segments=segments, note_sections=sections)


def others():
    for bits in (32, 64):
        # What every Linux since 2022 has: p_align 8 for .note.gnu.property's sake, the Xen note padded by 4 all the same.
        yield f"elf{bits}-claims-8-padded-by-4", Elf(bits=bits, note_segments=[
            NoteSegment(notes=[BUILD_ID, entry_note()], padding=4, align=8)])
        yield f"elf{bits}-notes-before-loads", Elf(bits=bits, notes_first=True)
        yield f"elf{bits}-after-other-xen-notes", Elf(bits=bits, note_segments=[
            NoteSegment(notes=[OTHER_XEN_NOTE, Note(type=1, desc=bytes(8)), entry_note()])])
        yield f"elf{bits}-before-other-xen-notes", Elf(bits=bits, note_segments=[
            NoteSegment(notes=[entry_note(), OTHER_XEN_NOTE])])
        yield f"elf{bits}-third-segment", Elf(bits=bits, note_segments=[
            NoteSegment(notes=[BUILD_ID]), NoteSegment(notes=[]), NoteSegment()])
        yield f"elf{bits}-after-a-foreign-type-18", Elf(bits=bits, note_segments=[
            NoteSegment(notes=[Note(owner=b"Foo\0", desc=bytes(4)), entry_note()])])
        yield f"elf{bits}-after-a-bad-descriptor", Elf(bits=bits, note_segments=[
            NoteSegment(notes=[Note(desc=b"\0\0")]), NoteSegment()])
        yield f"elf{bits}-segment-and-section", Elf(bits=bits, note_sections=[NoteSegment()])
        yield f"elf{bits}-section-behind-a-foreign-segment", Elf(bits=bits, note_segments=[NoteSegment(notes=[BUILD_ID])],
                                                                  note_sections=[NoteSegment()])
        for align in (0, 1, 2, 16, 4096):
            yield f"elf{bits}-p-align-{align}", Elf(bits=bits, note_segments=[NoteSegment(align=align)])
        yield f"elf{bits}-load-p-align-0", Elf(bits=bits, segments=[elf.Segment(align=0)])
        yield f"elf{bits}-load-p-align-3", Elf(bits=bits, segments=[elf.Segment(align=3)])
        yield f"elf{bits}-elf-entry-0", Elf(bits=bits, header={"e_entry": 0})
        yield f"elf{bits}-virtual-addresses", Elf(bits=bits, segments=[elf.Segment(vaddr=0x80100000)])
        yield f"elf{bits}-empty-load", Elf(bits=bits, segments=[elf.Segment(paddr=0, data=b""), elf.Segment()])
        yield f"elf{bits}-code-in-the-second-load", Elf(bits=bits, segments=[elf.Segment(paddr=0x200000, data=bytes(64)),
                                                                              elf.Segment()])


CASES = list(matrix()) + list(others())


@pytest.mark.parametrize("kernel", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_the_note_is_found_and_the_kernel_boots(boot, tmp_path, kernel):
    path = tmp_path / "kernel"
    path.write_bytes(kernel.build())
    ended = boot(path)
    assert (ended.status, ended.stdout, ended.stderr) == (elf.DEBUG_EXIT_STATUS, elf.OUTPUT, ""), ended


@pytest.mark.parametrize("kernel", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_inspect_names_the_entry(pvh, tmp_path, kernel):
    path = tmp_path / "kernel"
    path.write_bytes(kernel.build())
    ended = run([pvh, "inspect", path])
    assert ended.status == 0 and f"{elf.LOAD_ADDRESS:#x}" in ended.stdout.decode(), ended
    ended = run([pvh, "inspect", "--json", path])
    assert ended.status == 0, ended
    json.loads(ended.stdout)


def test_the_matrix_is_whole():
    assert len(list(matrix())) == 2 * 2 * 2 * 2 * 4
    assert len({name for name, _ in CASES}) == len(CASES)


def test_a_freebsd_kernel_is_known_and_a_ramdisk_for_it_is_doubted(boot, pvh, tmp_path):
    """FreeBSD takes its first module for what its own loader would have left there."""
    path = tmp_path / "kernel"
    path.write_bytes(Elf(bits=64, note_segments=[
        NoteSegment(notes=[Note(type=6, desc=b"FreeBSD\0"), entry_note()])]).build())
    ended = run([pvh, "inspect", path])
    assert ended.status == 0 and "guest os  FreeBSD" in ended.stdout.decode() and "metadata" in ended.stdout.decode(), ended
    described = json.loads(run([pvh, "inspect", "--json", path]).stdout)
    assert described["guest_os"] == "FreeBSD" and described["first_module_is_metadata"] is True
    assert boot(path).stderr == ""
    ended = boot(path, "--initrd", path)
    assert ended.status == elf.DEBUG_EXIT_STATUS, ended
    assert "metadata" in ended.stderr and str(path) in ended.stderr, ended
