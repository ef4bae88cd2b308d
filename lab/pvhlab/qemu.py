# SPDX-License-Identifier: BSD-2-Clause
"""QEMU as a process that cannot outlive us, with wires into it; and the machines that are saved and restored in it."""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import types
from typing import IO, Any, Self

from . import tools
from .errors import LabError

PROGRAM = "qemu-system-x86_64"
PAYLOAD_SIZE = 1 << 30  # of the payload disk, which is sparse; part of the snapshot, so it never varies
CPU = "EPYC,+svm,+npt"
_CONSOLE_WIRE = "chardev:console"
_LOG_TAIL = 4000
_ANSWER_SECONDS = 30
_LAST_WORDS_SECONDS = 1

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True)
class Model:
    """A machine that is saved once and restored: the same both times, or QEMU refuses the snapshot.

    One processor: guests of any number of processors run on it, and a second one gained no time and lost some runs
    (README.md has the figures). EPYC is the fastest model that has SVM.
    """

    name: str
    cpu: str
    memory_mib: int

    def arguments(self) -> list[str]:
        return [
            *("-accel", "tcg", "-smp", "1", "-cpu", self.cpu),
            *("-m", str(self.memory_mib), "-machine", "pc,memory-backend=ram"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-device", "virtio-serial-pci,max_ports=3"),
            *("-device", "virtserialport,nr=1,chardev=control,name=lab.control"),
            *("-device", "virtserialport,nr=2,chardev=input,name=lab.input"),
            *("-device", "virtio-blk-pci,drive=payload"),
        ]


# Guests of L1 may have more memory than it: what they do not touch costs nothing.
L1 = Model("L1", CPU, 3072)
# What Xen and the emulation cannot do together. A PV Linux returns to itself by IRET in ring 3, which under SMAP fails here;
# Xen's way to use MWAIT is a fault here; and RDTSCP tells Xen that it was RDTSC, for which Xen stops the guest.
XEN_CPU = f"{CPU},-smap,-monitor,-rdtscp"
# Xen with a Linux as its dom0.
XEN = Model("Xen", XEN_CPU, 4096)


@dataclasses.dataclass(frozen=True)
class Boot:
    """What a machine is started from the first time."""

    arguments: list[str]
    files: list[IO[bytes]] = dataclasses.field(default_factory=list)


def linux_boot(kernel: pathlib.Path, initrd: pathlib.Path, command_line: str) -> Boot:
    return Boot(["-kernel", str(kernel), "-initrd", str(initrd), "-append", command_line])


def module(file: IO[bytes], words: str) -> str:
    """One of the modules that -initrd lists for Xen; a space ends the file's name, a comma the module."""
    return f"/proc/self/fd/{file.fileno()} {words}".replace(",", ",,")


def version() -> str:
    return tools.output([PROGRAM, "--version"]).splitlines()[0]


def _die_with(parent: int) -> None:
    """In the child, before exec: be killed when the lab ends, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Monitor:
    """QEMU's own control channel (QMP)."""

    def __init__(self, wire: socket.socket) -> None:
        wire.settimeout(_ANSWER_SECONDS)
        self._lines = wire.makefile("rwb")
        self._receive()  # the greeting
        self.execute("qmp_capabilities")

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except TimeoutError as error:
            raise LabError(f"QEMU did not answer within {_ANSWER_SECONDS} s") from error
        if not line:
            raise LabError("QEMU ended")
        message: dict[str, Any] = json.loads(line)
        return message

    def execute(self, command: str, **arguments: object) -> Any:
        request = {"execute": command, "arguments": arguments}
        self._lines.write(json.dumps(request).encode() + b"\n")
        self._lines.flush()
        while True:
            answer = self._receive()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"QEMU: {command}: {answer['error']['desc']}")

    def shutdown_reason(self) -> str | None:
        """Why QEMU ended by itself, as its last event tells; nothing when it tells nothing."""
        reason = None
        with contextlib.suppress(LabError):
            while True:
                message = self._receive()
                if message.get("event") == "SHUTDOWN":
                    reason = message["data"].get("reason")
        return reason

    def ignore_shared_memory(self) -> None:
        """Memory stays in its file and is not part of the saved state."""
        capability = {"capability": "x-ignore-shared", "state": True}
        self.execute("migrate-set-capabilities", capabilities=[capability])


class Process:
    """QEMU. A context: leaving it kills QEMU. Each of `wires` is our end of the character device of that name."""

    def __init__(
        self, arguments: list[str], names: list[str], files: list[IO[bytes]], program: str | None = None
    ) -> None:
        self._wire, monitor = socket.socketpair()
        self.wires: dict[str, socket.socket] = {}
        ends = {"monitor": monitor}
        for name in names:
            self.wires[name], ends[name] = socket.socketpair()
        command = [program or tools.find(PROGRAM), *arguments, "-mon", "chardev=monitor,mode=control"]
        for name, end in ends.items():
            command += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
        self._log = tempfile.TemporaryFile()
        parent = os.getpid()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[*(end.fileno() for end in ends.values()), *(file.fileno() for file in files)],
            start_new_session=True,  # a terminal's Ctrl-C is for the lab to act on
            preexec_fn=lambda: _die_with(parent),
        )
        for end in ends.values():
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for wire in (*self.wires.values(), self._wire):
            wire.close()
        self._log.close()

    def monitor(self) -> Monitor:
        return Monitor(self._wire)

    def log(self) -> str:
        """What QEMU (and a console that has no wire) has said."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()

    def last_words(self) -> str:
        """The end of the log of a machine that ends, or should have."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
        return self.log()[-_LOG_TAIL:]


class Qemu(Process):
    """A model running. `control` and `input` carry frames (wire.py)."""

    def __init__(
        self,
        model: Model,
        memory: str,
        payload: IO[bytes],
        serial: str,
        start: Boot,
        program: str | None = None,
    ) -> None:
        arguments = [
            *model.arguments(),
            *("-object", f"memory-backend-file,id=ram,size={model.memory_mib}M,{memory}"),
            *("-drive", f"id=payload,if=none,format=raw,readonly=on,file=/proc/self/fd/{payload.fileno()}"),
            *("-serial", serial),
            *start.arguments,
        ]
        names = ["control", "input"]
        if serial == _CONSOLE_WIRE:
            names.append("console")
        super().__init__(arguments, names, [payload, *start.files], program)
        self.control, self.input = self.wires["control"], self.wires["input"]

    @classmethod
    def booting(cls, model: Model, boot: Boot, memory: pathlib.Path, payload: IO[bytes]) -> Self:
        """Starts the machine anew; the file `memory` follows its memory, the log its console."""
        return cls(model, f"mem-path={memory},share=on", payload, "stdio", boot)

    @classmethod
    def restoring(
        cls,
        model: Model,
        memory: pathlib.Path,
        state: pathlib.Path,
        payload: IO[bytes],
        console: bool = False,
        program: str | None = None,
    ) -> Self:
        """Goes on where the machine was saved. The memory file is mapped, not read, and does not change. The serial
        console is the log, or a wire of its own. `program` is another QEMU than the one that saved it."""
        with state.open("rb") as file:
            start = Boot(["-incoming", "defer"], [file])
            serial = _CONSOLE_WIRE if console else "stdio"
            qemu = cls(model, f"mem-path={memory},share=off", payload, serial, start, program)
            try:
                monitor = qemu.monitor()
                monitor.ignore_shared_memory()
                monitor.execute("migrate-incoming", uri=f"fd:{file.fileno()}")
            except LabError as error:
                with qemu:
                    raise LabError(f"{error}; it said:\n{qemu.last_words()}") from error
        return qemu
