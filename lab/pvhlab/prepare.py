# SPDX-License-Identifier: BSD-2-Clause
"""The cache: Debian's kernels, the test guest's ramdisk, and the snapshots of machines that every run starts from.

    CACHE/packages/NAME_VERSION/     unpacked packages
    CACHE/guests/                    decompressed Xen, the test guest's initrd
    CACHE/snapshots/KEY/             memory, state, manifest.json; KEY is a hash of all that makes the machine
    CACHE/current                    link to the snapshot of L1 in use
    CACHE/current-xen                the same of Xen, with a Linux as its dom0 that runs xl
    CACHE/lock                       held while the cache changes

A snapshot that is in use is held by a shared lock on its `state`, so nobody takes it away under a run.
"""

import contextlib
import dataclasses
import fcntl
import gzip
import hashlib
import json
import os
import pathlib
import select
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from . import debian, l1, qemu, toolstack, tools, wire
from .errors import LabError

_L1_KERNEL = "linux-image-amd64"
_CLOUD_KERNEL = "linux-image-cloud-amd64"
_XEN = "xen-hypervisor-4.17-amd64"
_BUSYBOX = "busybox-static"
# Of Xen's machine: for the Linux, and what a domain can have.
TOOLSTACK_MIB = 640
DOMU_MIB = 3072
_L1_ARGUMENTS = "console=ttyS0 panic=1 quiet mitigations=off"
# What Xen's console says stays as it is here, comes with nothing left out, and no memory is written to before it is used.
XEN_ARGUMENTS = (
    "com1=115200,8n1 console=com1 noreboot bootscrub=no loglvl=all guest_loglvl=all serial_tx_buffer=4M"
)
_TOOLSTACK_XEN_ARGUMENTS = f"{XEN_ARGUMENTS} dom0_mem={TOOLSTACK_MIB}M,max:{TOOLSTACK_MIB}M dom0_max_vcpus=1"
_TOOLSTACK_ARGUMENTS = "console=hvc0 panic=1 quiet mitigations=off"
_BOOT_SECONDS = 120.0
_SETTLE_SECONDS = 1.0


def default_cache() -> pathlib.Path:
    named = os.environ.get("PVH_LAB_CACHE")
    if named:
        return pathlib.Path(named).absolute()
    tree = pathlib.Path(__file__).resolve().parents[2]
    if (tree / "CMakeLists.txt").exists():
        return tree / "build" / "lab"
    # Installed: nobody may write beside us.
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(home) / "pvh" / "lab"


def say(words: str) -> None:
    print(f"lab: {words}", file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    folder: pathlib.Path

    @property
    def memory(self) -> pathlib.Path:
        return self.folder / "memory"

    @property
    def state(self) -> pathlib.Path:
        return self.folder / "state"

    @property
    def manifest(self) -> pathlib.Path:
        return self.folder / "manifest.json"

    def read(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.manifest.read_text())
        return manifest


def _makers() -> str:
    """A cheap stand-in for the full key: changes with our own files and with the QEMU program."""
    status = os.stat(tools.find(qemu.PROGRAM))
    digest = hashlib.sha256(f"{status.st_ino} {status.st_size} {status.st_mtime_ns}".encode())
    for path in l1.sources():
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(cache: pathlib.Path) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("w")
    except OSError as error:
        raise LabError(f"{cache}: {error.strerror}; name another folder with --cache or PVH_LAB_CACHE") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: pathlib.Path, data: bytes) -> None:
    """Whoever opens the path sees all of it, and who has the old file keeps it."""
    if path.exists() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.chmod(file.name, 0o644)
    os.rename(file.name, path)


def _kernel_package(meta: debian.Candidate) -> str:
    for name in meta.depends:
        if name.startswith("linux-image-"):
            return name
    raise LabError(f"package {meta.name} {meta.version} names no kernel")


def _wait_ready(machine: qemu.Qemu, name: str) -> None:
    decoder = wire.Decoder()
    deadline = time.monotonic() + _BOOT_SECONDS
    while True:
        left = deadline - time.monotonic()
        readable, _, _ = select.select([machine.control], [], [], max(left, 0))
        data = machine.control.recv(4096) if readable else b""
        if not data:
            words = "ended" if readable else f"did not come up in {_BOOT_SECONDS:.0f} s"
            raise LabError(f"{name} {words}; its console:\n{machine.last_words()}")
        if any(kind is wire.Type.READY for kind, _ in decoder.feed(data)):
            return


