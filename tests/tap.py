# SPDX-License-Identifier: BSD-2-Clause
"""Reads what kernels/probe and kernels/bsd-walk say (their claims.hpp show the lines), and the lists of what they judge."""
import re
from dataclasses import dataclass, field
from pathlib import Path

CLAIMS = Path(__file__).resolve().parent.parent / "kernels" / "probe" / "claims.inc"

LINE = re.compile(r"(not )?ok (\d+) - (\S+)(?: # (SKIP )?(.*))?")
NOTE = re.compile(r"# note (\S+): (.*)")
LISTED = re.compile(r'^(CLAIM|NOTE)\(\w+,\s*((?:"[^"]*",?\s*)+)\)', re.MULTILINE)


@dataclass(frozen=True)
class Listed:
    identifier: str
    source: str  # empty for a note
    text: str


def listed(path: Path = CLAIMS) -> tuple[list[Listed], list[Listed]]:
    """The claims and the notes that there are, in the kernel's order."""
    claims, notes = [], []
    for match in LISTED.finditer(path.read_text()):
        words = re.findall(r'"([^"]*)"', match[2])
        if match[1] == "CLAIM":
            claims.append(Listed(*words))
        else:
            notes.append(Listed(words[0], "", words[1]))
    return claims, notes


@dataclass
class Judgement:
    """What a kernel found: identifiers with the words that stand behind them."""
    held: list[str] = field(default_factory=list)
    deviations: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    verdict: str = ""


def parse(output: bytes, path: Path = CLAIMS) -> Judgement:
    """Takes a whole report only: every claim once, numbered in order, with a plan and a verdict that agree with them."""
    found = Judgement()
    plan, numbers = None, []
    for line in output.decode("ascii", errors="replace").replace("\r", "").splitlines():
        if match := LINE.fullmatch(line):
            numbers.append(int(match[2]))
            if match[4]:
                found.skipped[match[3]] = match[5]
            elif match[1]:
                found.deviations[match[3]] = match[5] or ""
            else:
                found.held.append(match[3])
        elif match := NOTE.fullmatch(line):
            found.notes[match[1]] = match[2]
        elif match := re.fullmatch(r"1\.\.(\d+)", line):
            plan = int(match[1])
        elif line.startswith("verdict "):
            found.verdict = line.removeprefix("verdict ")
    said = output[-3000:]
    assert plan == len(numbers) and numbers == list(range(1, len(numbers) + 1)), f"plan {plan}, lines {numbers}: {said}"
    judged = [*found.held, *found.deviations, *found.skipped]
    assert sorted(judged) == sorted(claim.identifier for claim in listed(path)[0]), f"not every claim once: {said}"
    expected = f"deviating {len(found.deviations)}" if found.deviations else "conforming"
    assert found.verdict == expected, said
    return found


def checksum(data: bytes) -> int:
    """FNV-1a of 32 bits, as kernels/common/checksum.hpp."""
    total = 2166136261
    for byte in data:
        total = (total ^ byte) * 16777619 & 0xFFFFFFFF
    return total


def expectations(line: str, modules: list[bytes]) -> str:
    """A command line that begins with `line` and tells the probe what it is to find."""
    words = [line, f"expect.modules={len(modules)}"]
    words += [f"expect.module={i},{len(data)},{checksum(data):#x}" for i, data in enumerate(modules)]
    before = " ".join(words) + " "
    return f"{before}expect.line={checksum(before.encode()):#x}"
