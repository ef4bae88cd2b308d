# SPDX-License-Identifier: BSD-2-Clause
"""A kernel as Xen's PVH dom0 (start_info version 0): one boot of Xen under QEMU, and how dom0 ended."""

import contextlib
import dataclasses
import os
import pathlib
import re
import select
import sys
import time
from typing import IO

from . import payload, prepare, qemu, xen
from .errors import COMMAND_UNUSABLE, LAB_FAILED, TIMED_OUT, LabError

# Xen takes a second when nothing else runs.
_START_SECONDS = 30.0
# What Xen itself and its tables take of the machine's memory, with some to spare.
_XEN_MIB = 512
_READ_SIZE = 1 << 16

_ENDS = [
    (re.compile(rb"\(XEN\) Hardware Dom0 halted"), xen.POWEROFF),
    (re.compile(rb"\(XEN\) Hardware Dom0 shutdown: rebooting"), xen.REBOOT),
    (re.compile(rb"\(XEN\) Hardware Dom0 crashed"), xen.CRASH),
    (re.compile(rb"\(XEN\) Hardware Dom0 shutdown: watchdog"), xen.WATCHDOG),
    (re.compile(rb"\(XEN\) Hardware domain 0 did unsupported soft reset"), xen.SOFT_RESET),
]
_OTHER_END = re.compile(rb"\(XEN\) Hardware Dom0 shutdown \(unknown reason (\d+)\)")
_PANIC = re.compile(rb"\(XEN\) Panic on CPU \d+:")
_PANIC_COMPLETE = re.compile(rb"\(XEN\) Manual reset required|\(XEN\) Reboot in ")
# dom0 may reset the machine, or switch it off, without a word to Xen.
_QEMU_ENDS = {"guest-reset": xen.REBOOT, "guest-shutdown": xen.POWEROFF}


@dataclasses.dataclass(frozen=True)
class Request:
    cache: pathlib.Path
    kernel: str
    command_line: str
    timeout: float
    retries: int
    memory_mib: int
    cpus: int
    initrd: str | None
    verbose: bool


class _Lost(Exception):
    """dom0 was not even started."""


def _arguments(request: Request, xen_elf: str, kernel: IO[bytes], initrd: IO[bytes] | None) -> list[str]:
    modules = [qemu.module(kernel, request.command_line)]
    sizes = os.fstat(kernel.fileno()).st_size
    if initrd is not None:
        modules.append(qemu.module(initrd, ""))
        sizes += os.fstat(initrd.fileno()).st_size
    megabytes = request.memory_mib + _XEN_MIB + 2 * (sizes >> 20)
    guest = f"dom0=pvh dom0-iommu=none dom0_mem={request.memory_mib}M,max:{request.memory_mib}M dom0_max_vcpus={request.cpus}"
    return [
        *("-accel", "tcg", "-smp", "1", "-cpu", qemu.XEN_CPU, "-m", str(megabytes), "-machine", "pc"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "chardev:console"),
        *("-kernel", xen_elf, "-append", f"{prepare.XEN_ARGUMENTS} {guest}", "-initrd", ",".join(modules)),
    ]


