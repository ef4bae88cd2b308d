# SPDX-License-Identifier: BSD-2-Clause
"""Other people's loaders: QEMU's two hand startinfo32 something that it reads and judges right, and our --memmap shapes of
the same names look like what they hand over. Software emulation: this needs no KVM."""
from pathlib import Path

import pytest

import report

MACHINES = {"qboot": "microvm", "qemu": "pc"}  # --memmap SHAPE: -machine
RAM = 1


def make_module(folder: Path) -> Path:
    path = folder / "module"
    path.write_bytes(bytes(range(256)) * 37)
    return path


@pytest.mark.parametrize("machine", MACHINES.values())
def test_the_report_is_right_on_qemu(qemu, tmp_path, machine):
    module = make_module(tmp_path)
    ended = qemu(machine, "-append", "hello world", "-initrd", module)
    assert ended.status == report.OK, ended
    found = report.parse(ended.stdout)
    assert found.verdict == "ok" and found.start_info["version"] == 1
    assert found.regs["ebx"] == found.start_info["paddr"] and found.regs["cr4"] == 0
    assert found.cmdline["text"] == b"hello world"
    assert found.modules[0]["size"] == module.stat().st_size
    assert found.modules[0]["sum"] == report.checksum(module.read_bytes())


@pytest.mark.parametrize("word,status", [("exit=5", 11), ("reset", 0), ("triple", 0), ("acpi-reset", 0), ("poweroff", 0)])
def test_the_ends_are_ends_on_qemu(qemu, word, status):
    """-no-reboot makes a reset an end with status 0, and a triple fault is a reset there."""
    ended = qemu("q35", "-append", word)
    assert ended.status == status, ended


@pytest.mark.parametrize("cpus", [1, 4])
def test_smp32_counts_on_qemu(qemu, cpus):
    ended = qemu("microvm", "-append", f"cpus={cpus}", "-smp", str(cpus), kernel="smp32")
    assert (ended.status, ended.stdout) == (2 * cpus + 1, b"cpus %d\n" % cpus), ended


@pytest.mark.parametrize("machine", ["microvm", "pc", "q35"])
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_runtime_starts_every_processor_on_qemu(qemu, machine, cpus):
    ended = qemu(machine, "-append", f"cpus={cpus}", "-smp", str(cpus), kernel="smp")
    assert ended.status == report.OK and b"cpus %d" % cpus in ended.stdout.splitlines(), ended


def test_runtime_counts_what_it_started(qemu):
    ended = qemu("microvm", "-append", "cpus=3", "-smp", "2", kernel="smp")
    assert ended.status == 35 and b"cpus 2" in ended.stdout.splitlines(), ended


@pytest.mark.parametrize("shape", MACHINES)
def test_our_shape_looks_like_the_real_one(qemu, boot, kernels, tmp_path, shape):
    module = make_module(tmp_path)
    real = report.parse(qemu(MACHINES[shape], "-append", "hello world", "-initrd", module).stdout)
    ours = report.parse(boot(kernels / "startinfo32", "--memmap", shape, "-m", "256M", "-a", "hello world", "-i", module).stdout)
    assert ours.start_info["paddr"] == real.start_info["paddr"]
    if shape == "qemu":
        # qboot's other pieces lie on its stack and heap, wherever those happen to be.
        for name in ("modlist", "cmdline", "memmap"):
            assert ours.start_info[name] == real.start_info[name], name
    if shape == "qboot":
        assert ours.regs["eax"] == real.regs["eax"], "the multiboot magic"
        assert ours.memmap[-1] == real.memmap[-1], "an empty entry"

    def low_ram(found: report.Report) -> list[tuple[int, int]]:
        return [(entry["addr"], entry["size"]) for entry in found.memmap if entry["type"] == RAM and entry["addr"] < 1 << 20]

    def is_sorted(found: report.Report) -> bool:
        addresses = [entry["addr"] for entry in found.memmap]
        return addresses == sorted(addresses)

    assert low_ram(ours) == low_ram(real)
    assert is_sorted(ours) == is_sorted(real)
