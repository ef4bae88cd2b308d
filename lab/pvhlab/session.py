# SPDX-License-Identifier: BSD-2-Clause
"""One command in L1: its streams, its terminal, its files and its exit status, within its time."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import select
import shutil
import signal
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Self

from . import mend, payload, prepare, qemu, terminal, wire
from .errors import INPUT_MISSING, LAB_FAILED, TIMED_OUT, LabError

_STDIN, _STDOUT, _STDERR = 0, 1, 2

# A restored L1 takes its order within half a second, and brings in 150 MB/s of files: with nothing else running.
_START_SECONDS = 30.0
_START_BYTES_PER_SECOND = 8e6
# Standard input that was passed on is kept, so that a run which then hung can be given it again; up to this much.
_REPLAY_LIMIT = 1 << 20
# No more is taken from one side than this while the other side does not take it.
_BACKLOG = 1 << 20
_READ_SIZE = 1 << 16
# What a pipe that polls as writable takes without blocking.
_PIPE_WRITE = 4096


@dataclasses.dataclass(frozen=True)
class Request:
    cache: pathlib.Path
    command: list[str]
    timeout: float
    retries: int
    hold: bool  # output only when the command has ended
    files: list[str]
    wanted: dict[str, str]  # path in L1: path on the host
    pvh: str | None
    breakpoints: bool = False  # the emulation mended, so that a guest's breakpoints reach its debugger


class Lost(Exception):
    """The machine gave no verdict."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class Input:
    """Our standard input. Remembers what it gave, for another attempt."""

    def __init__(self) -> None:
        self._taken = bytearray()
        self._replayed = 0
        self._lost = False
        self._ended = False
        self.has_terminal = terminal.is_terminal(_STDIN)

    @classmethod
    def none(cls) -> Self:
        """One that has ended already, and leaves ours alone."""
        nothing = cls()
        nothing._ended = True
        nothing.has_terminal = False
        return nothing

    def rewind(self) -> None:
        self._replayed = 0

    def replayable(self) -> bool:
        return not self._lost

    def ready_without_reading(self) -> bool:
        return self._replayed < len(self._taken) or self._ended

    def take(self) -> bytes:
        """What comes next; nothing at the end. May block when it was not polled."""
        if self._replayed < len(self._taken):
            data = bytes(self._taken[self._replayed :])
            self._replayed = len(self._taken)
            return data
        if self._ended:
            return b""
        try:
            data = os.read(_STDIN, _READ_SIZE)
        except OSError:  # closed, or a terminal that hung up
            data = b""
        self._ended = not data
        if self._lost or len(self._taken) + len(data) > _REPLAY_LIMIT:
            self._lost = True
            self._taken.clear()
            self._replayed = 0
        else:
            self._taken += data
            self._replayed = len(self._taken)
        return data


class Outputs:
    """Our standard output and error. Nothing here blocks for longer than the poll that allowed it."""

    def __init__(self, hold: bool) -> None:
        self._pending = {_STDOUT: bytearray(), _STDERR: bytearray()}
        self._hold = hold
        self.delivered = False

    def add(self, fd: int, data: bytes) -> None:
        self._pending[fd] += data

    def forget(self) -> None:
        for pending in self._pending.values():
            pending.clear()

    def release(self) -> None:
        self._hold = False

    def waiting(self) -> list[int]:
        return [] if self._hold else [fd for fd, pending in self._pending.items() if pending]

    def full(self) -> bool:
        return not self._hold and max(map(len, self._pending.values())) > _BACKLOG

    def write(self, fd: int) -> None:
        pending = self._pending[fd]
        written = os.write(fd, pending[:_PIPE_WRITE])
        del pending[:written]
        self.delivered = True

    def flush(self, deadline: float) -> None:
        poll = select.poll()
        while waiting := self.waiting():
            for fd in waiting:
                poll.register(fd, select.POLLOUT)
            ready = poll.poll(_milliseconds(deadline))
            if not ready:
                raise Lost("nobody takes the output", TIMED_OUT)
            for fd, _ in ready:
                self.write(fd)
                poll.unregister(fd)


def _milliseconds(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000) + 1)


