# SPDX-License-Identifier: BSD-2-Clause
"""Debian 12, whole: its root file system on a disk, systemd to the login prompt, the network both ways, the power button.
PVH_DEBIAN="--memmap xen" has it on another machine."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from machines import PASST, lab_script

HOST = Path(__file__).resolve().parent / "debian" / "host.sh"

# The image is made once, by some minutes of unpacking; the boot takes another.
pytestmark = [pytest.mark.timeout(2700), pytest.mark.xdist_group("debian")]


@pytest.fixture(scope="module")
def text(pvh, lab_paths, tmp_path_factory) -> str:
    """What host and guest said, without what only a terminal minds."""
    made = subprocess.run([ROOT / "tools" / "make-debian-image"], stdout=subprocess.PIPE, check=True, text=True, timeout=1100)
    folder = Path(made.stdout.strip())
    kernel = tmp_path_factory.mktemp("debian") / "vmlinux"  # unpacking it in the lab would take longer than the boot
    subprocess.run([pvh, "extract", folder / "vmlinuz", "-o", kernel], check=True, timeout=60)
    files = [kernel, folder / "initrd.img", folder / "rootfs.img"]
    options = os.environ.get("PVH_DEBIAN", "").split()
    ended = lab_script(HOST, pvh, *files, *options, timeout=720, limit=1500, files=PASST)
    print(ended)
    assert ended.status == 0, ended
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]|\r", "", ended.stdout.decode(errors="replace"))


def word(text: str, name: str) -> str:
    match = re.search(rf"^{name} (\w+)", text, re.MULTILINE)
    assert match, f"no {name} in {text[-3000:]}"
    return match[1]


def test_systemd_comes_to_the_login_prompt_and_is_content(text):
    assert "debian login: root" in text
    assert "STATE-running ROOT-/dev/vda-ext4" in text


def test_a_page_of_the_hosts_loopback_comes_whole_and_goes_back_by_a_forwarded_port(text):
    assert word(text, "HOST-SUM") == word(text, "GUEST-SUM") == word(text, "BACK-SUM")


def test_the_power_button_is_obeyed(text):
    assert "reboot: Power down" in text
    assert word(text, "STATUS") == "0"
