# SPDX-License-Identifier: BSD-2-Clause
"""The terminal that the lab was started from."""

import contextlib
import os
import termios
import tty
from collections.abc import Iterator


def is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """Every key goes to L1's terminal, which knows what Ctrl-C means there. Put back however the block ends."""
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def size(fd: int) -> tuple[int, int]:
    """Rows and columns."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return (24, 80)
    return (found.lines, found.columns)
