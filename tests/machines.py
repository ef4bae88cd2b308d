# SPDX-License-Identifier: BSD-2-Clause
"""Where a kernel can be booted: our monitor with each of its --memmap shapes, on this machine's KVM or on the lab's; QEMU's
three machines; Xen. One call, and one meaning of the end, for all of them."""
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from running import Ended, run

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "lab" / "lab"

# What a kernel tells by its end (kernels/common/finish.hpp): 2 * 0x10 + 1 and 2 * 0x11 + 1 by the debug exit; Xen has a
# poweroff and a crash.
GOOD, BAD = 33, 35
XEN_GOOD, XEN_BAD = 0, 70


@dataclass
class Boot:
    """One kernel to be booted."""
    kernel: Path
    line: str = ""
    memory: str = "256M"
    cpus: int = 1
    modules: list[tuple[Path, str]] = field(default_factory=list)  # each with its own command line
    disks: list[Path] = field(default_factory=list)  # of our monitor only


@dataclass
class Result:
    status: int
    stdout: bytes
    stderr: str
    good: bool  # the kernel ended as one that is content
    bad: bool  # as one that is not

    def __str__(self) -> str:
        return f"status {self.status}\nstdout: {self.stdout[-3000:].decode(errors='replace')}\nstderr: {self.stderr[-2000:]}"


def by_debug_exit(status: int, stdout: bytes, stderr: str = "") -> Result:
    return Result(status, stdout.replace(b"\r\n", b"\n"), stderr, status == GOOD, status == BAD)


def by_xen(ended: Ended) -> Result:
    return Result(ended.status, ended.stdout.replace(b"\r\n", b"\n"), ended.stderr, ended.status == XEN_GOOD,
                  ended.status == XEN_BAD)


# ---- The lab

# passt and what it is linked with; L1 has no libraries.
PASST = ["/usr/bin/passt", "/usr/bin/passt.avx2", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]


def bring(files) -> list:
    """The options by which the lab has files that no argument names."""
    return [word for file in files for word in ("--file", file)]


def lab_script(script: Path, *arguments, timeout: float, limit: float, files=()) -> Ended:
    """SCRIPT in the lab, TIMEOUT seconds at most; LIMIT is for two tries. The arguments that name files are brought."""
    return run([LAB, "run", "--hold", "--timeout", str(timeout), *bring([ROOT / "tests" / "await.sh", *files]), "--",
                "sh", script, *arguments], limit=limit)


# ---- QEMU

def qemu(machine: str, kernel: Path, *arguments, memory: str = "256M", limit: float = 60) -> Ended:
    return run([shutil.which("qemu-system-x86_64"), "-M", machine, "-accel", "tcg", "-m", memory, "-kernel", kernel,
                "-nodefaults", "-device", "isa-debug-exit,iobase=0xf4", "-display", "none", "-serial", "stdio", "-no-reboot",
                *arguments], limit=limit)


def boot_on_qemu(machine: str, boot: Boot) -> Result:
    assert len(boot.modules) <= 1 and not any(text for _, text in boot.modules), "QEMU passes one, without words"
    arguments = ["-append", boot.line] if boot.line else []
    for path, _ in boot.modules:
        arguments += ["-initrd", path]
    ended = qemu(machine, boot.kernel, "-smp", str(boot.cpus), *arguments, memory=boot.memory)
    return by_debug_exit(ended.status, ended.stdout, ended.stderr)


# ---- our monitor

def pvh_arguments(boot: Boot, options: list[str]) -> list[str]:
    arguments = ["run", os.fspath(boot.kernel), "--debug-exit", "-m", boot.memory, "-c", str(boot.cpus), *options]
    for path, text in boot.modules:
        arguments += ["--module", f"{path},cmdline={text}" if text else os.fspath(path)]
    for path in boot.disks:
        arguments += ["--disk", os.fspath(path)]
    return [*arguments, "-a", boot.line] if boot.line else arguments


