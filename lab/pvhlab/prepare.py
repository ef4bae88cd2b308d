# SPDX-License-Identifier: BSD-2-Clause
"""The cache: Debian's kernels, the test guest's ramdisk, and the snapshot of L1 that every run starts from.

    CACHE/packages/NAME_VERSION/     unpacked packages
    CACHE/guests/                    decompressed Xen, the test guest's initrd
    CACHE/snapshots/KEY/             memory, state, artefacts.json; KEY is a hash of all that makes L1
    CACHE/current                    link to the snapshot in use
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
from collections.abc import Iterator
from typing import IO, Any

from . import debian, l1, qemu, tools, wire
from .errors import LabError

_L1_KERNEL = "linux-image-amd64"
_CLOUD_KERNEL = "linux-image-cloud-amd64"
_XEN = "xen-hypervisor-4.17-amd64"
_BUSYBOX = "busybox-static"
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


def _wait_ready(machine: qemu.Qemu) -> None:
    decoder = wire.Decoder()
    deadline = time.monotonic() + _BOOT_SECONDS
    while True:
        left = deadline - time.monotonic()
        readable, _, _ = select.select([machine.control], [], [], max(left, 0))
        data = machine.control.recv(4096) if readable else b""
        if not data:
            words = "ended" if readable else f"did not come up in {_BOOT_SECONDS:.0f} s"
            raise LabError(f"L1 {words}; its console:\n{machine.last_words()}")
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
            raise LabError(f"QEMU could not save L1: {status.get('error-desc', status['status'])}")
        time.sleep(0.02)


def _build(snapshot: Snapshot, boot: qemu.Boot, manifest: dict[str, Any]) -> None:
    snapshot.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=snapshot.folder.parent, prefix="new-") as name:
        scratch = Snapshot(pathlib.Path(name) / "snapshot")
        scratch.folder.mkdir()
        with tempfile.TemporaryFile(dir=name) as payload:
            payload.truncate(qemu.PAYLOAD_SIZE)
            with qemu.Qemu.booting(boot, scratch.memory, payload) as machine:
                _wait_ready(machine)
                time.sleep(_SETTLE_SECONDS)  # what a kernel still does just after boot, no run need do again
                _save(machine, scratch)
                log = machine.log()
        if "lab: " in log:
            raise LabError(f"L1 came up without what it is for; its console:\n{log}")
        scratch.manifest.write_text(json.dumps(manifest, indent=2) + "\n")
        shutil.rmtree(snapshot.folder, ignore_errors=True)
        scratch.folder.rename(snapshot.folder)


def _forget_snapshots(snapshots: pathlib.Path, keep: Snapshot) -> None:
    for folder in snapshots.iterdir():
        if folder == keep.folder:
            continue
        try:
            with (folder / "state").open("rb") as state:
                fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # somebody's run still starts from it


def prepare(cache: pathlib.Path) -> Snapshot:
    """Makes what is missing. When nothing is, this costs a look at apt's lists and a hash."""
    with _locked(cache):
        return _prepare(cache)


def _prepare(cache: pathlib.Path) -> Snapshot:
    packages = cache / "packages"
    wanted = debian.candidates([_L1_KERNEL, _CLOUD_KERNEL, _XEN, _BUSYBOX])
    kernel_names = {meta: _kernel_package(wanted[meta]) for meta in (_L1_KERNEL, _CLOUD_KERNEL)}
    wanted |= debian.candidates(list(kernel_names.values()))

    def package(name: str) -> debian.Package:
        return debian.unpacked(wanted[kernel_names.get(name, name)], packages)

    kernel, cloud, xen, busybox = package(_L1_KERNEL), package(_CLOUD_KERNEL), package(_XEN), package(_BUSYBOX)
    guests = cache / "guests"
    xen_elf = guests / f"xen-{xen.version}.elf"
    l2_initrd = guests / "l2-initrd.cpio.gz"
    l1_initrd = cache / "l1-initrd.cpio"
    if not xen_elf.exists():
        _write(xen_elf, gzip.decompress(xen.one("boot/xen-*.gz").read_bytes()))
    _write(l2_initrd, l1.l2_initrd(busybox))
    _write(l1_initrd, l1.l1_initrd(cache, kernel, busybox))

    boot = qemu.Boot(kernel.one("boot/vmlinuz-*"), l1_initrd)
    makers = {
        "kernel": f"{kernel.name} {kernel.version}",
        "qemu": qemu.version(),
        "machine": qemu.machine_arguments(),
        "memory-mib": qemu.MEMORY_MIB,
        "payload-size": qemu.PAYLOAD_SIZE,
        "command-line": qemu.kernel_arguments(),
        "initrd-sha256": hashlib.sha256(l1_initrd.read_bytes()).hexdigest(),
    }
    key = hashlib.sha256(json.dumps(makers, sort_keys=True).encode()).hexdigest()[:16]
    snapshot = Snapshot(cache / "snapshots" / key)
    manifest = {
        "key": makers,
        "makers": _makers(),
        "artefacts": {
            "linux-amd64": {"vmlinuz": str(boot.kernel), "version": kernel.version},
            "linux-cloud-amd64": {"vmlinuz": str(cloud.one("boot/vmlinuz-*")), "version": cloud.version},
            "xen": {"elf": str(xen_elf), "version": xen.version},
            "busybox": {"binary": str(busybox.one("bin/busybox")), "version": busybox.version},
            "l1-initrd": str(l1_initrd),
            "l2-initrd": str(l2_initrd),
        },
    }
    if not snapshot.manifest.exists():
        say("booting L1 once, to save it")
        _build(snapshot, boot, manifest)
    elif snapshot.read() != manifest:
        _write(snapshot.manifest, (json.dumps(manifest, indent=2) + "\n").encode())
    link = cache / "current.new"
    link.unlink(missing_ok=True)
    link.symlink_to(snapshot.folder.relative_to(cache))
    link.rename(cache / "current")
    debian.forget_others(packages, [kernel, cloud, xen, busybox])
    _forget_snapshots(snapshot.folder.parent, snapshot)
    return snapshot


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
def held(cache: pathlib.Path) -> Iterator[Snapshot]:
    """The current snapshot, kept from being removed; made first when need be.

    apt is not asked when there is one, so a newer kernel is only taken in by prepare().
    """
    while True:
        snapshot = Snapshot((cache / "current").resolve())
        hold = _hold(snapshot)
        if hold is not None:
            break
        say(f"preparing {cache}; the first time this takes about a minute")
        prepare(cache)
    with hold:
        yield snapshot
