# SPDX-License-Identifier: BSD-2-Clause
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import machines
from running import Ended, run

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "lab" / "lab"

sys.path.insert(0, str(ROOT / "lab"))
from pvhlab import archive  # noqa: E402


def build_dir() -> Path:
    return Path(os.environ.get("PVH_BUILD_DIR", ROOT / "build" / "release"))


@pytest.fixture(scope="session")
def pvh() -> Path:
    """The program under test."""
    path = Path(os.environ.get("PVH", build_dir() / "bin" / "pvh"))
    assert os.access(path, os.X_OK), f"{path}: build it first, or name another one in PVH"
    return path


@pytest.fixture(scope="session")
def kernels() -> Path:
    """The folder with the small guests."""
    path = Path(os.environ.get("PVH_KERNELS", build_dir() / "kernels"))
    assert (path / "startinfo32").exists(), f"{path}: build it first, or name another one in PVH_KERNELS"
    return path


HOST_KVM = os.access("/dev/kvm", os.R_OK | os.W_OK)


@pytest.fixture(scope="session")
def kvm() -> None:
    """Asked for by tests that need pvh itself to run on this machine: its signals, its terminal, its time."""
    if not HOST_KVM:
        pytest.skip("no access to /dev/kvm")


@pytest.fixture(scope="session")
def lab_where_needed() -> None:
    """Prepared by now, so that no test finds the words of a preparation among a guest's."""
    if not HOST_KVM:
        subprocess.run([LAB, "prepare"], check=True, capture_output=True, timeout=110)


@pytest.fixture(scope="session")
def lab_paths() -> dict:
    done = subprocess.run([LAB, "paths"], stdout=subprocess.PIPE, check=True, timeout=300)
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def images(pvh: Path, lab_paths: dict) -> dict[str, Path]:
    """The stock bzImages, and the ELFs that `pvh extract` takes out of them (kept: unpacking xz takes a second)."""
    folder = ROOT / "build" / "lab" / "extracted"
    folder.mkdir(exist_ok=True)
    result = {}
    for flavour in ("amd64", "cloud-amd64"):
        bzimage = Path(lab_paths[f"linux-{flavour}"]["vmlinuz"])
        vmlinux = folder / bzimage.name.replace("vmlinuz", "vmlinux")
        if not vmlinux.exists():
            subprocess.run([pvh, "extract", bzimage, "-o", vmlinux], check=True, timeout=60)
        result[f"{flavour}-bzImage"] = bzimage
        result[f"{flavour}-vmlinux"] = vmlinux
    return result


@pytest.fixture(scope="session")
def scripted_initrd(lab_paths: dict, tmp_path_factory):
    """scripted_initrd(SCRIPT, PROGRAM...) is the test guest's initrd with what `pvh.test=script` runs, and what that needs."""

    def make(script: Path, *programs: Path) -> Path:
        path = tmp_path_factory.mktemp(script.parent.name) / "initrd"
        entries = [archive.program("test.sh", script.read_bytes())]
        entries += [archive.program(program.name, program.read_bytes()) for program in programs]
        path.write_bytes(Path(lab_paths["l2-initrd"]).read_bytes() + archive.initrd(entries))
        return path

    return make


@pytest.fixture
def boot(pvh: Path, lab_where_needed: None):
    """boot(KERNEL, arguments...) runs a guest with the debug exit, 20 s at most: on this machine's own KVM, and where
    there is none on the lab's."""

    def call(kernel: Path, *arguments, debug_exit: bool = True, timeout: float = 20, **options) -> Ended:
        exit_option = ["--debug-exit"] if debug_exit else []
        command = [pvh, "run", kernel, *exit_option, "--timeout", str(timeout), *arguments]
        if HOST_KVM:
            return run(command, limit=timeout + 5, **options)
        limit = timeout + 40
        return run([LAB, "run", "--hold", "--timeout", str(limit), "--pvh", pvh, "--", *command], limit=2.5 * limit, **options)

    return call


@pytest.fixture
def qemu(kernels: Path):
    """qemu(MACHINE, arguments..., kernel=NAME) boots a kernel of ours by software emulation."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("no qemu-system-x86_64")

    def call(machine: str, *arguments, kernel: str = "startinfo32", **options) -> Ended:
        return machines.qemu(machine, kernels / kernel, *arguments, **options)

    return call
