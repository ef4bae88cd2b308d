# SPDX-License-Identifier: BSD-2-Clause
"""The frames that the lab and its agent in L1 exchange: type (1 byte), length (u32, little-endian), payload.

The other side of every fact here is guest/agent.cpp.
"""

import dataclasses
import enum
import itertools
import struct

_HEADER = struct.Struct("<cI")
_ORDER = struct.Struct("<IHHQIIIII")
_WINDOW = struct.Struct("<HH")

BLOCK_SIZE = 4096


class Type(bytes, enum.Enum):
    # Guest to host.
    READY = b"R"
    STARTED = b"S"
    STDOUT = b"o"
    STDERR = b"e"
    TERMINAL = b"t"
    FILE = b"f"
    FILE_END = b"F"
    EXIT = b"X"
    FAILED = b"!"
    # Host to guest.
    ORDER = b"C"
    WINDOW = b"W"
    STDIN = b"i"


class Flag(enum.IntFlag):
    TERMINAL_IN = 1
    TERMINAL_OUT = 2
    TERMINAL_ERR = 4


def frame(kind: Type, payload: bytes = b"") -> bytes:
    return _HEADER.pack(kind.value, len(payload)) + payload


def window(rows: int, columns: int) -> bytes:
    return _WINDOW.pack(rows, columns)


@dataclasses.dataclass(frozen=True)
class PayloadFile:
    """Where a file lies on the payload disk; the offset is a multiple of BLOCK_SIZE."""

    path: bytes
    mode: int
    offset: int
    size: int

    def encode(self) -> bytes:
        return b"%d %d %d %s" % (self.mode, self.offset, self.size, self.path)


@dataclasses.dataclass(frozen=True)
class Order:
    """What the agent is to do. Strings are bytes: file names and arguments need not be UTF-8."""

    flags: Flag
    rows: int
    columns: int
    now: int
    directory: bytes
    arguments: list[bytes]
    environment: list[bytes]
    wanted: list[bytes]
    folders: list[bytes]
    files: list["PayloadFile"]

    def encode(self) -> bytes:
        files = [file.encode() for file in self.files]
        lists = (self.arguments, self.environment, self.wanted, self.folders, files)
        fixed = _ORDER.pack(self.flags, self.rows, self.columns, self.now, *map(len, lists))
        strings = [self.directory, *itertools.chain.from_iterable(lists)]
        return fixed + b"".join(string + b"\0" for string in strings)


class Decoder:
    """Turns what arrives, in pieces of any size, into frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[tuple[Type, bytes]]:
        self._pending += data
        frames = []
        position = 0
        while len(self._pending) - position >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._pending, position)
            end = position + _HEADER.size + length
            if end > len(self._pending):
                break
            frames.append((Type(kind), bytes(self._pending[position + _HEADER.size : end])))
            position = end
        del self._pending[:position]
        return frames
