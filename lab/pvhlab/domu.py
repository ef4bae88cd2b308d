# SPDX-License-Identifier: BSD-2-Clause
"""A kernel as a PVH domain that Debian's xl starts (start_info version 1): xl runs in a Linux on Xen, both restored."""

import os
import pathlib
import re
import sys
import tempfile
from typing import IO

from . import payload, prepare, qemu, session, wire, xen
from .dom0 import Request
from .errors import COMMAND_UNUSABLE, LAB_FAILED, TIMED_OUT, USAGE, LabError

_FOLDER = "/run/lab"
_KERNEL = f"{_FOLDER}/kernel"
_INITRD = f"{_FOLDER}/initrd"
_CONFIG = f"{_FOLDER}/config"
_MARKER = b"lab: the domain has ended"  # guest/domu.sh
_SHUT_DOWN = re.compile(rb"^Domain \d+ has shut down, reason code (\d+) ", re.MULTILINE)
_READ_SIZE = 1 << 16
_STDOUT = 1


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


def _quoted(words: str) -> str:
    """As xl's configuration has strings. Escapes by number it takes, and then leaves the character out."""
    return '"' + "".join(_ESCAPES.get(character, character) for character in words) + '"'


def _config(request: Request) -> str:
    lines = [
        'name = "domu"',
        'type = "pvh"',
        f'kernel = "{_KERNEL}"',
        f"cmdline = {_quoted(request.command_line)}",
        f"memory = {request.memory_mib}",
        f"vcpus = {request.cpus}",
        # However it ends, that is the end; and it must not go before its last words were read.
        *(f'on_{event} = "preserve"' for event in ("poweroff", "reboot", "crash", "watchdog", "soft_reset")),
    ]
    if request.initrd is not None:
        lines.append(f'ramdisk = "{_INITRD}"')
    return "".join(f"{line}\n" for line in lines)


class _Attempt(session.Attempt):
    """Over when xl has ended and all that the domain said through Xen has come."""

    def __init__(
        self, request: Request, order: session.Request, machine: qemu.Qemu, source: session.Input, outputs: session.Outputs
    ) -> None:
        super().__init__(order, qemu.XEN.name, machine, source, outputs)
        self._guest = request
        self._wire = machine.wires["console"]
        self._console = xen.Console(is_dom0=False)
        self._kept: list[bytes] = []  # Xen's lines, to be shown when something went wrong
        self._xls = bytearray()
        self._marked = False
        self._triple_fault = False

    def run(self, cargo: payload.Cargo, placed: list[wire.PayloadFile], resized: int) -> int:
        try:
            return super().run(cargo, placed, resized)
        except session.Lost as lost:
            if lost.status != TIMED_OUT or not self._started:
                raise session.Lost(f"{lost}\n{self._explained()}", LAB_FAILED) from lost
            self._show_kept()
            raise

    def _is_over(self) -> bool:
        return self._marked and super()._is_over()

    def _watched(self) -> list[int]:
        return [self._wire.fileno()]

    def _read(self, fd: int) -> None:
        data = self._wire.recv(_READ_SIZE)
        if not data:
            raise self._died()
        for is_guests, words in self._console.feed(data):
            if is_guests:
                self._outputs.add(_STDOUT, words)
            else:
                self._take_xens(words)

    def _take_xens(self, line: bytes) -> None:
        self._say(line + b"\n")
        if not xen.is_chatter(line):
            self._kept.append(line)
        self._triple_fault |= xen.is_triple_fault(line)
        self._marked |= line.endswith(_MARKER)

    def _handle(self, kind: wire.Type, content: bytes) -> None:
        if kind is wire.Type.STDERR:
            self._say(content)
            self._xls += content
        else:
            super()._handle(kind, content)

    def _say(self, words: bytes) -> None:
        if self._guest.verbose:
            sys.stderr.buffer.write(words)
            sys.stderr.buffer.flush()

    def _verdict(self) -> int:
        shut_down = _SHUT_DOWN.search(self._xls)
        if shut_down is None:
            raise self._refused()
        end = xen.end(int(shut_down[1]))
        if end is xen.REBOOT and self._triple_fault:
            end = xen.TRIPLE_FAULT
        if end.status != 0:
            self._show_kept()
        prepare.say(f"domU ended: {end.words}")
        return end.status

    def _refused(self) -> LabError:
        """xl's first complaint is the cause, the others are what follows from it."""
        said = self._xls_text()
        errors = [line for line in said.splitlines() if "error" in line]
        words = errors[0] if errors else said or "it does not say why"
        if not self._guest.verbose:
            sys.stderr.write(f"{said}\n")
            sys.stderr.flush()
        return LabError(f"{self._guest.kernel}: xl could not start it: {words}", COMMAND_UNUSABLE)

    def _show_kept(self) -> None:
        if not self._guest.verbose:
            sys.stderr.buffer.write(b"".join(line + b"\n" for line in self._kept))
            sys.stderr.buffer.flush()

    def _explained(self) -> str:
        said = b"\n".join(self._kept).decode(errors="replace")
        return f"xl said:\n{self._xls_text()}\nand Xen:\n{said}"

    def _xls_text(self) -> str:
        return self._xls.decode(errors="replace").strip()


def run(request: Request) -> int:
    """How the domain ended, as an exit status. Raises LabError when the lab could not do its part."""
    xen.check_command_line(request.command_line)
    if request.memory_mib > prepare.DOMU_MIB:
        raise LabError(f"xen-domu: a domain can have {prepare.DOMU_MIB}M of memory here", USAGE)
    files = {_KERNEL: payload.readable(request.kernel)}
    if request.initrd is not None:
        files[_INITRD] = payload.readable(request.initrd)
    order = session.Request(
        cache=request.cache,
        command=["/usr/bin/domu", _CONFIG],
        timeout=request.timeout,
        retries=request.retries,
        hold=False,
        files=[],
        wanted={},
        pvh=None,
    )

    def restored(disk: IO[bytes]) -> qemu.Qemu:
        with prepare.held(request.cache, prepare.XEN) as snapshot:
            return qemu.Qemu.restoring(qemu.XEN, snapshot.memory, snapshot.state, disk, console=True)

    def attempt(machine: qemu.Qemu, source: session.Input, outputs: session.Outputs) -> session.Attempt:
        return _Attempt(request, order, machine, source, outputs)

    with tempfile.TemporaryDirectory(prefix="pvh-lab-") as folder:
        config = pathlib.Path(folder) / "config"
        config.write_bytes(os.fsencode(_config(request)))
        cargo = payload.Cargo({**files, _CONFIG: str(config)}, {_FOLDER})
        return session.attempts(order, cargo, session.Input.none(), restored, attempt)
