# SPDX-License-Identifier: BSD-2-Clause
"""docs/compatibility.json: what kernels/probe finds in each environment, and why; and docs/compatibility.md, which is made
from it. tools/compatibility is the command; matrix_test.py holds the machines to it."""
import json
import random
from pathlib import Path

import tap
from machines import ENVIRONMENTS, ROOT, Boot

RECORD = ROOT / "docs" / "compatibility.json"
PAGE = ROOT / "docs" / "compatibility.md"

MODULE = random.Random(37).randbytes(37_001)


def probe_boot(kernels: Path, folder: Path) -> Boot:
    """What every environment is judged by: 256 MiB, one processor, one module, one command line."""
    module = folder / "module"
    module.write_bytes(MODULE)
    return Boot(kernels / "probe", tap.expectations("console=ttyS0 k=v -x", [MODULE]), modules=[(module, "")])


def load() -> dict:
    return json.loads(RECORD.read_text())


def to_record(found: dict[str, tap.Judgement], known: dict) -> dict:
    """The reasons are people's and are kept; a finding that is new has none, and matrix_test.py asks for it."""
    record = {}
    for name, judgement in found.items():
        old = known.get(name, {})

        def explained(kind: str, findings: dict[str, str]) -> dict:
            return {identifier: {"measured": measured, "why": old.get(kind, {}).get(identifier, {}).get("why", "")}
                    for identifier, measured in sorted(findings.items())}

        record[name] = {
            "deviations": explained("deviations", judgement.deviations),
            "notes": dict(sorted(judgement.notes.items())),
            "skipped": dict(sorted(judgement.skipped.items())),
        }
    return record


def save(record: dict) -> None:
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    PAGE.write_text(page(record))


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in [head, *rows]]
    return [lines[0], "|" + "---|" * len(head), *lines[1:], ""]


def page(record: dict) -> str:
    claims, notes = tap.listed()
    names = list(record)

    def verdict(name: str, claim: str) -> str:
        if claim in record[name]["deviations"]:
            return "**no**"
        return "-" if claim in record[name]["skipped"] else "yes"

    def summary(name: str) -> list[str]:
        environment, found = ENVIRONMENTS[name], record[name]
        held = len(claims) - len(found["deviations"]) - len(found["skipped"])
        deviations = ", ".join(found["deviations"]) or "none"
        return [name, environment.what, str(environment.version), environment.source, str(held), deviations]

    deviations = [[name, identifier, found["measured"], found["why"]] for name in names
                  for identifier, found in record[name]["deviations"].items()]
    own = [claim for claim in claims if claim.source.startswith("runtime")]
    theirs = [claim for claim in claims if claim not in own]
    lines = [
        "# Compatibility",
        "",
        "What `kernels/probe`, one and the same file, finds where it is booted. `tools/compatibility` makes this page from",
        "`compatibility.json`, `tools/compatibility --measure` both anew; `tests/matrix_test.py` fails on a deviation that is not in",
        "here, and on one that is here and does not happen. QEMU and Xen are Debian 12's. `pvh run --memmap SHAPE` is our monitor",
        "with another's placement and map, its faults included. How each claim is worded and judged: `kernels/probe`.",
        "",
        "## Environments",
        "",
        *table(["environment", "what", "start_info version", "map from", "claims that hold", "deviations"],
               [summary(name) for name in names]),
        "## Deviations",
        "",
        *table(["environment", "claim", "measured", "why"], deviations),
        "## Claims of the specification",
        "",
        "yes: it holds; **no**: it does not; -: there is nothing to judge it by.",
        "",
        *table(["claim", "source", *names],
               [[claim.identifier, claim.source, *(verdict(name, claim.identifier) for name in names)] for claim in theirs]),
        "## The runtime's own word",
        "",
        *table(["claim", "text", *names],
               [[claim.identifier, claim.text, *(verdict(name, claim.identifier) for name in names)] for claim in own]),
        "## Notes",
        "",
        "What no specification forbids and kernels have tripped over all the same.",
        "",
        *table(["note", "text", *names],
               [[note.identifier, note.text, *("x" if note.identifier in record[name]["notes"] else "" for name in names)]
                for note in notes]),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"
