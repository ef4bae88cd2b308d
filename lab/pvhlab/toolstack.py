# SPDX-License-Identifier: BSD-2-Clause
"""What goes into the initial ramdisk of the Linux that is Xen's dom0 and runs Debian's own xl."""

import pathlib
import re
import stat

from . import archive, l1, tools
from .debian import Package
from .errors import LabError
from .modules import Modules

PACKAGES = [
    "xen-utils-4.17",
    *("libxencall1", "libxendevicemodel1", "libxenevtchn1", "libxenforeignmemory1", "libxengnttab1", "libxenhypfs1"),
    *("libxenmisc4.17", "libxenstore4", "libxentoolcore1", "libxentoollog1", "libyajl2"),
    *("libc6", "libgcc-s1", "liblzma5", "libuuid1", "libzstd1", "zlib1g"),
]
_MODULES = [
    *("virtio_pci", "virtio_blk", "virtio_console"),
    *("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs"),
]
_PROGRAMS = ["xl", "xenstored", "xenconsoled", "xen-init-dom0"]
_PROGRAM_FOLDER = "usr/lib/xen-4.17/bin"
_LINKER = "ld-linux-x86-64.so.2"
_LOADED_LATE = "libgcc_s.so.1"  # by pthread_cancel, which xl uses
_LIBRARY_FOLDERS = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"]
_NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(.+)\]")


class _Libraries:
    """Shared libraries by the name that programs ask for."""

    def __init__(self, packages: list[Package]) -> None:
        self._packages = packages
        self.found: dict[str, bytes] = {}

    def add(self, name: str) -> None:
        if name not in self.found:
            path = self._find(name)
            self.found[name] = path.read_bytes()
            self.add_needed_by(path)

    def add_needed_by(self, path: pathlib.Path) -> None:
        for name in _NEEDED.findall(tools.output(["readelf", "--dynamic", "--wide", str(path)])):
            self.add(name)

    def _find(self, name: str) -> pathlib.Path:
        for package in self._packages:
            for folder in _LIBRARY_FOLDERS:
                path = package.root / folder / name
                if path.exists():
                    return path
        raise LabError(f"no package of {', '.join(package.name for package in self._packages)} has {name}")


def _folders(files: list[archive.Entry]) -> list[archive.Entry]:
    names = {str(parent) for file in files for parent in pathlib.PurePosixPath(file.path).parents}
    return [archive.directory(name) for name in names - {"."}]


def initrd(cache: pathlib.Path, kernel: Package, busybox: Package, packages: list[Package]) -> bytes:
    """Not compressed, as L1's own."""
    libraries = _Libraries(packages)
    files = []
    for name in _PROGRAMS:
        path = packages[0].one(f"{_PROGRAM_FOLDER}/{name}")
        libraries.add_needed_by(path)
        files.append(archive.program(f"{_PROGRAM_FOLDER}/{name}", path.read_bytes()))
    libraries.add(_LINKER)
    libraries.add(_LOADED_LATE)
    files += [archive.program(f"usr/lib/x86_64-linux-gnu/{name}", data) for name, data in libraries.found.items()]
    # Where the programs look for it.
    files.append(archive.Entry(f"lib64/{_LINKER}", stat.S_IFLNK | 0o777, f"/usr/lib/x86_64-linux-gnu/{_LINKER}".encode()))
    files += l1.driver_entries(Modules(kernel.root).load_order(_MODULES))
    files.append(archive.program("usr/bin/domu", l1.DOMU.read_bytes()))
    base = l1.base_entries(busybox, l1.TOOLSTACK_INIT)
    files.append(archive.program("bin/agent", l1.agent(cache)))
    taken = {entry.path for entry in base}
    return archive.cpio([*base, *files, *(folder for folder in _folders(files) if folder.path not in taken)])
