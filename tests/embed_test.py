# SPDX-License-Identifier: BSD-2-Clause
"""A program of its own boots machines with lib/vmm: the example, and what builder.hpp promises, claim by claim."""
import re
from pathlib import Path

import pytest

from conftest import HOST_KVM, LAB, build_dir
from running import Ended, run

SCRIPTS = Path(__file__).resolve().parent / "embed"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def example(pvh) -> Path:  # pylint: disable=unused-argument
    return build_dir() / "bin" / "vmm-example"


@pytest.fixture
def disk(tmp_path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(b"words on the disk".ljust(4096, b"\0"))
    return path


def in_lab(*command, limit: float = 110) -> Ended:
    if HOST_KVM:
        return run([*command], limit=limit)
    return run([LAB, "run", "--hold", "--timeout", str(limit), "--", *command], limit=2.5 * limit)


def test_the_example_boots_debians_kernel_with_a_disk_and_a_port_of_its_own(example, images, scripted_initrd, disk):
    initrd = scripted_initrd(SCRIPTS / "guest.sh", build_dir() / "bin" / "tests" / "port-tool")
    ended = in_lab(example, images["cloud-amd64-vmlinux"], disk, initrd, "console=ttyS0 quiet pvh.test=script")
    said = ended.stdout.decode(errors="replace").replace("\r", "")
    assert (ended.status, ended.stderr) == (0, ""), ended
    assert re.findall(r"^DISK (.*)$", said, re.MULTILINE) == ["words on the disk"], ended
    assert re.findall(r"^port 0x510: (.)$", said, re.MULTILINE) == ["p", "v", "h"], ended
    assert re.findall(r"^READ (\d+)$", said, re.MULTILINE) == ["1", "2"], ended
    assert said.endswith("ended: power-off\n"), ended


def test_the_example_is_short():
    lines = (SCRIPTS.parent.parent / "examples" / "vmm" / "main.cpp").read_text().splitlines()
    assert len([line for line in lines if "SPDX" not in line]) < 40


def test_the_example_names_what_is_wrong(example, images, kernels, disk, tmp_path):
    text = tmp_path / "text"
    text.write_text("this is no kernel")
    for kernel, image, words in [(tmp_path / "gone", disk, f"{tmp_path / 'gone'}: there is no such file"),
                                 (text, disk, f"{text}: "),
                                 (kernels / "startinfo32", tmp_path / "gone", f"{tmp_path / 'gone'}: ")]:
        ended = run([example, kernel, image])
        assert (ended.status, ended.stdout) == (1, b""), ended
        assert ended.stderr.startswith(f"vmm-example: {words}") and ended.stderr.count("\n") == 1, ended


def test_every_claim_of_the_header_holds():
    """Nothing else is printed, on either stream."""
    ended = in_lab(build_dir() / "bin" / "tests" / "embed-claims")
    assert (ended.status, ended.stderr) == (0, ""), ended
    lines = ended.stdout.decode().splitlines()
    assert len(lines) == len(re.findall(r"^    \{\"[a-z-]+\"", (SCRIPTS / "embed_claims.cpp").read_text(), re.MULTILINE)) > 10
    assert [line for line in lines if not line.endswith(" ok")] == []
