# SPDX-License-Identifier: BSD-2-Clause
"""Other programs: found, run, and complained about in words that say what to install."""

import os
import pathlib
import shutil
import subprocess

from .errors import LabError

_PACKAGE_OF = {
    "apt-cache": "apt (the lab takes its kernels from Debian's packages)",
    "apt-get": "apt (the lab takes its kernels from Debian's packages)",
    "dpkg-deb": "dpkg",
    "qemu-system-x86_64": "qemu-system-x86 and seabios: apt-get install qemu-system-x86 seabios",
    "readelf": "binutils: apt-get install binutils",
    "c++": "a C++ compiler: apt-get install g++-12",
}


def find(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise LabError(f"{name} is not installed; it comes with {_PACKAGE_OF[name]}")
    return path


def compiler() -> str:
    """The C++ compiler for what runs in L1; CXX has the first word."""
    for name in (os.environ.get("CXX", ""), "g++-12", "clang++-19", "g++"):
        if name and shutil.which(name):
            return name
    return find("c++")


def output(command: list[str], cwd: pathlib.Path | None = None) -> str:
    """Runs a program that must succeed; gives what it printed."""
    done = subprocess.run(
        [find(command[0]), *command[1:]],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.strip() or f"exit status {done.returncode}"
        raise LabError(f"{' '.join(command)}: {words}")
    return done.stdout
