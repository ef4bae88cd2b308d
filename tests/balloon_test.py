# SPDX-License-Identifier: BSD-2-Clause
"""The guest's memory is asked for, given back and taken again, by the control of `--balloon`, in the lab."""
import json
import re
from pathlib import Path

import pytest

from conftest import build_dir
from machines import lab_script

SCRIPTS = Path(__file__).resolve().parent / "balloon"
MIB = 1 << 20
ASKED = 300 * MIB

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("balloon")]


@pytest.fixture(scope="module")
def said(pvh, images, scripted_initrd) -> dict[str, str]:
    tool = build_dir() / "bin" / "tests" / "uds-tool"
    ended = lab_script(SCRIPTS / "host.sh", pvh, images["cloud-amd64-vmlinux"], scripted_initrd(SCRIPTS / "guest.sh"), tool,
                       timeout=140, limit=290)
    text = ended.stdout.decode(errors="replace").replace("\r", "")
    print(text, ended)
    assert ended.status == 0
    return dict(re.findall(r"^([A-Z-]+) (.*?)$", text, re.MULTILINE))


def available(said: dict[str, str], when: str) -> int:
    return int(said[f"AVAILABLE-{when}"]) << 10


def test_the_control_answers_and_refuses(said):
    assert json.loads(said["AT-FIRST"]) == {"target_bytes": 0, "actual_bytes": 0}
    assert "not a size" in json.loads(said["NO-SIZE"])["error"]
    assert str(512 * MIB) in json.loads(said["TOO-MUCH"])["error"]
    assert json.loads(said["ASKED"])["target_bytes"] == ASKED


def test_what_the_guest_gives_is_the_hosts(said):
    assert json.loads(said["INFLATED"]) == {"target_bytes": ASKED, "actual_bytes": ASKED}
    before, after = (int(kib) << 10 for kib in said["RESIDENT"].split())
    assert before - after >= 0.8 * ASKED
    lost = available(said, "BEFORE") - available(said, "INFLATED")
    assert 0.9 * ASKED < lost < 1.1 * ASKED


def test_what_it_gets_again_it_can_use(said):
    assert json.loads(said["DEFLATED"]) == {"target_bytes": 0, "actual_bytes": 0}
    assert available(said, "DEFLATED") > available(said, "BEFORE") - 0.1 * ASKED
    assert said["FILLED"] == str(250 * MIB)
    assert int(said["RESIDENT-FILLED"]) << 10 > 250 * MIB


def test_a_guest_that_starts_again_has_the_same_target(said):
    assert json.loads(said["REBORN"]) == {"target_bytes": 100 * MIB, "actual_bytes": 100 * MIB}
    lost = available(said, "BEFORE") - available(said, "REBORN")
    assert 80 * MIB < lost < 130 * MIB
    assert (said["STATUS"], said["SOCKET"]) == ("0", "gone")


@pytest.mark.parametrize(("value", "status", "words"), [
    ("=300M", 64, "write --balloon or --balloon=uds=PATH"),
    (f"=uds={'x' * 200}", 74, "must be shorter"),
    ("=uds=/no/such/folder/b", 74, "No such file or directory"),
    ("=uds=/dev/null", 74, "no socket"),
])
def test_what_cannot_be_a_control_is_named(boot, kernels, value, status, words):
    ended = boot(kernels / "startinfo32", f"--balloon{value}")
    assert (ended.status, ended.stdout) == (status, b""), ended
    assert words in ended.stderr, ended
