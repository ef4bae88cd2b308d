# SPDX-License-Identifier: BSD-2-Clause
"""Xen's console: which of its lines are a guest's words, and how it says that a guest ended."""

import dataclasses
import re

from .errors import GUEST_CRASHED

# Xen keeps a guest's line until its end or until it has this many bytes, and then says it as a line.
_LINE_LIMIT = 199
# Of a kernel's command line, its final NUL included.
COMMAND_LINE_LIMIT = 1024

_XEN = b"(XEN) "
_STARTS = re.compile(rb"\(XEN\) |\(d\d+\) ")
_GUEST = re.compile(rb"\(d(\d+)\) (.*)", re.DOTALL)


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
ENDS = {0: POWEROFF, 1: REBOOT, 2: SUSPEND, 3: CRASH, 4: WATCHDOG, 5: SOFT_RESET}

_TRIPLE_FAULT = re.compile(rb"\(XEN\) d(\d+)v\d+ Triple fault")


def triple_fault(line: bytes) -> int | None:
    """The domain that Xen says has had one; Xen goes on to shut it down as if it had asked for a reboot."""
    match = _TRIPLE_FAULT.match(line)
    return int(match.group(1)) if match else None


class Console:
    """Takes Xen's console apart into Xen's own lines and what a domain says: `(d1) ...` as Xen passes it on from
    port 0xE9 and from console_io, or, as dom0 alone may, straight to the console."""

    def __init__(self, domain: int) -> None:
        self._domain = domain
        self._pending = b""
        self._unfinished = False
        # Before dom0 runs, whatever has no mark is Xen's.
        self.guest_started = False

    def feed(self, data: bytes) -> list[tuple[bool, bytes]]:
        """(is the domain's, its words): Xen's come as whole lines without their newline, the domain's as they are."""
        lines = (self._pending + data.replace(b"\r", b"")).split(b"\n")
        self._pending = lines.pop()
        return [piece for line in lines for piece in self._pieces(line, b"\n")]

    def finish(self) -> list[tuple[bool, bytes]]:
        """What was said last, without a newline."""
        pending, self._pending = self._pending, b""
        return self._pieces(pending, b"") if pending else []

    def _pieces(self, line: bytes, newline: bytes) -> list[tuple[bool, bytes]]:
        if line.startswith(_XEN):
            self.guest_started |= line.startswith(b"(XEN) *** Serial input to DOM0")
            return [(False, line)]
        guest = _GUEST.fullmatch(line)
        if guest:
            domain, words = guest.groups()
            if int(domain) != self._domain:
                return [(False, line)]
            self.guest_started = True
            # A line of just this length was cut: had it ended there, an empty one would follow.
            return [(True, words if len(words) == _LINE_LIMIT else words + newline)]
        if not self.guest_started:
            return [(False, line)]
        if self._domain != 0:
            return [(False, line)]
        # dom0 has begun a line when Xen had something to say.
        cut = _STARTS.search(line)
        if cut:
            return [(True, line[: cut.start()]), *self._pieces(line[cut.start() :], newline)]
        return [(True, line + newline)]
