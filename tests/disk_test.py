# SPDX-License-Identifier: BSD-2-Clause
"""Disks: Debian's kernel reads and writes them under `pvh run --disk` on the lab's KVM; and what `pvh` says of bad ones."""
import re
import subprocess
from pathlib import Path

import pytest

from machines import lab_script
from running import Ended

SCRIPTS = Path(__file__).resolve().parent / "disk"
SECTORS = 4 << 11  # of the images, but for the one that its file system has no room for

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def initrd(scripted_initrd) -> Path:
    return scripted_initrd(SCRIPTS / "guest.sh")


def words(ended: Ended) -> dict[str, str]:
    """What stands behind the first word of each line."""
    text = ended.stdout.decode(errors="replace").replace("\r", "")
    return dict(re.findall(r"^([A-Za-z-]+) (.*?)(?:  -)?$", text, re.MULTILINE))


def test_a_guest_reads_and_writes_its_disks_and_sees_errors_where_the_host_has_them(pvh, images, initrd):
    ended = lab_script(SCRIPTS / "host.sh", pvh, images["cloud-amd64-vmlinux"], initrd, timeout=130, limit=290)
    print(ended.stdout.decode(errors="replace"), ended.stderr)
    assert ended.status == 0
    said = words(ended)
    assert said["STATUS"] == "0", "the monitor outlives whatever its disks do"
    assert said["SIZES"].split() == [str(SECTORS)] * 3 + [str(2 * SECTORS), str(SECTORS), said["HOST-DEVICE-SIZE"]]
    assert said["RO"].split() == ["0", "1", "0", "0", "0", "0"]
    assert said["SERIAL"] == "the-serial"

    assert said["READ"] == said["HOST-BEFORE-plain"]
    assert said["FILE"] == str(48 << 16)
    assert said["VERIFIED"] == "64"
    assert said["WRITTEN"] == said["HOST-AFTER-plain"] != said["HOST-BEFORE-plain"]

    assert said["RO-READ"] == said["HOST-BEFORE-ro"] == said["HOST-AFTER-ro"]
    assert said["RO-WRITE-FAILS"] == "yes"

    assert said["SNAPSHOT-READ"] == said["HOST-BEFORE-base"] == said["HOST-AFTER-base"]
    assert said["SNAPSHOT"] == "same"
    assert said["SNAPSHOT-WRITTEN"] != said["HOST-BEFORE-base"]

    assert said["DEVICE-READ"] == said["HOST-DEVICE"] != said["DEVICE-CHANGED"]

    assert "DISCARD" in said
    assert said["FULL-FAILS"] == "yes"
    assert said["SHORT-FAILS"] == "yes"
    assert said["SHORT-BEGIN-FAILS"] == "no"
    assert "DONE" in ended.stdout.decode(errors="replace")
    assert sorted(line for line in ended.stderr.splitlines() if line.startswith("pvh:")) == [
        "pvh: disk short.img: cannot be read: the file became shorter; the guest sees an I/O error",
        "pvh: disk small/full.img: cannot be written: No space left on device; the guest sees an I/O error"]


@pytest.fixture
def refused(pvh, kernels, tmp_path):
    """refused(WORD...) gives the status and the last line of a `pvh run` that does not come to KVM."""

    def call(*disks: str) -> tuple[int, str]:
        options = [word for disk in disks for word in ("--disk", disk)]
        done = subprocess.run([pvh, "run", kernels / "startinfo32", *options], cwd=tmp_path, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=20)
        assert done.stdout == ""
        return done.returncode, done.stderr.strip()

    return call


def test_what_cannot_be_a_disk_is_named(refused, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(4096))
    (tmp_path / "small").write_bytes(bytes(511))
    for disks, status, text in [
        (["absent"], 66, "pvh: absent: the disk cannot be opened: No such file or directory"),
        (["."], 66, "pvh: .: neither a file nor a block device (a directory); give a raw disk image"),
        (["/dev/null"], 66, "pvh: /dev/null: neither a file nor a block device; give a raw disk image"),
        (["small"], 66, "pvh: small: the disk has not one sector (511 bytes); make it as large as it is to be, with "
                        "truncate -s"),
        (["disk", "disk"], 66, "pvh: disk: the disk is in use by another machine; end that one, or give the disk to "
                               "both with ,ro or ,snapshot"),
        (["disk,rw"], 64, 'pvh: --disk: "rw" is none of ro, snapshot, id=NAME, bw=N and iops=N (a comma in a file\'s '
                          "name is written twice)"),
        (["disk,ro,snapshot"], 64, "pvh: --disk: ro and snapshot exclude each other: a snapshot takes writes"),
        (["disk,ro"] * 16, 64, "17 devices: the machine has room for 16"),
    ]:
        ended, said = refused(*disks)
        assert text in said, said
        assert ended == status, said
