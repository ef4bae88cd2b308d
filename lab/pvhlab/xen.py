# SPDX-License-Identifier: BSD-2-Clause
"""Xen's console: which of its lines are a guest's words, and how it says that a guest ended."""

import dataclasses
import os
import re

from .errors import GUEST_CRASHED, USAGE, LabError

# Xen keeps a guest's line until its end or until it has this many bytes, and then says it as a line.
_LINE_LIMIT = 199
# Of a kernel's command line, its final NUL included.
_COMMAND_LINE_LIMIT = 1024

_XEN = b"(XEN) "
_DOM0_STARTS = b"(XEN) *** Serial input to DOM0"
_MARK = re.compile(rb"\(XEN\) |\(d\d+\) ")
_MARKED = re.compile(rb"\(d(\d+)\) (.*)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class End:
    """How a guest ended."""

    words: str
    status: int


POWEROFF = End("poweroff", 0)
REBOOT = End("reboot", 0)
CRASH = End("crash", GUEST_CRASHED)
TRIPLE_FAULT = End("triple fault", GUEST_CRASHED)
SUSPEND = End("suspend", GUEST_CRASHED)
WATCHDOG = End("watchdog", GUEST_CRASHED)
SOFT_RESET = End("soft reset", GUEST_CRASHED)

# SCHEDOP_shutdown's reasons.
_ENDS = {0: POWEROFF, 1: REBOOT, 2: SUSPEND, 3: CRASH, 4: WATCHDOG, 5: SOFT_RESET}


def end(reason: int) -> End:
    return _ENDS.get(reason, End(f"unknown reason {reason}", GUEST_CRASHED))


_TRIPLE_FAULT = re.compile(rb"\(XEN\) d\d+v\d+ Triple fault")


def is_triple_fault(line: bytes) -> bool:
    """Xen says that a guest had one; it goes on to shut it down as if it had asked for a reboot."""
    return _TRIPLE_FAULT.match(line) is not None


_CHATTER = re.compile(rb"\(XEN\) HVM ?d?\d+(v\d+)? (save|restore): ")


def is_chatter(line: bytes) -> bool:
    """What Xen says of each domain that xl builds."""
    return _CHATTER.match(line) is not None


def check_command_line(words: str) -> None:
    if len(os.fsencode(words)) >= _COMMAND_LINE_LIMIT:
        raise LabError(f"the command line has more than the {_COMMAND_LINE_LIMIT - 1} bytes that Xen passes on", USAGE)


class Console:
    """Takes Xen's console apart into what the guest says and everything else, which is called Xen's.

    A guest's line has a mark, `(d1) ...`: Xen passes on what comes through port 0xE9 and console_io. dom0 has the console
    for itself, too. If dom0 is not the guest, any other domain is.
    """

    def __init__(self, is_dom0: bool) -> None:
        self._is_dom0 = is_dom0
        self._pending = b""
        # Before dom0 runs, whatever has no mark is Xen's.
        self.dom0_started = False

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """(is the guest's, its words): Xen's come as whole lines without their newline, the guest's as they are."""
        lines = (self._pending + data.replace(b"\r", b"")).split(b"\n")
        self._pending = lines.pop()
        return [piece for line in lines for piece in self._pieces(line, b"\n")]

    def finish(self) -> list[tuple[bool, bytes]]:
        """What was said last, without a newline."""
        pending, self._pending = self._pending, b""
        return self._pieces(pending, b"") if pending else []

    def _pieces(self, line: bytes, newline: bytes) -> list[tuple[bool, bytes]]:
        if line.startswith(_XEN):
            self.dom0_started |= line.startswith(_DOM0_STARTS)
            return [(False, line)]
        marked = _MARKED.fullmatch(line)
        if marked:
            domain, words = marked.groups()
            if self._is_dom0 != (int(domain) == 0):
                return [(False, line)]
            # A line of just this length was cut: had it ended there, an empty one would follow.
            return [(True, words if len(words) == _LINE_LIMIT else words + newline)]
        # dom0 has begun a line when Xen had something to say.
        cut = _MARK.search(line)
        if cut:
            return [*self._dom0s(line[: cut.start()], b""), *self._pieces(line[cut.start() :], newline)]
        return self._dom0s(line, newline)

    def _dom0s(self, line: bytes, newline: bytes) -> list[tuple[bool, bytes]]:
        is_guests = self._is_dom0 and self.dom0_started
        return [(is_guests, line + newline if is_guests else line)]
