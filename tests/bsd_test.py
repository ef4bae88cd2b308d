# SPDX-License-Identifier: BSD-2-Clause
"""What FreeBSD and NetBSD count on when PVH starts them is there: kernels/bsd-walk walks through the machine by FreeBSD's
source, on our monitor in each of its shapes and on QEMU. What deviates is named, with the reason; no more, no less."""
import os
import shutil
from pathlib import Path

import pytest

import machines
import tap
from machines import ROOT, Boot, Result

# All runs on our monitor fall into the first test that needs one, and the lab has a second try; so one worker has them all.
pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("bsd")]

CLAIMS = ROOT / "kernels" / "bsd-walk" / "claims.inc"
SHAPES = ["strict", "firecracker", "cloud-hypervisor", "qemu", "qboot", "xen"]
SIZES = {"128M": 128 << 20, "5G": 5 << 30}

# Outside of base memory, which ends below it, and NetBSD looks there only when the BIOS's data area says so. Both are
# faults of the peer that the shape is of; --memmap strict has the table where all look.
LINUX_PLACE = "the MP table is at 639 KiB, where Linux alone looks"
DEVIATIONS = {
    "firecracker --no-acpi": {"mptable/found": LINUX_PLACE, "mptable/netbsd": LINUX_PLACE},
    "cloud-hypervisor": {"mptable/netbsd": LINUX_PLACE},
    "xen": {"physmap/base-memory": "the map has one entry from 0 to the end of memory"},
    "xen --no-acpi": {"mptable/found": "Xen has no MP table"},
}
TCG = {"hypervisor/known": "FreeBSD does not know TCG", "tsc/frequency": "QEMU tells it under KVM only"}
QBOOT = {"mptable/found": LINUX_PLACE, "mptable/netbsd": LINUX_PLACE, "mptable/entries": "entry_count is 0"}
SEABIOS = {"mptable/processors": "SeaBIOS names one processor of each package"}


def deviations(shape: str, acpi: bool) -> set[str]:
    return DEVIATIONS.get(shape, {}).keys() | (set() if acpi else DEVIATIONS.get(f"{shape} --no-acpi", {}).keys())


def line(memory: str, cpus: int, virtio: int, *more: str) -> str:
    return " ".join(("debug-exit", f"bsd.memory={SIZES[memory]}", f"bsd.cpus={cpus}", f"bsd.virtio={virtio}", *more))


def parse(result: Result) -> tap.Judgement:
    found = tap.parse(result.stdout, CLAIMS)
    assert (result.good, result.bad) == (not found.deviations, bool(found.deviations)), result
    return found


class Runs:
    """All runs on our monitor, made when the first one is asked for: on this machine's KVM, or all in one run of the lab."""

    def __init__(self, pvh: Path, kernel: Path, folder: Path):
        disks = [folder / "disk0", folder / "disk1"]
        for disk in disks:
            disk.write_bytes(bytes(1 << 20))
        self.runs: dict[str, tuple[list[str], Boot]] = {}
        for shape in SHAPES:
            options = ["--memmap", shape]
            self.runs[f"{shape} large"] = (options, Boot(kernel, line("5G", 4, 1), "5G", 4))
            self.runs[f"{shape} small"] = (options, Boot(kernel, line("128M", 1, 3), "128M", 1, disks=disks))
            self.runs[f"{shape} no-acpi"] = ([*options, "--no-acpi"], Boot(kernel, line("128M", 4, 3), "128M", 4, disks=disks))
        self.runs |= {
            "poison": (["--poison"], Boot(kernel, line("5G", 4, 1), "5G", 4)),
            "poison no-acpi": (["--poison", "--no-acpi"], Boot(kernel, line("128M", 1, 1), "128M")),
            "no devices": (["--no-rng"], Boot(kernel, line("128M", 1, 0), "128M")),
            "no devices no-acpi": (["--no-rng", "--no-acpi"], Boot(kernel, line("128M", 1, 0), "128M")),
            "version 0": (["--start-info", "0"], Boot(kernel, line("128M", 1, 1), "128M")),
            "a module": ([], Boot(kernel, line("128M", 1, 1), "128M", modules=[(disks[0], "")])),
            "wrong": ([], Boot(kernel, line("5G", 3, 2), "128M", 2)),
            "wrong no-acpi": (["--no-acpi"], Boot(kernel, line("128M", 3, 2), "128M", 2)),
            "off": ([], Boot(kernel, "bsd.cpus=1", "128M")),
            "off no-acpi": (["--no-acpi"], Boot(kernel, "bsd.cpus=1", "128M")),
        }
        self._pvh = pvh
        self._results: dict[str, Result] = {}

    def __call__(self, name: str) -> Result:
        if not self._results:
            if os.access("/dev/kvm", os.R_OK | os.W_OK):
                results = [machines.boot_on_host(self._pvh, *run) for run in self.runs.values()]
            else:
                results = machines.boot_in_lab(self._pvh, list(self.runs.values()))
            self._results = dict(zip(self.runs, results))
        return self._results[name]


