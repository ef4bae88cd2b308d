# SPDX-License-Identifier: BSD-2-Clause
"""`pvh run --gdb` with Debian's gdb as the client: on this machine's KVM, or where there is none with gdb in the lab, whose
emulation is mended for it (lab/pvhlab/mend.py)."""
import contextlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import HOST_KVM, LAB, ROOT
from machines import bring
from lab_boot_test import MARKER
from running import run

pytestmark = pytest.mark.timeout(300)

PORT = 1234
GUEST_SECONDS = 60


@dataclass
class Session:
    gdb: str  # what gdb printed
    stdout: str  # of pvh
    stderr: str
    status: int

    def __str__(self) -> str:
        return f"status {self.status}\n--- gdb\n{self.gdb[-4000:]}\n--- stdout\n{self.stdout[-2000:]}\n--- stderr\n{self.stderr}"


def gdb_closure(folder: Path) -> list[Path]:
    """gdb, its libraries, and as much of Python's library as it wants at its start."""
    program = Path(shutil.which("gdb"))
    listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True, text=True).stdout
    libraries = [Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+)", listed, re.MULTILINE)]
    archive = folder / "python.zip"
    standard = Path(contextlib.__file__).parent
    with zipfile.ZipFile(archive, "w") as file:
        for pattern in ("*.py", "encodings/*.py", "collections/*.py", "importlib/*.py", "re/*.py"):
            for path in sorted(standard.glob(pattern)):
                file.write(path, path.relative_to(standard))
    return [program, archive, *libraries, *sorted(Path("/usr/share/gdb/python/gdb").rglob("*.py"))]


@pytest.fixture(scope="session")
def debug_files(tmp_path_factory) -> list[Path]:
    if not shutil.which("gdb"):
        pytest.skip("no gdb")
    return gdb_closure(tmp_path_factory.mktemp("gdb"))


@pytest.fixture
def debug(pvh: Path, lab_where_needed, debug_files, tmp_path):
    """debug(KERNEL, COMMANDS, pvh's arguments...) runs both in one shell; gdb ends, then pvh, or what `after` does."""

    def call(kernel: Path, commands: list[str], *arguments, symbols: Path | None = None, after: str = "",
             files: list[Path] | None = None, limit: float = GUEST_SECONDS) -> Session:
        out = tmp_path / "out"
        words = [word for command in ["set pagination off", "set confirm off", "set width 0", "set style enabled off",
                                      f"target remote 127.0.0.1:{PORT}", *commands] for word in ("-ex", command)]
        gdb = shlex.join([os.fspath(debug_files[0]), "-nx", "-batch", *words, *([os.fspath(symbols)] if symbols else [])])
        monitor = shlex.join(map(os.fspath, [pvh, "run", kernel, "--timeout", str(limit), "--gdb", str(PORT), *arguments]))
        script = (f"mkdir -p {out}; cd {out}; export PYTHONPATH={debug_files[1] if not HOST_KVM else ''}\n"
                  f"{monitor} </dev/null >stdout 2>stderr & pvh=$!\n"
                  f"until grep -q 'waiting for gdb' stderr; do kill -0 $pvh || break; sleep 0.1; done\n"
                  f"{gdb} </dev/null >gdb 2>&1 & gdb=$!\n{after}\n"
                  "wait $gdb; wait $pvh; echo $? >status\n"
                  "for name in status gdb stdout stderr; do echo \"=== $name\"; cat $name; done\n")
        if HOST_KVM:
            ended = run(["sh", "-c", script], limit=limit + 30)
        else:
            brought = bring([pvh, kernel, *debug_files, *([symbols] if symbols else []), *(files or [])])
            ended = run([LAB, "run", "--breakpoints", "--hold", "--timeout", str(limit + 30), *brought, "--", "sh", "-c", script],
                        limit=2.5 * (limit + 30))
        if b"cannot be mended" in ended.stderr.encode():
            pytest.skip(ended.stderr.strip())
        assert ended.status == 0, ended
        parts = re.split(r"^=== (\w+)\n", ended.stdout.decode(errors="replace").replace("\r\n", "\n"), flags=re.MULTILINE)
        found = dict(zip(parts[1::2], parts[2::2]))
        return Session(found["gdb"], found["stdout"], found["stderr"], int(found["status"]))

    return call


def in_order(text: str, *patterns: str) -> None:
    """Each pattern is found after the one before it."""
    at = 0
    for pattern in patterns:
        match = re.compile(pattern, re.MULTILINE).search(text, at)
        assert match, f"no {pattern!r} from here on:\n{text[at:]}\n--- all of it:\n{text}"
        at = match.end()