def _save(machine: qemu.Qemu, snapshot: Snapshot) -> None:
    monitor = machine.monitor()
    monitor.ignore_shared_memory()
    # Not stopped before: a machine that was saved stopped would be restored stopped.
    monitor.execute("migrate", uri=f"exec:cat >{shlex.quote(str(snapshot.state))}")
    while True:
        status = monitor.execute("query-migrate")
        if status.get("status") == "completed":
            return
        if status.get("status") in ("failed", "cancelled"):
            raise LabError(f"QEMU could not save the machine: {status.get('error-desc', status['status'])}")
        time.sleep(0.02)


def _build(snapshot: Snapshot, model: qemu.Model, boot: qemu.Boot, manifest: dict[str, Any]) -> None:
    snapshot.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=snapshot.folder.parent, prefix="new-") as name:
        scratch = Snapshot(pathlib.Path(name) / "snapshot")
        scratch.folder.mkdir()
        with tempfile.TemporaryFile(dir=name) as payload:
            payload.truncate(qemu.PAYLOAD_SIZE)
            with qemu.Qemu.booting(model, boot, scratch.memory, payload) as machine:
                _wait_ready(machine, model.name)
                time.sleep(_SETTLE_SECONDS)  # what a kernel still does just after boot, no run need do again
                _save(machine, scratch)
                log = machine.log()
        if "lab: " in log:
            raise LabError(f"{model.name} came up without what it is for; its console:\n{log}")
        scratch.manifest.write_text(json.dumps(manifest, indent=2) + "\n")
        shutil.rmtree(snapshot.folder, ignore_errors=True)
        scratch.folder.rename(snapshot.folder)


def _forget_snapshots(cache: pathlib.Path) -> None:
    kept = {link.resolve() for link in cache.glob("current*")}
    for folder in (cache / "snapshots").iterdir():
        if folder.resolve() in kept:
            continue
        try:
            with (folder / "state").open("rb") as state:
                fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # somebody's run still starts from it


class _Packages:
    """What the machines are made from, looked up once, unpacked when it is asked for."""

    def __init__(self, cache: pathlib.Path) -> None:
        self._folder = cache / "packages"
        self._wanted = debian.candidates([_L1_KERNEL, _CLOUD_KERNEL, _XEN, _BUSYBOX, *toolstack.PACKAGES])
        self._kernels = {meta: _kernel_package(self._wanted[meta]) for meta in (_L1_KERNEL, _CLOUD_KERNEL)}
        self._wanted |= debian.candidates(list(self._kernels.values()))

    def get(self, *names: str) -> list[debian.Package]:
        return debian.unpacked([self._wanted[self._kernels.get(name, name)] for name in names], self._folder)

    def forget_others(self) -> None:
        debian.forget_others(self._folder, list(self._wanted.values()))


