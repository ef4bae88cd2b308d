# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernel with a disk, a network and its processors on each peer's memory map, with and without ACPI; and the ACPI
tables as ACPICA's own programs read them, in the guest and out of it."""
import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from machines import PASST, lab_script

SCRIPTS = Path(__file__).resolve().parent / "shapes"
ACPIDUMP = ["/usr/bin/acpidump", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def initrd(scripted_initrd) -> Path:
    return scripted_initrd(SCRIPTS / "guest.sh", *map(Path, ACPIDUMP))


@pytest.fixture
def boot_linux(pvh, images, initrd, tmp_path):
    """boot_linux(IMAGE, OPTION...) gives what the guest said."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"the host's disk " * 4096)

    def call(image: str, *options: str) -> str:
        ended = lab_script(SCRIPTS / "host.sh", pvh, "run", images[image], "--initrd", initrd, "-m", "512M", "-c", "4",
                           "--disk", f"{disk},ro", "--net", "user", *options, "--", "console=ttyS0", "pvh.test=script",
                           timeout=100, limit=250, files=PASST)
        assert (ended.status, ended.stderr) == (0, ""), ended
        return ended.stdout.decode(errors="replace").replace("\r", "")

    return call


def words(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z-]+) (.*?)(?:  -)?$", text, re.MULTILINE))


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("options", ["strict", "strict --poison", "qemu", "qboot", "firecracker", "cloud-hypervisor", "xen"])
def test_linux_finds_its_devices_on_every_map_and_ACPICA_its_tables(boot_linux, options, tmp_path):
    text = boot_linux("cloud-amd64-vmlinux", "--memmap", *options.split())
    said = words(text)
    assert (said["CPUS"], said["COMPLAINTS"], said["RNG"]) == ("4", "0", "16"), text
    assert said["DISK"] == md5(b"the host's disk " * 4096)
    assert said["FETCHED"] == md5(b"the host's page\n")

    dump = re.search(r"^TABLES-BEGIN\n(.*)^TABLES-END", text, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "dump").write_text(dump)
    tool = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 20}
    extracted = subprocess.run(["acpixtract", "-a", "dump"], **tool)
    assert extracted.returncode == 0, extracted.stdout
    tables = sorted(path.name for path in tmp_path.glob("*.dat"))
    assert tables == ["apic.dat", "dsdt.dat", "facp.dat"]
    for table in tables:
        read = subprocess.run(["iasl", "-d", table], **tool)
        assert read.returncode == 0 and not re.search("rror|arning|nvalid|ncorrect", read.stdout), read.stdout
    assert (tmp_path / "apic.dsl").read_text().count("[Processor Local APIC]") == 4
    assert len(re.findall("LNRO0005", (tmp_path / "dsdt.dsl").read_text())) == 3


def test_linux_finds_its_processors_by_the_MP_table_alone(boot_linux):
    text = boot_linux("amd64-vmlinux", "--no-acpi")  # the cloud flavour does not look for one
    said = words(text)
    assert (said["CPUS"], said["MP-TABLE"]) == ("4", "1"), text
