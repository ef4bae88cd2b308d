# SPDX-License-Identifier: BSD-2-Clause
"""What goes into the two initial ramdisks: L1's own and the test guest's."""

import hashlib
import os
import pathlib
import stat

from . import archive, tools
from .debian import Package
from .modules import Modules

_SOURCES = pathlib.Path(__file__).resolve().parent.parent / "guest"
_AGENT = _SOURCES / "agent.cpp"
_L1_INIT = _SOURCES / "l1-init.sh"
_L2_INIT = _SOURCES / "l2-init.sh"
TOOLSTACK_INIT = _SOURCES / "toolstack-init.sh"
DOMU = _SOURCES / "domu.sh"
_L1_MODULES = ["irqbypass", "kvm", "ccp", "kvm-amd", "virtio_pci", "virtio_blk", "virtio_console", "tun"]
# Of the test guest, for Debian's cloud kernel; the other one has none and needs none to boot.
_L2_MODULES = ["virtio_mmio", "virtio_blk", "virtio_net", "virtio_balloon", "virtio-rng", "virtio_console", "vmw_vsock_virtio_transport"]
_COMPILER_FLAGS = ["-std=c++23", "-O2", "-static", "-s", "-Wall", "-Wextra"]


def sources() -> list[pathlib.Path]:
    """The files here that the machines are made of: when one of them changes, so must the snapshots."""
    return [*sorted(_SOURCES.iterdir()), *sorted(pathlib.Path(__file__).parent.glob("*.py"))]


def agent(cache: pathlib.Path) -> bytes:
    """The agent, compiled once for each version of its source."""
    key = hashlib.sha256(_AGENT.read_bytes() + " ".join(_COMPILER_FLAGS).encode()).hexdigest()[:16]
    built = cache / "agent" / key
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        scratch = built.with_suffix(f".{os.getpid()}")
        tools.output([tools.compiler(), *_COMPILER_FLAGS, "-o", str(scratch), str(_AGENT)])
        scratch.rename(built)
    return built.read_bytes()


def base_entries(busybox: Package, init: pathlib.Path) -> list[archive.Entry]:
    return [
        archive.directory("bin"),
        archive.directory("sbin"),
        archive.directory("dev"),
        archive.character_device("dev/console", 5, 1),
        archive.program("bin/busybox", busybox.one("bin/busybox").read_bytes()),
        archive.Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
        archive.program("init", init.read_bytes()),
    ]


def driver_entries(order: dict[str, bytes], folder: str = "lib/modules") -> list[archive.Entry]:
    """Modules, and the order in which the init loads them."""
    names = "".join(f"{name}.ko\n" for name in order)
    return [
        archive.regular(f"{folder}/order", names.encode()),
        *(archive.regular(f"{folder}/{name}.ko", data) for name, data in order.items()),
    ]


def l1_initrd(cache: pathlib.Path, kernel: Package, busybox: Package) -> bytes:
    """Not compressed: L1 would only spend time on unpacking it."""
    order = Modules(kernel.root).load_order(_L1_MODULES)
    return archive.cpio(
        [
            *base_entries(busybox, _L1_INIT),
            archive.program("bin/agent", agent(cache)),
            archive.directory("lib"),
            archive.directory("lib/modules"),
            *driver_entries(order),
        ]
    )


def l2_initrd(cloud: Package, busybox: Package) -> bytes:
    folder = f"lib/modules/{cloud.one('lib/modules/*').name}"
    return archive.initrd(
        [
            *base_entries(busybox, _L2_INIT),
            archive.directory("lib"),
            archive.directory("lib/modules"),
            archive.directory(folder),
            *driver_entries(Modules(cloud.root).load_order(_L2_MODULES), folder),
        ]
    )