def test_from_the_pvh_entry_to_64_bit_code(debug, kernels):
    """32-bit code at first, 64-bit code later: one register file and one kind of breakpoint for both."""
    session = debug(kernels / "hello", [
        "break *pvh_entry", "info registers rip cs cr0 efer", "stepi", "stepi", "print/x *(unsigned char*)(long)&pvh_entry",
        "break pvh_main", "continue", "info registers rip cs cr0 efer", "print/x $fs_base", "stepi",
        "set $r15 = 0x123456789abcdef0", "print/x $r15", "x/i pvh_main", "hbreak pvh::guest::print", "continue", "backtrace 1",
        "delete", "detach"], "--debug-exit", symbols=kernels / "hello.debug")
    in_order(session.gdb, r"in pvh_entry \(\)", r"^rip +0x\w+ +0x\w+ <pvh_entry>", r"^cr0 +0x[01]1 ", r"^efer +0x0 ",
             r"in pvh_entry \(\)", r"in pvh_entry \(\)", r"^\$1 = 0x", r"Breakpoint 2, .* in pvh_main",
             r"^rip .*<pvh_main", r"^cs +0x18", r"^cr0 +0x80", r"^efer +0x[0-9a-f]*d00", r"in pvh_main",
             r"= 0x123456789abcdef0", r"<pvh_main>:", r"Breakpoint 3, .* in pvh::guest::print", r"^#0 .*print", "detached")
    assert "= 0xcc" not in session.gdb, "our int3 does not show"
    assert session.status == 33 and "hello from PVH" in session.stdout, session


def test_every_vcpu_is_a_thread(debug, kernels):
    """The script of the issue: entry, symbol, watchpoint, step on vCPU 1, continue, detach."""
    session = debug(kernels / "smp", [
        "info threads", "break *pvh_entry", "break pvh_main", "continue",
        "watch *(int*)(long)&'(anonymous namespace)::running'", "continue", "info threads", "thread",
        # Or vCPU 0 may see the report that the steps let vCPU 1 write, and be past start() before the breakpoint is there.
        "set scheduler-locking step", "stepi", "stepi", "thread",
        "thread 1", "stepi", "print $_thread", "delete",
        "break pvh::guest::ProcessorStarter::start", "continue", "backtrace 1", "detach"],
        "--debug-exit", "-c", "3", symbols=kernels / "smp.debug")
    in_order(session.gdb, r"\* 1 +Thread 1 \(vCPU 0, running, 32-bit\)", r"  2 +Thread 2 \(vCPU 1, not started, real mode\)",
             r"  3 +Thread 3", r"Breakpoint 2, .*pvh_main", r"Thread 2 hit Hardware watchpoint 3", "Old value = 1", "New value = 2",
             r"in \(anonymous namespace\)::report", r"\* 2 +Thread 2 \(vCPU 1, running, 64-bit\)", r"thread is 2",
             r"in \(anonymous namespace\)::report", r"in \(anonymous namespace\)::report", r"thread is 2",
             r"Switching to thread 1", r"\$1 = 1", r"Thread 1 hit Breakpoint 4", r"^#0 .*ProcessorStarter::start", "detached")
    assert session.status == 33 and "cpus 3\nverdict ok" in session.stdout, session


def test_a_breakpoint_that_stays_is_stepped_over_alone(debug, kernels):
    """gdb leaves them in memory and only says continue; all vCPUs pass there, and none is lost."""
    session = debug(kernels / "smp", [
        "set breakpoint always-inserted on", "break '(anonymous namespace)::report'", "commands 1\nsilent\nend",
        "continue", "continue", "continue", "detach"], "--debug-exit", "-c", "4", symbols=kernels / "smp.debug")
    assert session.gdb.count("hit Breakpoint 1") + session.gdb.count("Switching to Thread") >= 3, session
    assert session.status == 33 and "cpus 4\nverdict ok" in session.stdout, session


def test_four_debug_registers(debug, kernels):
    session = debug(kernels / "hello", ["hbreak pvh_main", *(f"hbreak *{i:#x}" for i in (0x10, 0x20, 0x30, 0x40)), "continue",
                                        "delete 5", "continue", "delete", "awatch *(int*)0x10", "rwatch *(int*)0x21", "continue"],
                    "--debug-exit", symbols=kernels / "hello.debug")
    in_order(session.gdb, r"the processor has four debug registers|too many hardware breakpoints",
             r"Breakpoint 1, .*pvh_main", r"Hardware access \(read/write\) watchpoint", r"Hardware read watchpoint",
             r"exited with code 041")
    assert session.status == 33, session


def test_memory_as_the_guest_sees_it(debug, kernels):
    session = debug(kernels / "hello", [
        "break pvh_main", "continue", "x/2xb pvh_main", "x/1xg 0x7f0000000000", "print/x *(char*)0xffffffffff000000",
        "set {char[4]}$rsp = \"abc\"", "x/s $rsp", "dump binary memory /dev/null 0x1ff000 0x240000", "kill"],
        "--debug-exit", symbols=kernels / "hello.debug")
    in_order(session.gdb, r"Breakpoint 1", r"<pvh_main>:", r"Cannot access memory at address 0x7f0000000000",
             r"Cannot access memory at address 0xffffffffff000000", r'"abc"')
    assert session.status == 0 and session.stdout == "", session


def test_the_guests_own_int3_is_the_guests(debug, kernels):
    session = debug(kernels / "hello", ["break pvh_main", "continue", "set {char}($pc+1) = 0xcc", "set {char}($pc+2) = 0xcc",
                                        "continue"], "--debug-exit", symbols=kernels / "hello.debug")
    assert "exception 3 (breakpoint)" in session.stderr + session.stdout, session


