# SPDX-License-Identifier: BSD-2-Clause
"""The lab's command line."""

import argparse
import json
import os
import pathlib
import re
import signal
import sys
import types

from . import dom0, domu, prepare, session
from .errors import LAB_FAILED, USAGE, LabError

_DESCRIPTION = "Runs a command where KVM is real, or a kernel where Xen is, under QEMU's software emulation of a CPU with SVM."

_MEMORY_MIB = (16, 16384)
_MOST_CPUS = 16
_XEN_VERBS = {"xen-dom0": dom0.run, "xen-domu": domu.run}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise LabError(f"{message}\n{self.format_usage().rstrip()}", USAGE)


class _Interrupted(BaseException):
    """A signal that asks us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    raise _Interrupted(number)


def _add_guest_options(command: _Parser) -> None:
    command.usage = f"{command.prog} [options] KERNEL [-- WORD...]"
    command.epilog = (
        "The guest's words go to standard output. Exit status: 0 the guest asked for poweroff or reboot (standard error "
        "says which), 70 it crashed or ended otherwise, 124 no verdict within --timeout, 126 Xen refused the kernel, "
        "66 a file is missing, 64 usage, 125 the lab failed."
    )
    command.add_argument("kernel", metavar="KERNEL", help="an ELF file with a PVH note, 32 or 64 bits")
    command.add_argument("--timeout", type=float, default=60, metavar="S", help="for the guest (default 60)")
    command.add_argument("--memory", default="256M", metavar="SIZE", help="the guest's, in MiB or as 1G (default 256M)")
    command.add_argument("--cpus", type=int, default=1, metavar="N", help="the guest's processors (default 1)")
    command.add_argument("--initrd", metavar="FILE", help="a module for the guest")
    command.add_argument("--retries", type=int, default=1, metavar="N", help="when Xen hung before the guest (default 1)")
    command.add_argument("--verbose", action="store_true", help="Xen's own lines on standard error, also on success")


def _parser() -> _Parser:
    parser = _Parser(prog="lab", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, words: str) -> _Parser:
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--cache", type=pathlib.Path, metavar="DIR", help="default: $PVH_LAB_CACHE, build/lab")
        return command

    prepare_verb = verb("prepare", "download, build and save what runs start from; does nothing when it is there")
    prepare_verb.add_argument("--xen", action="store_true", help="also what xen-domu starts from, and else its first run makes")
    run = verb("run", "run COMMAND in L1 with its streams, terminal and exit status")
    run.usage = "lab run [options] -- COMMAND [ARGUMENT...]"
    run.add_argument("--timeout", type=float, default=120, metavar="S", help="for the command (default 120)")
    run.add_argument("--file", action="append", default=[], metavar="PATH", help="bring this file too")
    run.add_argument("--get", action="append", default=[], metavar="INSIDE=PATH", help="fetch a file afterwards")
    run.add_argument("--retries", type=int, default=1, metavar="N", help="when L1 hung before any output (default 1)")
    run.add_argument("--hold", action="store_true", help="give the output when the command has ended: always retryable")
    run.add_argument("--breakpoints", action="store_true", help="let KVM in L1 see INT3 and debug registers of its guests")
    run.add_argument("--pvh", metavar="PATH", help="what the word pvh stands for as COMMAND")
    xen_dom0 = verb("xen-dom0", "boot the PVH kernel KERNEL as dom0 of a real Xen: start_info version 0, no memory map")
    _add_guest_options(xen_dom0)
    xen_domu = verb("xen-domu", "boot the PVH kernel KERNEL as a domain of a real Xen, by xl: start_info version 1")
    _add_guest_options(xen_domu)
    verb("paths", "print what was prepared, as JSON")
    initrd = verb("initrd", "write the test guest's initrd")
    initrd.add_argument("-o", "--output", type=pathlib.Path, required=True, metavar="FILE")
    return parser


def _check_limits(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.timeout < 1e6:
        raise LabError(f"{arguments.verb}: --timeout is a number of seconds above 0", USAGE)
    if arguments.retries < 0:
        raise LabError(f"{arguments.verb}: --retries is 0 or more", USAGE)


def _run(arguments: argparse.Namespace, cache: pathlib.Path, command: list[str]) -> int:
    if not command:
        raise LabError("run: there is no command; put it after --", USAGE)
    _check_limits(arguments)
    wanted = {}
    for word in arguments.get:
        inside, equals, outside = word.partition("=")
        if not inside or not equals or not outside:
            raise LabError(f"run: --get {word}: is not PATH_IN_L1=PATH_HERE", USAGE)
        wanted[os.path.abspath(inside)] = outside
    return session.run(
        session.Request(
            cache=cache,
            command=command,
            timeout=arguments.timeout,
            retries=arguments.retries,
            hold=arguments.hold,
            files=arguments.file,
            wanted=wanted,
            pvh=arguments.pvh,
            breakpoints=arguments.breakpoints,
        )
    )


def _mebibytes(verb: str, size: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([MG]?)", size)
    mebibytes = int(match[1]) * (1024 if match[2] == "G" else 1) if match else 0
    if not _MEMORY_MIB[0] <= mebibytes <= _MEMORY_MIB[1]:
        least, most = _MEMORY_MIB
        raise LabError(f"{verb}: --memory {size}: is not a size such as 256M or 1G, from {least}M to {most}M", USAGE)
    return mebibytes


def _xen(arguments: argparse.Namespace, cache: pathlib.Path, words: list[str]) -> int:
    _check_limits(arguments)
    if not 1 <= arguments.cpus <= _MOST_CPUS:
        raise LabError(f"{arguments.verb}: --cpus is a number from 1 to {_MOST_CPUS}", USAGE)
    return _XEN_VERBS[arguments.verb](
        dom0.Request(
            cache=cache,
            kernel=arguments.kernel,
            command_line=" ".join(words),
            timeout=arguments.timeout,
            retries=arguments.retries,
            memory_mib=_mebibytes(arguments.verb, arguments.memory),
            cpus=arguments.cpus,
            initrd=arguments.initrd,
            verbose=arguments.verbose,
        )
    )


def _dispatch(words: list[str]) -> int:
    split = words.index("--") if "--" in words else len(words)
    arguments = _parser().parse_args(words[:split])
    cache = (arguments.cache or prepare.default_cache()).absolute()
    if arguments.verb == "run":
        return _run(arguments, cache, words[split + 1 :])
    if arguments.verb in _XEN_VERBS:
        return _xen(arguments, cache, words[split + 1 :])
    if split != len(words):
        raise LabError(f"{arguments.verb}: takes no command", USAGE)
    if arguments.verb == "prepare":
        prepare.prepare(cache, *([prepare.L1, prepare.XEN] if arguments.xen else [prepare.L1]))
    else:
        with prepare.held(cache) as snapshot:
            artefacts = snapshot.read()["artefacts"]
        if arguments.verb == "paths":
            print(json.dumps(artefacts, indent=2))
        else:
            arguments.output.write_bytes(pathlib.Path(artefacts["l2-initrd"]).read_bytes())
    return 0


def _open_standard_streams() -> None:
    """A stream that our caller closed must not become the number of some other file."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def main() -> int:
    _open_standard_streams()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _dispatch(sys.argv[1:])
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"lab: {where}{error.strerror}", file=sys.stderr)
        return LAB_FAILED
    except _Interrupted as interrupted:
        # Everything is undone; now end the way the signal ends a program.
        signal.signal(interrupted.number, signal.SIG_DFL)
        os.kill(os.getpid(), interrupted.number)
        return 128 + interrupted.number
