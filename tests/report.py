# SPDX-License-Identifier: BSD-2-Clause
"""Reads what kernels/startinfo32 prints (its lines are in kernels/README.md)."""
import re
from dataclasses import dataclass, field

OK, BAD_MAGIC, BAD_POINTER, BAD_RSDP = 33, 35, 37, 39

FIELD = re.compile(r' (\w+)=("[^"]*"|\S+)')
ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")

SHOWN_TEXT = 256


def value_of(text: str) -> int | bytes | str:
    if text.startswith('"'):
        return ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text[1:-1].encode())
    return int(text, 16) if text.startswith("0x") else text


@dataclass
class Report:
    regs: dict = field(default_factory=dict)
    segments: dict = field(default_factory=dict)
    tables: dict = field(default_factory=dict)
    start_info: dict = field(default_factory=dict)
    cmdline: dict = field(default_factory=dict)
    modules: list[dict] = field(default_factory=list)
    memmap: list[dict] = field(default_factory=list)
    rsdp: dict = field(default_factory=dict)
    verdict: str = ""
    rest: bytes = b""  # what the kernel printed after the verdict


def parse(output: bytes) -> Report:
    report = Report()
    head, _, rest = output.partition(b"\nverdict ")
    verdict, _, report.rest = rest.partition(b"\n")
    report.verdict = verdict.decode()
    for line in head.decode("ascii").splitlines():
        word = line.split(" ", 1)[0]
        values = {name: value_of(text) for name, text in FIELD.findall(line)}
        index = re.match(r"(?:module|memmap) (\d+) ", line)
        if index:
            entries = report.modules if word == "module" else report.memmap
            assert int(index[1]) == len(entries), f"out of order: {line}"
            entries.append(values)
        else:
            assert word in ("regs", "segments", "tables", "start_info", "cmdline", "rsdp"), f"unknown line: {line}"
            setattr(report, word, values)
    return report


def checksum(data: bytes, all_of_it: bool = False) -> int:
    """Of all bytes, or of the first and the last 512 when there are more than both together."""
    if len(data) > 1024 and not all_of_it:
        data = data[:512] + data[-512:]
    data += bytes(-len(data) % 4)
    total = 0
    for i in range(0, len(data), 4):
        total = ((total << 1 | total >> 31) + int.from_bytes(data[i:i + 4], "little")) & 0xFFFFFFFF
    return total