class _Attempt:
    """One boot of Xen."""

    def __init__(self, request: Request, machine: qemu.Process) -> None:
        self._request = request
        self._machine = machine
        self._console = xen.Console(is_dom0=True)
        self._kept: list[bytes] = []  # Xen's lines, to be shown when something went wrong
        self._end: xen.End | None = None
        self._triple_fault = False
        self._panic: bytes | None = None
        self._panic_complete = False

    def run(self) -> int:
        monitor = self._machine.monitor()
        wire = self._machine.wires["console"]
        deadline = time.monotonic() + _START_SECONDS
        poll = select.poll()
        poll.register(wire, select.POLLIN)
        while self._end is None and not self._panic_complete:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return self._timed_out()
            was_started = self._console.dom0_started
            data = wire.recv(_READ_SIZE)
            self._take(self._console.feed(data) if data else self._console.finish())
            if not data and self._end is None:
                self._end = self._qemus_end(monitor)
            if self._console.dom0_started and not was_started:
                self._kept.clear()  # what a guest does is not explained by how Xen came up
                deadline = time.monotonic() + self._request.timeout
        self._take(self._console.finish())
        if self._end is None:
            raise self._refused()
        return self._verdict(self._end)

    def _take(self, pieces: list[tuple[bool, bytes]]) -> None:
        for is_guests, words in pieces:
            if is_guests:
                sys.stdout.buffer.write(words)
            else:
                self._take_xens(words)
        sys.stdout.buffer.flush()

    def _take_xens(self, line: bytes) -> None:
        if self._request.verbose:
            sys.stderr.buffer.write(line + b"\n")
            sys.stderr.buffer.flush()
        if not xen.is_chatter(line):
            self._kept.append(line)
        self._triple_fault |= xen.is_triple_fault(line)
        if _PANIC.match(line):
            self._panic = line
        self._panic_complete |= self._panic is not None and _PANIC_COMPLETE.match(line) is not None
        for pattern, end in _ENDS:
            if pattern.match(line):
                self._end = end
        other = _OTHER_END.match(line)
        if other:
            self._end = xen.end(int(other[1]))

    def _qemus_end(self, monitor: qemu.Monitor) -> xen.End:
        reason = monitor.shutdown_reason()
        if not self._console.dom0_started or reason not in _QEMU_ENDS:
            raise LabError(f"Xen's machine ended ({reason}); {self._explained()}")
        return _QEMU_ENDS[reason]

    def _verdict(self, end: xen.End) -> int:
        if self._triple_fault and end is xen.REBOOT:
            end = xen.TRIPLE_FAULT
        if end.status != 0:
            self._show_kept()
        prepare.say(f"dom0 ended: {end.words}")
        return end.status

    def _timed_out(self) -> int:
        if not self._console.dom0_started:
            raise _Lost(f"Xen did not start dom0 within {_START_SECONDS:.0f} s; {self._explained()}")
        self._take(self._console.finish())
        self._show_kept()
        prepare.say(f"no verdict within {self._request.timeout:g} s")
        return TIMED_OUT

    def _refused(self) -> LabError:
        """Xen panicked."""
        if self._console.dom0_started:
            return LabError(f"Xen panicked; {self._explained()}")
        if not any(b"Could not construct domain 0" in line for line in self._kept):
            return LabError(f"Xen panicked before it started dom0; {self._explained()}")
        return LabError(f"{self._request.kernel}: Xen refused it: {self._reason()}", COMMAND_UNUSABLE)

    def _reason(self) -> str:
        """Xen's lines between the attempt at dom0 and the panic."""
        lines = [line.removeprefix(b"(XEN) ").decode(errors="replace").strip() for line in self._kept]
        begin = max((i for i, line in enumerate(lines) if line.startswith("*** Building a PVH Dom0")), default=-1)
        words = []
        for line in lines[begin + 1 :]:
            if line.startswith("****"):
                break
            if line:
                words.append(line)
        return "; ".join(words) or "it does not say why"

    def _explained(self) -> str:
        said = b"\n".join(self._kept).decode(errors="replace")
        return f"QEMU said:\n{self._machine.last_words()}\nand Xen:\n{said}"

    def _show_kept(self) -> None:
        if not self._request.verbose:
            sys.stderr.buffer.write(b"".join(line + b"\n" for line in self._kept))
            sys.stderr.buffer.flush()


def run(request: Request) -> int:
    """How dom0 ended, as an exit status. Raises LabError when the lab could not do its part."""
    xen.check_command_line(request.command_line)
    with contextlib.ExitStack() as stack:
        kernel = stack.enter_context(open(payload.readable(request.kernel), "rb"))
        initrd = None
        if request.initrd is not None:
            initrd = stack.enter_context(open(payload.readable(request.initrd), "rb"))
        with prepare.held(request.cache) as snapshot:
            xen_elf = snapshot.read()["artefacts"]["xen"]["elf"]
        arguments = _arguments(request, xen_elf, kernel, initrd)
        files = [kernel] if initrd is None else [kernel, initrd]
        for left in range(request.retries, -1, -1):
            try:
                with qemu.Process(arguments, ["console"], files) as machine:
                    return _Attempt(request, machine).run()
            except _Lost as lost:
                if left == 0:
                    prepare.say(str(lost))
                    return LAB_FAILED
                prepare.say(f"{lost}; trying once more")
    raise AssertionError("the last attempt returns or raises")
