# SPDX-License-Identifier: BSD-2-Clause
"""QEMU as a process that cannot outlive us, with wires into it; and L1 in it: control, standard input, monitor."""

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
MEMORY_MIB = 3072  # guests of L1 may have more: memory that they do not touch costs nothing
_KERNEL_ARGUMENTS = "console=ttyS0 panic=1 quiet mitigations=off"
_LOG_TAIL = 4000
_ANSWER_SECONDS = 30
_LAST_WORDS_SECONDS = 1

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(frozen=True)
class Boot:
    """What L1 is started from the first time."""

    kernel: pathlib.Path
    initrd: pathlib.Path


def version() -> str:
    return tools.output([PROGRAM, "--version"]).splitlines()[0]


def machine_arguments() -> list[str]:
    """The machine itself: the same when the snapshot is made and when it is used, or QEMU refuses the snapshot.

    One processor: guests of any number of processors run on it, and a second one gained no time and lost some runs
    (README.md has the figures). EPYC is the fastest model that has SVM.
    """
    return [
        *("-accel", "tcg", "-smp", "1", "-cpu", "EPYC,+svm,+npt"),
        *("-m", str(MEMORY_MIB), "-machine", "pc,memory-backend=ram"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-device", "virtio-serial-pci,max_ports=3"),
        *("-device", "virtserialport,nr=1,chardev=control,name=lab.control"),
        *("-device", "virtserialport,nr=2,chardev=input,name=lab.input"),
        *("-device", "virtio-blk-pci,drive=payload"),
    ]


def kernel_arguments() -> str:
    return _KERNEL_ARGUMENTS


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

    def __init__(self, arguments: list[str], names: list[str], files: list[IO[bytes]]) -> None:
        self._wire, monitor = socket.socketpair()
        self.wires: dict[str, socket.socket] = {}
        ends = {"monitor": monitor}
        for name in names:
            self.wires[name], ends[name] = socket.socketpair()
        command = [tools.find(PROGRAM), *arguments, "-mon", "chardev=monitor,mode=control"]
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
        """The end of what QEMU (and a console that has no wire) has said."""
        self._log.seek(0)
        return self._log.read()[-_LOG_TAIL:].decode(errors="replace").strip()

    def last_words(self) -> str:
        """The log of a machine that ends, or should have."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS_SECONDS)
        return self.log()


class Qemu(Process):
    """L1 running. `control` and `input` carry frames (wire.py)."""

    def __init__(self, memory: str, payload: IO[bytes], start: list[str], files: list[IO[bytes]]) -> None:
        arguments = [
            *machine_arguments(),
            *("-object", f"memory-backend-file,id=ram,size={MEMORY_MIB}M,{memory}"),
            *("-drive", f"id=payload,if=none,format=raw,readonly=on,file=/proc/self/fd/{payload.fileno()}"),
            *("-serial", "stdio"),
            *start,
        ]
        super().__init__(arguments, ["control", "input"], [payload, *files])
        self.control, self.input = self.wires["control"], self.wires["input"]

    @classmethod
    def booting(cls, boot: Boot, memory: pathlib.Path, payload: IO[bytes]) -> Self:
        """Starts L1 anew; the file `memory` follows its memory."""
        start = ["-kernel", str(boot.kernel), "-initrd", str(boot.initrd), "-append", kernel_arguments()]
        return cls(f"mem-path={memory},share=on", payload, start, [])

    @classmethod
    def restoring(cls, memory: pathlib.Path, state: pathlib.Path, payload: IO[bytes]) -> Self:
        """Goes on where L1 was saved. The memory file is mapped, not read, and does not change."""
        with state.open("rb") as file:
            qemu = cls(f"mem-path={memory},share=off", payload, ["-incoming", "defer"], [file])
            try:
                monitor = qemu.monitor()
                monitor.ignore_shared_memory()
                monitor.execute("migrate-incoming", uri=f"fd:{file.fileno()}")
            except LabError as error:
                with qemu:
                    raise LabError(f"{error}; it said:\n{qemu.last_words()}") from error
        return qemu
