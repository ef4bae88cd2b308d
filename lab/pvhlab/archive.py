# SPDX-License-Identifier: BSD-2-Clause
"""Initial ramdisks: a gzipped "newc" cpio archive whose bytes depend on its contents only."""

import dataclasses
import gzip
import stat


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file, directory or device node. `path` has no leading slash."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str) -> Entry:
    return Entry(path, stat.S_IFDIR | 0o755)


def regular(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, data)


def program(path: str, data: bytes) -> Entry:
    return regular(path, data, 0o755)


def character_device(path: str, major: int, minor: int) -> Entry:
    return Entry(path, stat.S_IFCHR | 0o600, device=(major, minor))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def cpio(entries: list[Entry]) -> bytes:
    """Owner root, time 0, inodes by position, sorted by path: the same contents are the same bytes.

    Sorting also puts each folder before what is in it, which the kernel's unpacker needs.
    """
    ordered = sorted(entries, key=lambda entry: entry.path.split("/"))
    records = [_record(inode, entry) for inode, entry in enumerate(ordered, start=1)]
    return b"".join(records) + _record(0, Entry("TRAILER!!!", 0))


def initrd(entries: list[Entry]) -> bytes:
    return gzip.compress(cpio(entries), compresslevel=6, mtime=0)