def _exit_status(wait_status: int) -> int:
    """As a shell gives it."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


class _Fetched:
    """The files that the command was to leave behind, as they arrive."""

    def __init__(self) -> None:
        self._parts: dict[int, IO[bytes]] = {}
        self._errors: dict[int, int] = {}

    def part(self, content: bytes) -> None:
        (index,) = struct.unpack_from("<I", content)
        if index not in self._parts:
            self._parts[index] = tempfile.TemporaryFile(prefix="pvh-lab-")
        self._parts[index].write(content[4:])

    def end(self, content: bytes) -> None:
        index, error = struct.unpack("<II", content)
        self._errors[index] = error

    def deliver(self, wanted: list[tuple[str, str]], status: int) -> int:
        """Writes them where the host wants them; a missing one turns success into INPUT_MISSING."""
        for index, (inside, outside) in enumerate(wanted):
            error = self._errors.get(index, errno.EIO)
            if error:
                prepare.say(f"{inside}: {os.strerror(error)} (in L1)")
                status = status or INPUT_MISSING
                continue
            with open(outside, "wb") as target:
                if index in self._parts:
                    self._parts[index].seek(0)
                    shutil.copyfileobj(self._parts[index], target, 1 << 20)
        return status


class Attempt:
    """A machine restored once, for one try at the command."""

    def __init__(
        self, request: Request, name: str, machine: qemu.Qemu, source: Input, outputs: Outputs
    ) -> None:
        self._request = request
        self._name = name
        self._machine = machine
        self._source = source
        self._outputs = outputs
        self._has_terminal = source.has_terminal
        self._decoder = wire.Decoder()
        self._to_input = bytearray()
        self._started = False
        self._status: int | None = None
        self._input_ended = False
        self.files = _Fetched()

    def run(self, cargo: payload.Cargo, placed: list[wire.PayloadFile], resized: int) -> int:
        """The command's exit status. `resized` is readable when a signal arrived."""
        order = self._order(sorted(cargo.folders), placed)
        self._tell(wire.Type.ORDER, order.encode())
        self._machine.input.setblocking(False)
        start_seconds = _START_SECONDS + sum(file.size for file in placed) / _START_BYTES_PER_SECOND
        deadline = time.monotonic() + start_seconds
        while not self._is_over():
            was_started = self._started
            if not self._step(deadline, resized):
                if self._started:
                    raise Lost(f"no verdict within {self._request.timeout:g} s", TIMED_OUT)
                raise Lost(f"{self._name} did not take the command within {start_seconds:.0f} s", TIMED_OUT)
            if self._started and not was_started:
                deadline = time.monotonic() + self._request.timeout
        self._outputs.release()
        self._outputs.flush(deadline)
        return self._verdict()

    def _is_over(self) -> bool:
        return self._status is not None

    def _verdict(self) -> int:
        assert self._status is not None
        return self._status

    def _watched(self) -> list[int]:
        """What a kind of attempt has to read besides the frames."""
        return []

    def _read(self, fd: int) -> None:
        raise NotImplementedError

    def _order(self, folders: list[str], placed: list[wire.PayloadFile]) -> wire.Order:
        flags = wire.Flag(0)
        environment = ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root", "PVH_LAB=1"]
        if self._has_terminal:
            flags |= wire.Flag.TERMINAL_IN
            environment.append(f"TERM={os.environ.get('TERM', 'vt100')}")
            if terminal.is_terminal(_STDOUT):
                flags |= wire.Flag.TERMINAL_OUT
            if terminal.is_terminal(_STDERR):
                flags |= wire.Flag.TERMINAL_ERR
        rows, columns = terminal.size(_STDIN)
        return wire.Order(
            flags=flags,
            rows=rows,
            columns=columns,
            now=int(time.time()),
            directory=os.getcwdb(),
            arguments=[os.fsencode(word) for word in self._request.command],
            environment=[os.fsencode(word) for word in environment],
            wanted=[os.fsencode(path) for path in self._request.wanted],
            folders=[os.fsencode(path) for path in folders],
            files=placed,
        )

    def _step(self, deadline: float, resized: int) -> bool:
        """Waits for the next event and handles it; false when time ran out, though there may be events without end."""
        if time.monotonic() >= deadline:
            return False
        control, input_wire = self._machine.control.fileno(), self._machine.input.fileno()
        if self._wants_input() and self._source.ready_without_reading():
            self._pass_input()
        poll = select.poll()
        poll.register(resized, select.POLLIN)
        watched = self._watched()
        if not self._outputs.full():
            for fd in (control, *watched):
                poll.register(fd, select.POLLIN)
        if self._wants_input():
            poll.register(_STDIN, select.POLLIN)
        if self._to_input:
            poll.register(input_wire, select.POLLOUT)
        for fd in self._outputs.waiting():
            poll.register(fd, select.POLLOUT)
        ready = {fd for fd, _ in poll.poll(_milliseconds(deadline))}
        if not ready:
            return time.monotonic() < deadline
        for fd in ready.intersection((_STDOUT, _STDERR)):
            self._outputs.write(fd)
        if input_wire in ready:
            self._send_input()
        if control in ready:
            self._receive()
        for fd in ready.intersection(watched):
            self._read(fd)
        if _STDIN in ready:
            self._pass_input()
        if resized in ready:
            os.read(resized, 64)
            rows, columns = terminal.size(_STDIN)
            self._tell(wire.Type.WINDOW, wire.window(rows, columns))
        return True

    def _tell(self, kind: wire.Type, content: bytes) -> None:
        try:
            self._machine.control.sendall(wire.frame(kind, content))
        except OSError as error:
            raise self._died() from error

    def _died(self) -> Lost:
        return Lost(f"{self._name} died; its console:\n{self._machine.last_words()}", LAB_FAILED)

    def _wants_input(self) -> bool:
        return self._started and not self._input_ended and len(self._to_input) < _BACKLOG

    def _pass_input(self) -> None:
        data = self._source.take()
        self._input_ended = not data
        self._to_input += wire.frame(wire.Type.STDIN, data)

    def _send_input(self) -> None:
        try:
            sent = self._machine.input.send(self._to_input[:_READ_SIZE])
        except OSError:  # QEMU ended; the control wire tells
            sent = len(self._to_input)
        del self._to_input[:sent]

    def _receive(self) -> None:
        try:
            data = self._machine.control.recv(_READ_SIZE)
        except OSError:
            data = b""
        if not data:
            raise self._died()
        for kind, content in self._decoder.feed(data):
            self._handle(kind, content)

    def _handle(self, kind: wire.Type, content: bytes) -> None:
        match kind:
            case wire.Type.STARTED:
                self._started = True
            case wire.Type.STDOUT:
                self._outputs.add(_STDOUT, content)
            case wire.Type.STDERR:
                self._outputs.add(_STDERR, content)
            case wire.Type.TERMINAL:
                self._outputs.add(_STDOUT if terminal.is_terminal(_STDOUT) else _STDERR, content)
            case wire.Type.FILE:
                self.files.part(content)
            case wire.Type.FILE_END:
                self.files.end(content)
            case wire.Type.EXIT:
                self._status = _exit_status(*struct.unpack("<I", content))
            case wire.Type.FAILED:
                raise LabError(content.decode(errors="replace"))
            case wire.Type.READY:
                pass


