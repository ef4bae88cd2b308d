# SPDX-License-Identifier: BSD-2-Clause
"""Many machines at once, side by side on one disk: each is by itself, and nothing stays when they have ended."""
import re
from pathlib import Path

import pytest

from machines import PASST, lab_script

SCRIPTS = Path(__file__).resolve().parent / "many"

pytestmark = pytest.mark.timeout(300)


def test_many_machines_start_run_and_end(pvh, kernels, images, scripted_initrd):
    initrd = scripted_initrd(SCRIPTS / "guest.sh")
    ended = lab_script(SCRIPTS / "host.sh", pvh, kernels / "startinfo32", images["cloud-amd64-vmlinux"], initrd,
                       timeout=130, limit=290, files=PASST)
    text = ended.stdout.decode(errors="replace").replace("\r", "")
    print(re.sub(r"(?m)^(?![A-Z]{4}).*\n", "", text), ended.stderr)
    assert ended.status == 0, ended

    def footprint(when: str) -> tuple[int, int]:
        processes, files = re.search(rf"^{when} (\d+) (\d+)$", text, re.MULTILINE).groups()
        return int(processes), int(files)

    assert "verdict 20\n" in text and text.count("verdict ok") == 20
    assert text.count("SMALL 143\n") == 20 == ended.stderr.count("ended by SIGTERM")
    assert footprint("RUNNING")[0] >= footprint("BEFORE")[0] + 40, "each had a passt"
    assert text.count("LINUX 0\n") == 3
    assert sorted(re.findall(r"^FOUND +guest (\d)", text, re.MULTILINE)) == ["1", "2", "3"]
    assert footprint("AFTER") == footprint("BEFORE"), "no process, no file is left"