@dataclasses.dataclass(frozen=True)
class _Makings:
    boot: qemu.Boot
    makers: dict[str, Any]  # all that makes the snapshot, besides the model
    artefacts: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the machines that are saved."""

    link: str
    model: qemu.Model
    make: Callable[[pathlib.Path, _Packages, contextlib.ExitStack], _Makings]


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _xen_elf(cache: pathlib.Path, xen: debian.Package) -> pathlib.Path:
    elf = cache / "guests" / f"xen-{xen.version}.elf"
    if not elf.exists():
        _write(elf, gzip.decompress(xen.one("boot/xen-*.gz").read_bytes()))
    return elf


def _make_l1(cache: pathlib.Path, packages: _Packages, _open: contextlib.ExitStack) -> _Makings:
    kernel, cloud, xen, busybox = packages.get(_L1_KERNEL, _CLOUD_KERNEL, _XEN, _BUSYBOX)
    l2_initrd = cache / "guests" / "l2-initrd.cpio.gz"
    l1_initrd = cache / "l1-initrd.cpio"
    vmlinuz = kernel.one("boot/vmlinuz-*")
    _write(l2_initrd, l1.l2_initrd(cloud, busybox))
    _write(l1_initrd, l1.l1_initrd(cache, kernel, busybox))
    return _Makings(
        qemu.linux_boot(vmlinuz, l1_initrd, _L1_ARGUMENTS),
        {
            "kernel": f"{kernel.name} {kernel.version}",
            "command-line": _L1_ARGUMENTS,
            "initrd-sha256": _sha256(l1_initrd),
        },
        {
            "linux-amd64": {"vmlinuz": str(vmlinuz), "version": kernel.version},
            "linux-cloud-amd64": {"vmlinuz": str(cloud.one("boot/vmlinuz-*")), "version": cloud.version},
            "xen": {"elf": str(_xen_elf(cache, xen)), "version": xen.version},
            "busybox": {"binary": str(busybox.one("bin/busybox")), "version": busybox.version},
            "l1-initrd": str(l1_initrd),
            "l2-initrd": str(l2_initrd),
        },
    )


def _make_xen(cache: pathlib.Path, packages: _Packages, opened: contextlib.ExitStack) -> _Makings:
    kernel, xen, busybox, *tools_packages = packages.get(_L1_KERNEL, _XEN, _BUSYBOX, *toolstack.PACKAGES)
    initrd = cache / "toolstack-initrd.cpio"
    _write(initrd, toolstack.initrd(cache, kernel, busybox, tools_packages))
    files = [opened.enter_context(path.open("rb")) for path in (kernel.one("boot/vmlinuz-*"), initrd)]
    modules = [qemu.module(file, words) for file, words in zip(files, [_TOOLSTACK_ARGUMENTS, ""], strict=True)]
    xen_elf = str(_xen_elf(cache, xen))
    arguments = ["-kernel", xen_elf, "-append", _TOOLSTACK_XEN_ARGUMENTS, "-initrd", ",".join(modules)]
    return _Makings(
        qemu.Boot(arguments, list(files)),
        {
            "xen": xen.version,
            "kernel": f"{kernel.name} {kernel.version}",
            "command-lines": [_TOOLSTACK_XEN_ARGUMENTS, _TOOLSTACK_ARGUMENTS],
            "initrd-sha256": _sha256(initrd),
        },
        {},
    )


L1 = Kind("current", qemu.L1, _make_l1)
XEN = Kind("current-xen", qemu.XEN, _make_xen)


def prepare(cache: pathlib.Path, *kinds: Kind) -> None:
    """Makes what is missing. When nothing is, this costs a look at apt's lists and a hash."""
    with _locked(cache):
        packages = _Packages(cache)
        for kind in kinds:
            _prepare(cache, packages, kind)
        packages.forget_others()


def _prepare(cache: pathlib.Path, packages: _Packages, kind: Kind) -> None:
    with contextlib.ExitStack() as opened:
        makings = kind.make(cache, packages, opened)
        makers = {
            **makings.makers,
            "qemu": qemu.version(),
            "machine": kind.model.arguments(),
            "payload-size": qemu.PAYLOAD_SIZE,
        }
        key = hashlib.sha256(json.dumps(makers, sort_keys=True).encode()).hexdigest()[:16]
        snapshot = Snapshot(cache / "snapshots" / key)
        manifest = {"key": makers, "makers": _makers(), "artefacts": makings.artefacts}
        if not snapshot.manifest.exists():
            say(f"booting {kind.model.name} once, to save it")
            _build(snapshot, kind.model, makings.boot, manifest)
        elif snapshot.read() != manifest:
            _write(snapshot.manifest, (json.dumps(manifest, indent=2) + "\n").encode())
    link = cache / f"{kind.link}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(snapshot.folder.relative_to(cache))
    link.rename(cache / kind.link)
    _forget_snapshots(cache)


def _hold(snapshot: Snapshot) -> IO[bytes] | None:
    """An open file that keeps the snapshot from being removed; nothing when it is missing or its makers changed."""
    try:
        if snapshot.read()["makers"] != _makers():
            return None
        state = snapshot.state.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    fcntl.flock(state, fcntl.LOCK_SH)
    if snapshot.manifest.exists():
        return state
    state.close()
    return None


@contextlib.contextmanager
def held(cache: pathlib.Path, kind: Kind = L1) -> Iterator[Snapshot]:
    """The current snapshot, kept from being removed; made first when need be.

    apt is not asked when there is one, so a newer kernel is only taken in by prepare().
    """
    while True:
        snapshot = Snapshot((cache / kind.link).resolve())
        hold = _hold(snapshot)
        if hold is not None:
            break
        say(f"preparing {cache}; the first time this takes about a minute")
        prepare(cache, kind)
    with hold:
        yield snapshot
