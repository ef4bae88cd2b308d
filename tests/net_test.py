# SPDX-License-Identifier: BSD-2-Clause
"""The guest's network: Debian's kernel under `pvh run --net` on the lab's KVM, over passt and over a TAP."""
import re
import shutil
from pathlib import Path

import pytest

from machines import PASST, lab_script

SCRIPTS = Path(__file__).resolve().parent / "net"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def initrd(scripted_initrd) -> Path:
    return scripted_initrd(SCRIPTS / "guest.sh")


@pytest.fixture
def network(pvh, images, initrd):
    """network(HOW, KIBIBYTES, further files...) gives the host's words and the guest's."""

    def call(how: str, kibibytes: int, *files: str) -> str:
        ended = lab_script(SCRIPTS / "host.sh", how, pvh, images["cloud-amd64-vmlinux"], initrd, str(kibibytes),
                           timeout=120, limit=280, files=files)
        print(ended)
        assert ended.status == 0, ended
        return ended.stdout.decode(errors="replace").replace("\r", "")

    return call


def word(text: str, name: str) -> str:
    match = re.search(rf"^{name} (.*)$", text, re.MULTILINE)
    assert match, f"no {name} in {text[-3000:]}"
    return match[1]


def rate(text: str, name: str, kibibytes: int) -> str:
    begin, end = map(float, word(text, name).split())
    return f"{name}: {kibibytes / 1024 / max(end - begin, 0.01):.0f} MiB/s"


@pytest.mark.skipif(not shutil.which("passt"), reason="no passt")
def test_a_user_network_needs_no_privilege_and_leaves_nothing(network):
    kibibytes = 16 << 10  # at 1 to 3 MiB/s in the lab
    text = network("user", kibibytes, *PASST)
    print(rate(text, "FETCHED", kibibytes), rate(text, "FETCHED-BACK", kibibytes))
    assert word(text, "LEASE").startswith("10.0.2.15/24 10.0.2.2 dns=")
    assert word(text, "MAC") == "52:54:00:12:34:56 MTU 65520"
    # The host's loopback is the guest's gateway, and a forwarded port leads back.
    assert word(text, "HOST-SUM") == word(text, "GUEST-SUM") == word(text, "BACK-SUM")
    # passt was killed; the guest saw it and went on to its own end.
    assert word(text, "CARRIER") == "0"
    assert word(text, "STATUS") == "0"
    assert word(text, "STDERR") == "pvh: --net user: passt: it was killed by signal 9; the guest's link is down"
    assert word(text, "IN-USE") == "74"
    assert "tcp 0.0.0.0:8000" in text and "Address already in use" in text
    assert word(text, "NO-PASST") == "66"
    assert "apt install passt" in text
    assert "NO-PASST-LEFT" in text


def test_a_tap_is_a_cable_to_the_hosts_own_network(network):
    kibibytes = 4 << 10
    text = network("tap", kibibytes)
    print(rate(text, "FETCHED", kibibytes), rate(text, "FETCHED-BACK", kibibytes))
    mac, _, mtu = word(text, "MAC").rpartition(" MTU ")
    assert int(mac[:2], 16) & 3 == 2 and mtu == "1500"
    assert word(text, "HOST-SUM") == word(text, "GUEST-SUM") == word(text, "BACK-SUM")
    assert word(text, "BUSY") == "74"
    assert "in use (tap0): Device or resource busy" in text
    assert word(text, "CARRIER") == "0"
    assert word(text, "STATUS") == "0"
    assert word(text, "STDERR").endswith("the TAP interface tap0 is gone; the guest's link is down")
    assert word(text, "NO-TAP") == "66"
