# SPDX-License-Identifier: BSD-2-Clause
"""Runs a program with a hard time limit and tells how it ended."""
import os
import select
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass


@dataclass
class Ended:
    status: int  # as a shell has it; a death by signal N is -N
    stdout: bytes
    stderr: str
    seconds: float
    max_rss: int  # bytes
    cpu: float = 0.0  # seconds of processor time, its own and the kernel's for it

    def __str__(self) -> str:
        return (f"status {self.status} after {self.seconds:.3f} s, {self.max_rss >> 20} MiB\n"
                f"stdout: {self.stdout[-2000:]!r}\nstderr: {self.stderr[-2000:]}")


def wait_usage(process: subprocess.Popen, limit: float):
    """The exit status and what the process used. Kills the process when the time is up."""
    descriptor = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        late = not poller.poll(limit * 1000)
    finally:
        os.close(descriptor)
    if late:
        process.kill()
    _, raw, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(raw)  # so that Popen does not wait for it again
    assert not late, f"still running after {limit} s: {process.args}"
    return process.returncode, usage


def wait(process: subprocess.Popen, limit: float) -> tuple[int, int]:
    """The exit status and the peak memory in bytes. Kills the process when the time is up."""
    status, usage = wait_usage(process, limit)
    return status, usage.ru_maxrss * 1024


def run(arguments: list, *, limit: float = 10, stdin=subprocess.DEVNULL, **options) -> Ended:
    """Output goes to files, so that a program that prints without end cannot fill our memory or block."""
    arguments = [os.fspath(argument) for argument in arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        options = {"stdout": out, "stderr": err, "start_new_session": True} | options
        begin = time.monotonic()
        process = subprocess.Popen(arguments, stdin=stdin, **options)
        try:
            status, usage = wait_usage(process, limit)
        except BaseException:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
            err.seek(0)
            print(err.read()[-2000:].decode(errors="replace"))
            raise
        seconds = time.monotonic() - begin
        out.seek(0)
        err.seek(0)
        return Ended(status, out.read(), err.read().decode(errors="replace"), seconds, usage.ru_maxrss * 1024,
                     usage.ru_utime + usage.ru_stime)
