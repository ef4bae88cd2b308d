# SPDX-License-Identifier: BSD-2-Clause
"""Every attack of kernels/hostile, as docs/hostile-guests.md lists them, against a machine with every device: by the sanitizers' build,
which reports what is touched and must not be, and by the release build, of which the memory is measured."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, build_dir
from machines import PASST, lab_script

SCRIPTS = Path(__file__).resolve().parent / "hostile"
TABLE = ROOT / "docs" / "hostile-guests.md"
SEEDS = os.environ.get("PVH_SEEDS", "0").split(",")
GUEST_SECONDS = {"spin": 4, "halt": 5}  # of those that do not end by themselves
MOST_KIB = 16 * 1024
MOST_LINES = 40

pytestmark = pytest.mark.timeout(400)


def attacks() -> dict[str, list[int]]:
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| ([0-9, or]+) \|$", TABLE.read_text(), re.MULTILINE)
    return {name: [int(status) for status in re.findall(r"\d+", statuses)] for name, statuses in rows}


ATTACKS = attacks()


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory) -> list[Path]:
    """The other build's program, without what only a debugger reads, and the libraries that it needs."""
    program = Path(os.environ.get("PVH_SANITIZED", ROOT / "build" / "asan" / "bin" / "pvh"))
    assert os.access(program, os.X_OK), f"{program}: build it first (make asan), or name another one in PVH_SANITIZED"
    listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True, text=True).stdout
    small = tmp_path_factory.mktemp("sanitized") / "pvh"
    subprocess.run(["strip", "--strip-debug", "-o", small, program], check=True)
    return [small, *map(Path, re.findall(r"(?:=> |^\s*)(/\S+)", listed, re.MULTILINE))]


@pytest.fixture
def attack(pvh, kernels, sanitized):
    """attack("NAME [WORD...]") gives what tests/hostile/host.sh said of each build."""

    def call(words: str) -> dict[str, dict[str, str]]:
        limit = GUEST_SECONDS.get(words.split()[0], 90)
        ended = lab_script(SCRIPTS / "host.sh", kernels / "hostile", build_dir() / "bin" / "tests" / "vsock-tool", str(limit),
                           f"attack={words}", sanitized[0], pvh, timeout=180, limit=390, files=[*PASST, *sanitized[1:]])
        assert ended.status == 0, ended
        text = ended.stdout.decode(errors="replace").replace("\r", "")
        runs = {}
        for name, run in zip(("sanitized", "release"), re.split(r"^=== .*\n", text, flags=re.MULTILINE)[1:], strict=True):
            head, console, errors = re.split(r"^--- (?:console|errors)\n", run, flags=re.MULTILINE)
            runs[name] = dict(re.findall(r"^(\w+) ?(.*)$", head, re.MULTILINE)) | {"console": console, "errors": errors}
        return runs

    return call


def test_the_table_names_every_attack(attack):
    """Without one that it knows, the kernel names all and ends with 35."""
    run = attack("which")["release"]
    assert sorted(re.findall(r"^there is: (.*)$", run["console"], re.MULTILINE)) == sorted(ATTACKS)
    assert run["status"] == "35", run


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ATTACKS)
def test_the_monitor_answers(attack, name, seed):
    for build, run in attack(f"{name} seed={seed}").items():
        told = f"{build}: {run}"
        assert int(run["status"]) in ATTACKS[name], told
        assert not re.search("Sanitizer|runtime error", run["errors"]), told
        assert run["errors"].count("\n") <= MOST_LINES, told
        assert run["left"] == "0 0", told
        if build == "release":
            assert 0 < int(run["memory"]) <= MOST_KIB, told
        if name == "halt":
            used = [sum(map(int, pair)) for pair in zip(*[iter(run["ticks"].split())] * 2)]
            # Four a second, each a number of hundredths; the first may still see the attack's begin, the last ones its end.
            assert len(used) > 8 and used[6] - used[1] <= 10, told
