# SPDX-License-Identifier: BSD-2-Clause
"""The files that the checks in tools/ look at, and how they report."""
import subprocess
from pathlib import Path


def files(root: Path) -> list[Path]:
    """What git knows or would add under root; without git everything but build/. Sorted, relative to root."""
    # The checks must also run for root in a tree that belongs to somebody else.
    listing = subprocess.run(["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z", "--cached", "--others",
                              "--exclude-standard"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if listing.returncode == 0:
        names = {Path(name) for name in listing.stdout.decode().split("\0") if name}
    else:
        names = {path.relative_to(root) for path in root.rglob("*")}
        names = {name for name in names if name.parts[0] not in ("build", ".git") and "__pycache__" not in name.parts}
    return sorted(name for name in names if (root / name).is_file())


def report(findings: list[str], what: str) -> int:
    for finding in findings:
        print(finding)
    if findings:
        print(f"{len(findings)} {what}")
    return 1 if findings else 0