def test_a_triple_fault_stops_first(debug, kernels):
    session = debug(kernels / "hello", ["break pvh_main", "continue", "set $cr3 = 0", "continue", "info threads", "continue"],
                    symbols=kernels / "hello.debug")
    in_order(session.gdb, "Breakpoint 1", "received signal SIGSEGV", "Thread 1", "terminated with signal SIGSEGV")
    assert session.status == 70 and "triple fault" in session.stderr, session


def test_ctrl_c_stops_every_vcpu(debug, kernels):
    session = debug(kernels / "startinfo32", ["shell touch started", "continue", "info threads", "info registers rip", "kill"],
                    "-a", "hang", "-c", "2", after="until test -e started; do sleep 0.1; done; sleep 2; kill -INT $gdb")
    in_order(session.gdb, "received signal SIGINT", "Thread 1", "Thread 2", "^rip")
    assert session.status == 0, session


def test_a_gdb_that_dies_leaves_the_guest_alone(debug, kernels):
    session = debug(kernels / "hello", ["set breakpoint always-inserted on", "break pvh_main", "break pvh::guest::print", "continue",
                                        "shell kill -KILL $PPID"], "--debug-exit", symbols=kernels / "hello.debug")
    assert "Breakpoint 1" in session.gdb
    assert session.status == 33 and "hello from PVH" in session.stdout, session


def test_the_limit_counts_while_gdb_looks(debug, kernels):
    session = debug(kernels / "hello", ["shell sleep 4", "stepi"], symbols=kernels / "hello.debug", limit=2)
    assert session.status == 124 and "vCPU 0 at 0x" in session.stderr, session


def test_linux_from_an_address_that_it_has_not_mapped_yet(debug, images, lab_paths):
    """The first instruction at Linux's own addresses: set, by software and by hardware, when nothing is mapped."""
    vmlinux = images["cloud-amd64-vmlinux"]
    # In secondary_startup_64: movq $1f, %rax; jmp *%rax; 1:
    found = re.search(rb"\x48\xc7\xc0(...\x81)\xff\xe0", vmlinux.read_bytes(), re.DOTALL)
    assert found
    address = 0xffffffff00000000 | int.from_bytes(found[1], "little")
    session = debug(vmlinux, [f"break *{address:#x}", "continue", "info registers rip cr3", "delete", f"hbreak *{address:#x}+0",
                              "stepi", "stepi", "delete", "detach"],
                    "-c", "2", "--initrd", lab_paths["l2-initrd"], "-a", "console=ttyS0 nokaslr quiet pvh.test=poweroff",
                    files=[Path(lab_paths["l2-initrd"])], limit=120)
    in_order(session.gdb, r"Breakpoint 1, ", rf"^rip +{address:#x}", "detached")
    assert session.status == 0 and MARKER in session.stdout, session


# ---- without a guest

def words_of(pvh: Path, kernels: Path, *arguments) -> tuple[int, str]:
    ended = run([pvh, "run", kernels / "hello", *arguments])
    return ended.status, ended.stderr


@pytest.mark.parametrize("place", ["", "gdb", "127.0.0.1", "host.example:1234", "65536", "-1", "unix:", "tcp::", "::1:1234",
                                   "unix:/" + "x" * 200])
def test_what_is_no_place_is_a_usage_error(pvh, kernels, place):
    status, words = words_of(pvh, kernels, f"--gdb={place}")
    assert status == 64 and "--gdb" in words, words


def test_a_place_that_is_taken(pvh, kernels, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, words = words_of(pvh, kernels, "--gdb", str(port))
        assert status == 74 and f"127.0.0.1:{port}: Address already in use" in words, words
    (tmp_path / "socket").touch()
    status, words = words_of(pvh, kernels, "--gdb", f"unix:{tmp_path}/socket")
    assert status == 74 and "Address already in use" in words, words


def test_what_ends_a_machine_ends_one_that_waits(pvh, kernels, lab_where_needed):
    """A signal, and the time limit; the Unix socket is there while it waits, and no longer."""
    script = ('"$0" run "$1" --gdb unix:/tmp/gdb.sock 2>/tmp/err & until grep -q "waiting for gdb" /tmp/err; do sleep 0.1; done\n'
              'test -S /tmp/gdb.sock && echo there; kill -TERM $!; wait $!; echo $?; test -e /tmp/gdb.sock || echo gone\n'
              '"$0" run "$1" --gdb unix:/tmp/gdb.sock --timeout 1; echo $?\n')
    if HOST_KVM:
        script = script.replace("/tmp/", "$2/")
    lab = [] if HOST_KVM else [LAB, "run", "--timeout", "40", "--hold", "--"]
    brought = [] if HOST_KVM else ["--file", pvh, "--file", kernels / "hello"]
    ended = run([*lab[:-1], *brought, *lab[-1:], "sh", "-c", script, pvh, kernels / "hello", os.fspath(ROOT / "build")], limit=120)
    assert ended.stdout.decode().split() == ["there", "143", "gone", "124"], ended
