# SPDX-License-Identifier: BSD-2-Clause
"""Which host files a command needs in L1, and the disk that brings them there."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from typing import IO

from . import qemu, wire
from .errors import COMMAND_UNUSABLE, INPUT_MISSING, USAGE, LabError

# L1 has its own of these; a host's file there would take its tools away.
_OWN_FOLDERS = ("/bin/", "/sbin/", "/dev/", "/proc/", "/sys/")
_PVH_IN_L1 = "/usr/bin/pvh"
_SOURCE_TREE = pathlib.Path(__file__).resolve().parents[2]

_COPY_SIZE = 1 << 20

_ELF_MAGIC = b"\x7fELF\x02\x01"
_PT_INTERP = 3


@dataclasses.dataclass
class Cargo:
    """Host files by their path in L1, and folders that shall exist there."""

    files: dict[str, str] = dataclasses.field(default_factory=dict)
    folders: set[str] = dataclasses.field(default_factory=set)


def interpreter(path: str) -> str | None:
    """The dynamic linker that a 64-bit ELF file asks for; nothing when it is static or no such file at all."""
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or not header.startswith(_ELF_MAGIC):
            return None
        (offset,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for index in range(count):
            file.seek(offset + index * size)
            entry = file.read(56)
            if len(entry) < 56:
                return None
            (kind,) = struct.unpack_from("<I", entry)
            if kind == _PT_INTERP:
                start, length = struct.unpack_from("<8xQ16xQ", entry)
                file.seek(start)
                return file.read(min(length, 256)).rstrip(b"\0").decode(errors="replace")
    return None


def _require_static(path: str) -> None:
    linker = interpreter(path)
    if linker is not None:
        raise LabError(
            f"{path}: is dynamically linked (it asks for {linker}), and L1 has no libraries: link it with -static. "
            "busybox's tools are in L1 by their plain names",
            COMMAND_UNUSABLE,
        )


def readable(path: str) -> str:
    """The path made absolute; raises when there is no such file that we may read."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}", INPUT_MISSING) from error
    if not stat.S_ISREG(mode):
        raise LabError(f"{path}: is not a regular file", INPUT_MISSING)
    if not os.access(path, os.R_OK):
        raise LabError(f"{path}: Permission denied", INPUT_MISSING)
    return os.path.abspath(path)


def _find_pvh(named: str | None) -> str:
    """--pvh, PVH_LAB_PVH, the newest of this source tree's builds, PATH."""
    named = named or os.environ.get("PVH_LAB_PVH")
    if named:
        return readable(named)
    built = [path for path in _SOURCE_TREE.glob("build/*/bin/pvh") if path.is_file()]
    if built:
        return str(max(built, key=lambda path: path.stat().st_mtime))
    found = shutil.which("pvh")
    if found is None:
        raise LabError("pvh: there is none in build/*/bin or PATH; name one with --pvh", INPUT_MISSING)
    return found


def _names(argument: str) -> Iterator[str]:
    """What in an argument may be a path: all of it, what follows a `=`, and each part between commas."""
    yield argument
    _, equals, value = argument.partition("=")
    if equals:
        yield value
    for part in argument.split(","):
        yield part
        yield from part.split("=")[1:]


def _is_own(path: str) -> bool:
    return path.startswith(_OWN_FOLDERS)


def _take_argument(argument: str, cargo: Cargo) -> None:
    for name in _names(argument):
        if not name or "\0" in name:
            continue
        path = os.path.abspath(name)
        if _is_own(path):
            continue
        if os.path.isfile(path):
            cargo.files[path] = readable(name)
        elif os.path.isdir(path):
            cargo.folders.add(path)
        elif "/" in name and os.path.isdir(os.path.dirname(path)):
            cargo.folders.add(os.path.dirname(path))


def collect(command: list[str], extra: list[str], outputs: list[str], pvh: str | None) -> Cargo:
    """Raises when a named file is missing or the program cannot run in L1."""
    cargo = Cargo()
    program = command[0]
    if program == "pvh":
        source = _find_pvh(pvh)
        _require_static(source)
        cargo.files[_PVH_IN_L1] = source
    elif "/" in program and not _is_own(os.path.abspath(program)):
        path = readable(program)
        if not os.access(path, os.X_OK):
            raise LabError(f"{program}: is not executable", COMMAND_UNUSABLE)
        _require_static(path)
        cargo.files[path] = path
    for argument in command[1:]:
        _take_argument(argument, cargo)
    for name in extra:
        path = readable(name)
        if _is_own(path):
            raise LabError(f"{name}: L1 has its own {os.path.dirname(path)}; copy the file elsewhere", USAGE)
        cargo.files[path] = path
    for name in outputs:
        cargo.folders.add(os.path.dirname(os.path.abspath(name)))
    cargo.folders = {folder for folder in cargo.folders if folder != "/" and not _is_own(folder + "/")}
    return cargo


@contextlib.contextmanager
def disk(cargo: Cargo) -> Iterator[tuple[IO[bytes], list[wire.PayloadFile]]]:
    """The payload disk, an unnamed sparse file with the cargo's files one after the other, and what lies where."""
    with tempfile.TemporaryFile(prefix="pvh-lab-") as file:
        placed = []
        offset = 0
        for path, source in sorted(cargo.files.items()):
            with open(source, "rb") as content:
                status = os.fstat(content.fileno())
                file.seek(offset)
                shutil.copyfileobj(content, file, _COPY_SIZE)
                size = file.tell() - offset
            mode = stat.S_IMODE(status.st_mode)
            placed.append(wire.PayloadFile(os.fsencode(path), mode, offset, size))
            offset += size + -size % wire.BLOCK_SIZE
        if offset > qemu.PAYLOAD_SIZE:
            limit = qemu.PAYLOAD_SIZE >> 20
            raise LabError(f"the command's files take {offset >> 20} MiB; the lab can bring {limit} MiB into L1")
        file.truncate(qemu.PAYLOAD_SIZE)
        file.flush()
        yield file, placed