def boot_on_host(pvh: Path, options: list[str], boot: Boot) -> Result:
    ended = run([pvh, *pvh_arguments(boot, ["--timeout", "100", *options])], limit=110)
    return by_debug_exit(ended.status, ended.stdout, ended.stderr)


def boot_in_lab(pvh: Path, runs: list[tuple[list[str], Boot]], limit: float = 100) -> list[Result]:
    """All of them in one run of the lab, one after the other: most of a run's time is the lab's own."""
    script, files = "", set()
    for i, (options, boot) in enumerate(runs):
        command = shlex.join([os.fspath(pvh), *pvh_arguments(boot, ["--timeout", "60", *options])])
        script += f"echo BEGIN {i}; {command} </dev/null; status=$?; echo; echo END {i} $status\n"
        files |= {boot.kernel, *(path for path, _ in boot.modules), *boot.disks}
    ended = run([LAB, "run", "--hold", "--timeout", str(limit), "--pvh", pvh, *bring(sorted(files | {pvh})), "--",
                 "sh", "-c", script], limit=2.5 * limit)
    results = []
    for i in range(len(runs)):
        _, begin, rest = ended.stdout.partition(b"BEGIN %d\n" % i)
        output, end, status = rest.partition(b"\nEND %d " % i)
        assert begin and end, f"run {i} has no end: {ended}"
        results.append(by_debug_exit(int(status.split(b"\n", 1)[0]), output, ended.stderr))
    return results


# ---- Xen

def boot_on_xen(verb: str, boot: Boot) -> Result:
    assert len(boot.modules) <= 1 and not any(text for _, text in boot.modules), "Xen passes one, without words"
    initrd = [word for path, _ in boot.modules for word in ("--initrd", path)]
    ended = run([LAB, verb, "--timeout", "100", "--memory", boot.memory, "--cpus", str(boot.cpus), *initrd, boot.kernel,
                 "--", *boot.line.split(" ")], limit=300)
    return by_xen(ended)


# ---- all of them

@dataclass(frozen=True)
class Environment:
    """A place to boot in, by the name that it has in docs/compatibility.json."""
    what: str
    version: int = 1  # of start_info
    source: str = "table"  # where the map comes from
    options: tuple[str, ...] | None = None  # of our monitor; None: another's
    many_modules: bool = False  # several, with words of their own
    names_modules: bool = False  # the words of a module are the loader's
    most_cpus: int = 4
    large_memory: bool = True  # more than 4 GiB can be had
    boot: Callable[[Boot], Result] | None = None  # None: our monitor, which runs in two places


def shape(name: str, *more: str, many_modules: bool = False) -> Environment:
    words = " ".join(("pvh run --memmap", name, *more))
    return Environment(words, options=("--memmap", name, *more), many_modules=many_modules)


def on_qemu(machine: str) -> Environment:
    return Environment(f"QEMU, -M {machine}, software emulation", boot=lambda boot: boot_on_qemu(machine, boot))


ENVIRONMENTS = {
    "pvh-strict": shape("strict", many_modules=True),
    "pvh-poison": shape("strict", "--poison", many_modules=True),
    "pvh-firecracker": shape("firecracker"),
    "pvh-cloud-hypervisor": shape("cloud-hypervisor"),
    "pvh-qemu": shape("qemu"),
    "pvh-qboot": shape("qboot"),
    "pvh-xen": shape("xen"),
    "qemu-microvm": on_qemu("microvm"),
    "qemu-pc": on_qemu("pc"),
    "qemu-q35": on_qemu("q35"),
    "xen-dom0": Environment("Xen 4.17, a PVH dom0", version=0, source="xen", most_cpus=2, large_memory=False,
                            names_modules=True, boot=lambda boot: boot_on_xen("xen-dom0", boot)),
    "xen-domu": Environment("Xen 4.17, a PVH domain of xl's", most_cpus=2, large_memory=False,
                            boot=lambda boot: boot_on_xen("xen-domu", boot)),
}