@contextlib.contextmanager
def _resizes() -> Iterator[int]:
    """A file that becomes readable when the terminal's size changes."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.signal(signal.SIGWINCH, lambda *_: os.write(writing, b"w"))
    try:
        yield reading
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(reading)
        os.close(writing)


def run(request: Request) -> int:
    """The command's exit status, or TIMED_OUT. Raises LabError when the lab could not do its part."""
    for path in request.wanted.values():
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise LabError(f"{path}: there is no folder {folder}", INPUT_MISSING)
    cargo = payload.collect(request.command, request.files, list(request.wanted), request.pvh)

    def restored(disk: IO[bytes]) -> qemu.Qemu:
        with prepare.held(request.cache) as snapshot:
            program = mend.program(request.cache) if request.breakpoints else None
            return qemu.Qemu.restoring(qemu.L1, snapshot.memory, snapshot.state, disk, program=program)

    def attempt(machine: qemu.Qemu, source: Input, outputs: Outputs) -> Attempt:
        return Attempt(request, qemu.L1.name, machine, source, outputs)

    return attempts(request, cargo, Input(), restored, attempt)


def attempts(
    request: Request,
    cargo: payload.Cargo,
    source: Input,
    restored: Callable[[IO[bytes]], qemu.Qemu],
    make: Callable[[qemu.Qemu, Input, Outputs], Attempt],
) -> int:
    """Tries until there is a verdict, as often as it is asked for and as nobody has seen anything of it."""
    outputs = Outputs(request.hold)
    with contextlib.ExitStack() as stack:
        disk, placed = stack.enter_context(payload.disk(cargo))
        resized = stack.enter_context(_resizes())
        for left in range(request.retries, -1, -1):
            source.rewind()
            outputs.forget()
            try:
                with contextlib.ExitStack() as raw:
                    if source.has_terminal:
                        raw.enter_context(terminal.raw(_STDIN))
                    machine = raw.enter_context(restored(disk))
                    attempt = make(machine, source, outputs)
                    status = attempt.run(cargo, placed, resized)
                return attempt.files.deliver(list(request.wanted.items()), status)
            except Lost as lost:
                if outputs.delivered or not source.replayable() or left == 0:
                    prepare.say(str(lost))
                    return lost.status
                prepare.say(f"{lost}; trying once more")
    raise AssertionError("the last attempt returns or raises")
