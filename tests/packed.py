# SPDX-License-Identifier: BSD-2-Clause
"""bzImages, compressed files, and bombs: small files that name enormous ones."""
import binascii
import bz2
import gzip
import lzma
import struct
import zlib

MAGIC = {
    "gzip": b"\x1f\x8b\x08\x00", "bzip2": b"BZh9", "xz": b"\xfd7zXZ\x00", "lzma": b"\x5d\x00\x00\x00",
    "lzop": b"\x89LZO\x00\r\n\x1a\n", "lz4": b"\x04\x22\x4d\x18", "lz4-legacy": b"\x02\x21\x4c\x18",
    "zstd": b"\x28\xb5\x2f\xfd",
}

PACKERS = {
    "none": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
}

SECTOR = 512


def bzimage(payload: bytes, **fields: int) -> bytes:
    """A setup header of protocol 2.15 over one sector of setup code. Fields by their names in Linux' boot.rst."""
    values = {"setup_sects": 1, "boot_flag": 0xAA55, "header": 0x53726448, "version": 0x020F, "loadflags": 1,
              "payload_offset": 0, "payload_length": len(payload), "syssize": (len(payload) + 15) // 16} | fields
    places = {"setup_sects": (0x1F1, "<B"), "syssize": (0x1F4, "<I"), "boot_flag": (0x1FE, "<H"),
              "header": (0x202, "<I"), "version": (0x206, "<H"), "loadflags": (0x211, "<B"),
              "payload_offset": (0x248, "<I"), "payload_length": (0x24C, "<I")}
    image = bytearray(2 * SECTOR)
    image[0x200:0x202] = b"\xeb\x66"  # a jump over the header, whose length loaders read from it
    for name, value in values.items():
        offset, layout = places[name]
        struct.pack_into(layout, image, offset, value)
    return bytes(image) + payload


def with_length(packed: bytes, unpacked_size: int) -> bytes:
    """As the Linux build appends it to everything but gzip, which ends in it anyway."""
    return packed + struct.pack("<I", unpacked_size & 0xFFFFFFFF)


def gzip_bomb(size: int) -> bytes:
    """One flushed piece of zeroes, over and over; after a full flush the next piece depends on nothing before it."""
    piece = 1 << 24
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    count = size // piece
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packed * count + b"\x03\x00" + struct.pack("<II", 0, size & 0xFFFFFFFF)


def xz_varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def xz_bomb(size: int) -> bytes:
    """One LZMA2 chunk of 2 MiB of zeroes, over and over: each one resets the dictionary (xz-file-format.txt)."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    chunk = lzma.compress(bytes(1 << 21), format=lzma.FORMAT_RAW, filters=filters)[:-1]
    count = size // (1 << 21)
    body = chunk * count + b"\0"
    checked = lambda data: data + struct.pack("<I", binascii.crc32(data))
    stream_header = b"\xfd7zXZ\0" + checked(b"\0\0")
    block_header = checked(b"\x02\x00\x21\x01\x10\x00\x00\x00")
    unpadded = len(block_header) + len(body)
    index = b"\0\x01" + xz_varint(unpadded) + xz_varint(count << 21)
    index = checked(index + bytes(-len(index) % 4))
    backward = struct.pack("<I", len(index) // 4 - 1) + b"\0\0"
    footer = struct.pack("<I", binascii.crc32(backward)) + backward + b"YZ"
    return stream_header + block_header + body + bytes(-len(body) % 4) + index + footer


def zstd_bomb(size: int) -> bytes:
    """RLE blocks of 128 KiB, four bytes each (RFC 8878)."""
    block = 1 << 17
    count = size // block
    blocks = [struct.pack("<I", block << 3 | 1 << 1 | (i == count - 1))[:3] + b"\0" for i in range(count)]
    return MAGIC["zstd"] + b"\x00\x38" + b"".join(blocks)


def bzip2_bomb(size: int) -> bytes:
    piece = 1 << 25
    return bz2.compress(bytes(piece)) * (size // piece)


def lz4_legacy_bomb(size: int) -> bytes:
    """A match at distance 1 whose length is 255 to every byte; the last five bytes must be literals."""
    block = 8 << 20
    match = block - 1 - 5 - 4 - 15
    packed = b"\x1f\0\x01\0" + b"\xff" * (match // 255) + bytes([match % 255]) + b"\x50" + bytes(5)
    return MAGIC["lz4-legacy"] + (struct.pack("<I", len(packed)) + packed) * (size // block)


BOMBS = {"gzip": gzip_bomb, "xz": xz_bomb, "zstd": zstd_bomb, "bzip2": bzip2_bomb, "lz4-legacy": lz4_legacy_bomb}
