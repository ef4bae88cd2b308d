# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own kernels, unmodified, under `pvh run` on real KVM: in the lab when this CPU has no vmx or svm."""
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import LAB
from running import Ended, run

# A boot may need its second try.
pytestmark = pytest.mark.timeout(300)

MARKER = "PVH-TEST-INIT-REACHED"
IMAGES = ["amd64-bzImage", "amd64-vmlinux", "cloud-amd64-bzImage", "cloud-amd64-vmlinux"]
E820_TYPES = {1: "usable", 2: "reserved", 3: "ACPI data", 4: "ACPI NVS"}


@pytest.fixture
def linux(pvh: Path, images: dict, lab_paths: dict):
    """linux(IMAGE, MODE, arguments...) boots it to the test initramfs, which obeys MODE."""

    def call(image: str, mode: str, *arguments, append: str = "", limit: float = 100) -> Ended:
        command = [pvh, "run", images[image], "--initrd", lab_paths["l2-initrd"], *arguments, "--",
                   "console=ttyS0", f"pvh.test={mode}", *append.split()]
        return run([LAB, "run", "--hold", "--timeout", str(limit), "--pvh", pvh, "--", *command], limit=2.5 * limit)

    return call


def layout(pvh: Path, *arguments) -> dict:
    done = subprocess.run([pvh, "layout", "--json", *arguments], stdout=subprocess.PIPE, check=True, timeout=60)
    return json.loads(done.stdout)


@dataclass
class Report:
    """What the booted guest says of itself."""
    text: str

    def __post_init__(self):
        assert MARKER in self.text, self.text[-3000:]

    def number(self, pattern: str) -> int:
        match = re.search(pattern, self.text, re.MULTILINE)
        assert match, f"no {pattern} in the guest's output"
        return int(match[1])

    @property
    def map(self) -> list[tuple[int, int, str]]:
        lines = re.findall(r"^BIOS-e820: \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)\] (.*?)\r?$", self.text, re.MULTILINE)
        return [(int(first, 16), int(last, 16), kind) for first, last, kind in lines]


def report_of(ended: Ended) -> Report:
    assert ended.status == 0, ended
    return Report(ended.stdout.decode(errors="replace"))


# Every pair of image and memory, and of image and number of CPUs.
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(("memory", "cpus"), [("128M", 1), ("1G", 4), ("5G", 1)])
def test_a_stock_kernel_sees_the_machine_that_was_asked_for(pvh, images, lab_paths, linux, image, memory, cpus):
    if IMAGES.index(image) % 2 == 1:
        cpus = 5 - cpus  # the other number for the ELFs
    report = report_of(linux(image, "report", "-m", memory, "-c", str(cpus)))
    assert report.number(r"^CPUS (\d+)") == cpus

    planned = layout(pvh, images[image], "--initrd", lab_paths["l2-initrd"], "-m", memory, "-c", str(cpus), "--",
                     "console=ttyS0", "pvh.test=report")["memory_map"]
    assert report.map == [(entry["addr"], entry["addr"] + entry["size"] - 1, E820_TYPES[entry["type"]])
                          for entry in planned]

    # Linux's own account at boot: "Memory: 1K/2K available (... 3K reserved, ...)". All RAM but page 0 is counted. It
    # frees a part of the reserved memory later ("Freeing initrd memory: 4K"); what is free for programs in the end is
    # the machine less what the kernel keeps, within 3 %.
    total = report.number(r"Memory: \d+K/(\d+)K available")
    reserved = report.number(r"Memory: .*?(\d+)K reserved")
    kept = reserved - sum(int(size) for size in re.findall(r"Freeing .*memory: (\d+)K", report.text))
    ram = sum(entry["size"] for entry in planned if entry["type"] == 1) // 1024
    assert total == ram - 4
    machine = int(memory[:-1]) * {"M": 1 << 10, "G": 1 << 20}[memory[-1]]
    assert abs(report.number(r"^MEMTOTAL (\d+)") - (machine - kept)) <= 0.03 * machine


@pytest.mark.parametrize("mode", ["poweroff", "reboot", "panic"])
def test_every_way_for_linux_to_end_is_status_0(linux, mode):
    ended = linux("cloud-amd64-vmlinux", mode, "-m", "256M", "-c", "2", append="panic=1 quiet")
    assert MARKER in ended.stdout.decode(errors="replace"), ended
    assert ended.status == 0, ended
    assert ended.stderr == "", ended


def test_what_is_typed_before_the_guest_listens_arrives_whole(pvh, images, lab_paths, tmp_path):
    typed = tmp_path / "typed"
    typed.write_text("echo typed-$((6 * 7))\nexit\n")
    command = [pvh, "run", images["cloud-amd64-vmlinux"], "--initrd", lab_paths["l2-initrd"], "--", "console=ttyS0", "quiet"]
    with typed.open() as keys:
        ended = run([LAB, "run", "--timeout", "60", "--pvh", pvh, "--", *command], limit=90, stdin=keys)
    assert ended.status == 0, ended
    assert b"typed-42" in ended.stdout, ended


def test_nothing_waits_for_an_absent_device(linux):
    """The clock, the keyboard controller, the timers: seconds are lost at boot where one is half there."""
    report = report_of(linux("cloud-amd64-vmlinux", "report", "-m", "512M"))
    assert "rtc_cmos" not in report.text or "registered as rtc0" in report.text
    assert not re.search(r"i8042.*(timeout|No controller)|Unable to calibrate|lost_timer|ACPI.*(Error|BIOS Error)",
                         report.text), report.text


def test_the_hypervisor_of_xen_has_no_entry_by_pvh_and_inspect_says_so(pvh, lab_paths):
    done = subprocess.run([pvh, "inspect", "--json", lab_paths["xen"]["elf"]], stdout=subprocess.PIPE, timeout=20)
    described = json.loads(done.stdout)
    assert described["class"] == "ELF32"
    if described["pvh_entry"] is None:
        assert done.returncode == 65
        assert "PVH" in described["problems"][0]
    else:
        assert done.returncode == 0 and described["problems"] == []
