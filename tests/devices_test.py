# SPDX-License-Identifier: BSD-2-Clause
"""A machine with every device at once, in the lab: processors, memory above 4 GiB, disks, network, vsock, balloon, rng."""
import re
from pathlib import Path

import pytest

from conftest import build_dir
from machines import PASST, lab_script
from running import Ended

SCRIPTS = Path(__file__).resolve().parent / "devices"
FILLED_KIB = 400 * 1024

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("devices")]


@pytest.fixture(scope="module")
def tool() -> Path:
    return build_dir() / "bin" / "tests" / "vsock-tool"


@pytest.fixture(scope="module")
def machine(pvh, images, scripted_initrd, tool) -> Ended:
    initrd = scripted_initrd(SCRIPTS / "guest.sh", tool)
    ended = lab_script(SCRIPTS / "host.sh", pvh, images["cloud-amd64-vmlinux"], initrd, tool, tool.with_name("uds-tool"),
                       timeout=130, limit=290, files=PASST)
    print(ended.stdout.decode(errors="replace"), ended.stderr)
    assert ended.status == 0, ended
    return ended


@pytest.fixture(scope="module")
def said(machine) -> dict[str, str]:
    text = machine.stdout.decode(errors="replace").replace("\r", "")
    return dict(re.findall(r"^([A-Z-]+) (.*?)$", text, re.MULTILINE))


def test_the_guest_has_what_was_asked_for(said):
    assert said["CPUS"] == "4"
    assert 5.5 < int(said["MEMTOTAL"]) / 2**20 < 6
    assert said["DISKS"] == "8192 8192"
    assert said["RNG"] == "virtio_rng.0 16"
    assert said["FETCHED"] == said["PAGE"]


def test_vsock_connects_both_ways_and_refuses_both_ways(said):
    assert said["TO-GUEST"] == "SAME 3000000"
    assert said["TO-HOST"] == "SAME 3000000"
    assert said["TO-GUEST-NOBODY"] == "REFUSED"
    assert "onnection reset" in said["TO-NOBODY"]
    assert said["SOCKET"] == "gone", "it is taken away at the end"


def test_memory_that_the_guest_freed_goes_back_to_the_host(said):
    filled, freed = map(int, said["RESIDENT"].split())
    assert filled > FILLED_KIB
    assert filled - freed >= 0.8 * FILLED_KIB


def test_the_balloon_is_as_large_as_it_was_told(said):
    assert said["INFLATED"] == '{"target_bytes":536870912,"actual_bytes":536870912}'
    assert said["DEFLATED"] == '{"target_bytes":0,"actual_bytes":0}'


def test_it_ends_as_it_was_told(said):
    assert said["STATUS"] == "143"


@pytest.mark.parametrize(("vsock", "status", "words"), [
    ("cid=2,uds=x", 64, "from 3 to"),
    ("cid=3", 64, "write cid=N,uds=PATH"),
    (f"cid=3,uds={'x' * 200}", 74, "must be shorter"),
    ("cid=3,uds=/no/such/folder/v", 74, "No such file or directory"),
])
def test_what_cannot_be_a_vsock_is_named(boot, kernels, vsock, status, words):
    ended = boot(kernels / "startinfo32", "--vsock", vsock)
    assert (ended.status, ended.stdout) == (status, b""), ended
    assert words in ended.stderr, ended
