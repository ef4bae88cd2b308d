# SPDX-License-Identifier: BSD-2-Clause
"""What guest memory is made of on the host, in the lab: huge pages from a pool, and a memfd."""
import re
from pathlib import Path

import pytest

from machines import lab_script
from running import Ended, run

SCRIPTS = Path(__file__).resolve().parent

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("memory")]


@pytest.fixture(scope="module")
def lab_run(pvh, kernels, images, scripted_initrd) -> Ended:
    initrd = scripted_initrd(SCRIPTS / "memory" / "guest.sh")
    restart_initrd = scripted_initrd(SCRIPTS / "restart" / "guest.sh")
    ended = lab_script(SCRIPTS / "memory" / "host.sh", pvh, kernels / "startinfo32", images["cloud-amd64-vmlinux"], initrd,
                       restart_initrd, timeout=180, limit=390)
    print(ended.stdout.decode(errors="replace"), ended.stderr)
    assert ended.status == 0, ended
    return ended


@pytest.fixture(scope="module")
def lines(lab_run) -> list[str]:
    return lab_run.stdout.decode(errors="replace").replace("\r", "").splitlines()


@pytest.fixture(scope="module")
def said(lines) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in lines if re.match(r"[A-Za-z-]+ ", line))


def test_too_few_huge_pages_are_told_with_the_remedy(said):
    """65 MiB are 32 huge pages and a rest that needs none."""
    assert "(32 of 2 MiB are needed, 0 are free; `sysctl vm.nr_hugepages=32`)" in said["NO-POOL"]
    assert re.match(r"69 pvh: \S*startinfo32: the host has not enough huge pages .*32 of 2 MiB are needed, 20 are free; "
                    r"`sysctl vm.nr_hugepages=32`\); have more reserved, or run without --hugepages$", said["SMALL-POOL"])
    assert said["LEFT"] == "20", "what was taken is given back"


@pytest.mark.parametrize("shape", ["strict", "qemu", "xen"])
def test_a_guest_runs_in_exactly_as_many_as_it_needs(said, shape):
    assert said[f"STATUS-{shape}"] == "33 32"


def test_all_huge_pages_are_taken_before_the_guest_runs_and_come_back(said):
    assert said["TAKEN-AT-ONCE"] == "2"
    assert said["END-hugepages"] == "0 130"


def test_a_memfd_has_the_kernels_name_and_the_guests_size(said):
    assert said["STATUS-memfd"] == "33"
    assert said["NAME"] == f"/memfd:pvh:vmlinux (deleted) {256 << 20}"
    assert said["END-memfd"] == "0 130"


@pytest.mark.parametrize("backing", ["hugepages", "memfd"])
def test_memory_that_the_guest_freed_goes_back_and_can_be_had_again(lines, said, backing):
    filled, freed = map(int, said[f"IN-USE-{backing}"].split())
    assert filled - freed >= 80
    assert lines.count("AGAIN 0") == 2, "it is zeros, all of it"


@pytest.mark.parametrize("backing", ["hugepages", "memfd"])
def test_a_restarted_guest_finds_the_memory_there(lines, said, backing):
    assert [line for line in lines if line.startswith(f"{backing}-BOOT")] == [f"{backing}-BOOT {n}" for n in (1, 2, 3)]
    assert said[f"FREE-{backing}"] == "128"


def test_the_two_exclude_each_other(pvh, kernels):
    ended = run([pvh, "run", kernels / "startinfo32", "--hugepages", "--memfd"])
    assert (ended.status, ended.stdout) == (64, b"")
    assert "--hugepages excludes --memfd" in ended.stderr, ended