@pytest.fixture(scope="module")
def runs(pvh, kernels, lab_where_needed, tmp_path_factory) -> Runs:
    return Runs(pvh, kernels / "bsd-walk", tmp_path_factory.mktemp("disks"))


@pytest.mark.parametrize("what", ["large", "small", "no-acpi"])
@pytest.mark.parametrize("shape", SHAPES)
def test_freebsd_finds_its_machine_in_every_shape(runs, shape: str, what: str):
    result = runs(f"{shape} {what}")
    found = parse(result)
    assert found.deviations.keys() == deviations(shape, acpi=what != "no-acpi"), result


@pytest.mark.parametrize("name", ["poison", "poison no-acpi", "no devices", "no devices no-acpi"])
def test_freebsd_finds_its_machine_whatever_is_unspecified(runs, name: str):
    result = runs(name)
    assert not parse(result).deviations, result


def test_what_is_not_there_is_skipped_and_no_more(runs):
    assert not parse(runs("strict small")).skipped
    without_acpi = parse(runs("strict no-acpi")).skipped.keys()
    assert without_acpi and all(name.startswith(("acpi/", "madt/")) for name in without_acpi)
    without_devices = parse(runs("no devices")).skipped.keys()
    assert without_devices and all(name.startswith("virtio/") for name in without_devices)


def test_a_wrong_expectation_is_told(runs):
    """So the counts are counted."""
    wrong = {"physmap/memory", "madt/processors", "mptable/processors", "virtio/found"}
    assert parse(runs("wrong")).deviations.keys() == wrong
    assert parse(runs("wrong no-acpi")).deviations.keys() == {"mptable/processors", "virtio/found"}


@pytest.mark.parametrize(("name", "claim"), [("version 0", "start-info/version"), ("a module", "start-info/modules")])
def test_what_freebsd_does_not_survive_is_told(runs, name: str, claim: str):
    found = parse(runs(name))
    assert claim in found.deviations
    assert found.deviations["physmap/memory"] == "FreeBSD does not get so far"


@pytest.mark.parametrize("name", ["off", "off no-acpi"])
def test_it_switches_the_machine_off_or_resets_it(runs, name: str):
    result = runs(name)
    assert result.status == 0, result
    assert not tap.parse(result.stdout, CLAIMS).deviations, result


@pytest.mark.parametrize(("machine", "memory", "cpus", "more"), [
    ("microvm", "128M", 1, ["-device", "virtio-rng-device"]),
    ("microvm", "5G", 4, ["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device"]),
    ("microvm,acpi=off", "128M", 4, ["-device", "virtio-rng-device"]),
    ("pc", "128M", 1, []),
    ("pc", "5G", 4, []),
    ("q35", "128M", 1, []),
    ("q35", "5G", 4, []),
])
def test_on_qemu(kernels, machine: str, memory: str, cpus: int, more: list[str]):
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("no qemu-system-x86_64")
    expected = set(TCG)
    if machine in ("pc", "q35") and cpus > 1:
        expected |= SEABIOS.keys()
    if machine == "microvm,acpi=off":
        expected |= QBOOT.keys()
    virtio = 1 if more else 0
    ended = machines.qemu(machine, kernels / "bsd-walk", "-smp", str(cpus), "-append", line(memory, cpus, virtio), *more,
                          memory=memory)
    result = machines.by_debug_exit(ended.status, ended.stdout, ended.stderr)
    assert parse(result).deviations.keys() == expected, result
