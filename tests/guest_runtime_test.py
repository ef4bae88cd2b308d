# SPDX-License-Identifier: BSD-2-Clause
"""The guest runtime's entry code: what kernels of ours cost, that they come up in all three shapes, and that a mistake is
told. By software emulation: this needs no KVM."""
import re
import subprocess
from pathlib import Path

import pytest

from machines import ROOT

OK = 33  # 2 * 0x10 + 1

# A regression fails, a gain should lower them. Bytes in the file; instructions from the entry point to pvh_main.
MOST_BYTES = {"hello": 16 * 1024, "hello32": 17_920}
MOST_INSTRUCTIONS = {"hello": 20_000, "hello32": 20_000}


@pytest.mark.parametrize("kernel", MOST_BYTES)
def test_hello_is_small(kernels: Path, kernel: str):
    assert (kernels / kernel).stat().st_size <= MOST_BYTES[kernel]


@pytest.mark.parametrize("kernel", MOST_INSTRUCTIONS)
def test_hello_takes_few_instructions_to_its_first(kernels: Path, kernel: str):
    output = subprocess.run([ROOT / "tools" / "count-instructions", kernels / kernel], check=True, text=True,
                            stdout=subprocess.PIPE, timeout=110).stdout
    counted = re.fullmatch(r"instructions (\d+) repetitions (\d+)\n", output)
    assert counted, output
    assert int(counted[1]) <= MOST_INSTRUCTIONS[kernel], output
    assert int(counted[2]) >= int(counted[1])


@pytest.mark.parametrize("machine", ["microvm", "pc", "q35"])
@pytest.mark.parametrize("kernel", ["hello", "hello32"])
def test_hello_comes_up(qemu, kernel: str, machine: str):
    ended = qemu(machine, kernel=kernel)
    assert ended.status == OK, ended
    assert b"hello from PVH: start_info version 1 on QEMU TCG" in ended.stdout


@pytest.mark.parametrize("kernel", ["hello", "hello32", "higher_half"])
def test_comes_up_in_our_monitor(boot, kernels: Path, kernel: str):
    ended = boot(kernels / kernel)
    assert ended.status == OK, ended


@pytest.mark.parametrize("memory", ["256M", "5G"])
def test_a_higher_half_kernel_reads_by_physical_address(qemu, tmp_path: Path, memory: str):
    module = tmp_path / "module"
    module.write_text("read through the direct map\n")
    ended = qemu("pc", "-initrd", module, "-append", "word", kernel="higher_half", memory=memory)
    assert ended.status == OK, ended
    assert b"higher-half: word" in ended.stdout
    assert b"module: read through the direct map" in ended.stdout


@pytest.mark.parametrize("mistake, bits, told", [
    ("ud2", 64, r"exception 6 \(bad instruction\) RIP 0x2"),
    ("divide", 64, r"exception 0 \(divide error\) RIP 0x2"),
    ("gp", 64, r"exception 13 \(general protection\) RIP 0x2\w+ RSP 0x\w+ error 0xfff8"),
    ("page-fault", 64, r"exception 14 \(page fault\) RIP 0x2\w+ RSP 0x\w+ error 0x2 CR2 0x400000000000"),
    ("bad-stack", 64, r"exception 14 \(page fault\) RIP 0x2\w+ RSP 0x400000000000 error 0x2 CR2 0x3ffffffffff8"),
    ("stack", 64, r"exception 14 \(page fault\)[^\n]*\n[^\n]*the boot stack overflowed"),
    ("ud2", 32, r"exception 6 \(bad instruction\) EIP 0x2"),
    ("divide", 32, r"exception 0 \(divide error\) EIP 0x2"),
    ("gp", 32, r"exception 13 \(general protection\) EIP 0x2\w+ ESP 0x\w+ error 0xfff8"),
])
def test_a_mistake_is_told(qemu, mistake: str, bits: int, told: str):
    # A pc, because it can be reset: a microvm would be left halted.
    ended = qemu("pc", "-append", mistake, kernel="fault" if bits == 64 else "fault32")
    text = ended.stdout.decode(errors="replace").replace("\r\n", "\n")
    assert re.search(told, text), ended
    assert re.search(r"pvh: [RE]AX 0x\w+ [RE]CX 0x", text), ended
    assert "nothing happened" not in text
    assert ended.status == 0, ended  # reset, which QEMU was told to end by


def test_a_stack_overflow_is_no_triple_fault(boot, kernels: Path):
    ended = boot(kernels / "fault", "-a", "stack")
    assert ended.status == 0, ended  # 70 would be a triple fault
    assert b"the boot stack overflowed" in ended.stdout
