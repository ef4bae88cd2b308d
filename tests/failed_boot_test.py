# SPDX-License-Identifier: BSD-2-Clause
"""What the author of a kernel sees when a boot cannot succeed: the runtime says what is wrong, with what was handed over, and
the machine ends.

QEMU's option ROM (pc, q35) copies the command line to a buffer of 4096 bytes that the module list and start_info follow, and
nobody checks: a longer command line writes a start_info of our choosing, as long as no byte of it is 0."""
import re

import pytest

import machines
from machines import Boot

BUFFER, START_INFO = 0x11C0, 0x21E0
MAGIC = 0x336EC578.to_bytes(4, "little")
KERNELS = ["report", "hello"]


def overrun(start_info: bytes) -> bytes:
    """A command line whose end, its NUL included, lies where start_info was."""
    assert 0 not in start_info
    return b"A" * (START_INFO - BUFFER) + start_info


def check_told(output: bytes, name: str, *facts: str) -> None:
    text = output.decode("ascii", errors="replace")
    assert re.search(rf"\b{name}\b", text), text
    for fact in facts:
        assert re.search(rf"\b(0x0*)?{fact}\b", text, re.IGNORECASE), f"{fact} is not in: {text}"
    assert "BEGIN PVH REPORT" not in text and "hello" not in text, "pvh_main was reached"


FAILURES = {
    # name: (what is written over start_info, dwords of it that are to be shown)
    "bad-magic": (b"A" * 72, ["41414141"]),
    # The NUL makes it a version 0.
    "version-0-without-xen": (MAGIC, ["336ec578"]),
    # Flags, the number of modules, and a byte of their list, so that there is one.
    "too-many-modules": (MAGIC + b"\1\1\1\1" + b"C" * 4 + b"D" * 4 + b"E", ["336ec578", "43434343", "44444444"]),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", FAILURES)
def test_a_start_info_that_cannot_be_used_is_shown(qemu, kernel, name):
    start_info, dwords = FAILURES[name]
    ended = qemu("pc", "-append", overrun(start_info), kernel=kernel)
    check_told(ended.stdout, name, f"{START_INFO:x}", "TCGTCGTCGTCG", *dwords)
    assert ended.status == 0, "a reset, which -no-reboot makes an end"


def test_a_newer_version_boots(qemu):
    """New versions are compatible: it is read as a version 1, and told."""
    ended = qemu("pc", "-append", overrun(MAGIC + b"\2\1\1\1"), kernel="report")
    assert ended.status == machines.GOOD, ended
    assert b"newer-version" in ended.stdout, ended


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_version_0_without_xen_is_told_on_our_monitor(pvh, kvm, kernels, kernel):
    result = machines.boot_on_host(pvh, ["--start-info", "0"], Boot(kernels / kernel, "some words"))
    check_told(result.stdout, "version-0-without-xen", "336ec578", "KVMKVMKVM")
    assert result.status == 0, result


@pytest.mark.timeout(300)
def test_a_version_0_without_xen_is_told_in_the_lab(pvh, kernels):
    runs = [(["--start-info", "0"], Boot(kernels / kernel, "some words")) for kernel in KERNELS]
    for result in machines.boot_in_lab(pvh, runs):
        check_told(result.stdout, "version-0-without-xen", "336ec578", "KVMKVMKVM")
        assert result.status == 0, result
