# SPDX-License-Identifier: BSD-2-Clause
"""What a guest was told is on its disk is there after kill -9 of the monitor; PVH_KILLS=50 says how often (3)."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from machines import PASST, lab_script

SCRIPTS = Path(__file__).resolve().parent / "durability"
KILLS = int(os.environ.get("PVH_KILLS", "3"))
SECONDS = 60 + 15 * KILLS

pytestmark = pytest.mark.timeout(3 * SECONDS)


@pytest.fixture
def file_system(tmp_path) -> Path:
    image = tmp_path / "ext4"
    image.write_bytes(bytes(32 << 20))
    tool = shutil.which("mke2fs", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    subprocess.run([tool, "-q", "-t", "ext4", image], check=True, timeout=20)
    return image


def test_a_write_that_was_acknowledged_survives_the_monitors_death(pvh, images, scripted_initrd, file_system):
    initrd = scripted_initrd(SCRIPTS / "guest.sh")
    ended = lab_script(SCRIPTS / "host.sh", pvh, images["cloud-amd64-vmlinux"], initrd, file_system, str(KILLS),
                       timeout=SECONDS, limit=2.5 * SECONDS, files=PASST)
    text = ended.stdout.decode()
    print(text, ended.stderr)
    assert ended.status == 0
    rounds = [tuple(map(int, found)) for found in re.findall(
        r"ROUND \d+ KEPT (\d+) OF (\d+) REPLAYS (\d+) BLOCKS (\d+) LOST (\d+) CHILDREN (\d+) LEFT (\d+)", text)]
    assert len(rounds) == KILLS
    for number, (kept, told, replays, blocks, lost, children, left) in enumerate(rounds):
        assert (kept >= told, lost, left) == (True, 0, 0), number
        assert replays == int(number > 0) and blocks >= 5 and children > 0, number
    last = re.search(r"END STATUS 0 KEPT (\d+) OF (\d+) REPLAYS 1", text)
    assert last and int(last[1]) >= int(last[2]) >= 5 * KILLS
    assert "LOCKED 66" in text
    assert ("pvh: blocks.img: the disk is in use by another machine; end that one, or give the disk to both with ,ro "
            "or ,snapshot") in ended.stderr
