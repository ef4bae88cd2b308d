# SPDX-License-Identifier: BSD-2-Clause
"""`make demo` as a newcomer sees it: on a terminal, typing into the shell of a booted Debian kernel."""
import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from pathlib import Path

import pytest

# A boot may need its second try.
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parent.parent


def take_terminal() -> None:
    """Stdin becomes the terminal of the new session, so that it counts as in the foreground."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Screen:
    """A program on a pseudo terminal."""

    def __init__(self, arguments: list):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=take_terminal)
        os.close(slave)
        self.text = ""

    def read_until(self, pattern: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {pattern!r} in {seconds} s:\n{self.text[-3000:]}"
            try:
                data = os.read(self.master, 65536)
            except OSError:  # the other side is closed: the program has ended
                data = b""
            assert data, f"ended before {pattern!r}:\n{self.text[-3000:]}"
            self.text += data.decode(errors="replace")

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self, seconds: float) -> int:
        """Reads what is left, so that the program cannot block, and gives its status."""
        stop = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < stop, f"still running:\n{self.text[-3000:]}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    time.sleep(0.05)
        return self.process.returncode


@pytest.fixture
def demo():
    screen = Screen([ROOT / "tools" / "demo"])
    yield screen
    if screen.process.poll() is None:
        os.killpg(screen.process.pid, 9)
        screen.process.wait()
    os.close(screen.master)


SHELL_PROMPT = r"[#$] \x1b?"


def test_the_demo_ends_in_a_shell_that_takes_what_is_typed(demo):
    demo.read_until(r"demo: (no usable|this CPU has)", 60)
    demo.read_until(SHELL_PROMPT, 100)
    demo.type("echo sum-$((40 + 2)); uname -r\r")
    demo.read_until(r"sum-42\s+6\.\d+\.\d+-\d+-cloud-amd64", 20)
    demo.type("poweroff -f\r")
    assert demo.end(30) == 0, demo.text[-3000:]


def test_ctrl_c_goes_to_the_guest_and_ctrl_a_x_ends_the_monitor(demo):
    demo.read_until(SHELL_PROMPT, 160)
    demo.type("sleep 1000\r")
    time.sleep(2)
    demo.type("\x03")
    demo.type("echo still-$((1 + 1))\r")
    demo.read_until("still-2", 20)
    demo.type("\x01x")
    assert demo.end(30) == 0, demo.text[-3000:]
