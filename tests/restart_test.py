# SPDX-License-Identifier: BSD-2-Clause
"""A guest that resets its machine starts again where it was asked for, with its devices as it left them."""
import re
from pathlib import Path

import pytest

from conftest import LAB
from running import run

SCRIPTS = Path(__file__).resolve().parent / "restart"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def initrd(scripted_initrd) -> Path:
    return scripted_initrd(SCRIPTS / "guest.sh")


@pytest.fixture
def boots(pvh, images, initrd, tmp_path):
    """boots(OPTION...) gives the numbers of the boots that the guest counted."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(4096))

    def call(*options: str) -> list[int]:
        command = [pvh, "run", images["cloud-amd64-vmlinux"], "--initrd", initrd, "-c", "2", "--disk", f"{disk},snapshot",
                   "--timeout", "100", *options, "--", "console=ttyS0", "quiet", "pvh.test=script"]
        ended = run([LAB, "run", "--hold", "--timeout", "120", "--file", pvh, "--file", disk, "--", "env", "TMPDIR=/tmp",
                     *command], limit=290)
        assert (ended.status, ended.stderr) == (0, ""), ended
        return [int(number) for number in re.findall(r"^BOOT (\d+) UPTIME \d+ RANDOM 8", ended.stdout.decode(), re.MULTILINE)]

    return call


def test_a_reset_starts_the_guest_again_and_a_snapshot_keeps_what_was_written(boots):
    assert boots("--on-reboot", "restart") == [1, 2, 3]


def test_a_reset_is_the_end_where_nothing_else_is_said(boots):
    assert boots() == [1]


def test_only_two_things_can_be_done(pvh, kernels):
    ended = run([pvh, "run", kernels / "startinfo32", "--on-reboot", "again"])
    assert (ended.status, ended.stdout) == (64, b"")
    assert "write exit or restart" in ended.stderr
