# SPDX-License-Identifier: BSD-2-Clause
"""Guests on this machine's own KVM, hardware or software, or where there is none on the lab's: what they are handed, how
they end, how their console behaves. What is about pvh as a program here (signals, terminals, time) needs this machine's."""
import contextlib
import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

import report
from conftest import HOST_KVM
from running import Ended, run, wait

PAGE = 4096
MIB = 1 << 20
GIB = 1 << 30
RAM, RESERVED, ACPI, NVS = 1, 2, 3, 4


@pytest.fixture
def startinfo(boot, kernels):
    """startinfo(*arguments) boots it and gives how it ended and what it reported."""

    def call(*arguments, **options) -> tuple[Ended, report.Report]:
        ended = boot(kernels / "startinfo32", *arguments, **options)
        return ended, report.parse(ended.stdout)

    return call


def software_kvm() -> bool:
    return HOST_KVM and not re.search(r"^flags\s*:.*\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text(), re.M)


# ---- what the guest is handed -----------------------------------------------------------------------------------

def check_entry_state(found: report.Report) -> None:
    regs = found.regs
    assert regs["ebx"] == found.start_info["paddr"]
    assert regs["cr0"] in (0x01, 0x11), "PE, and ET on processors where it cannot be cleared"
    assert regs["cr4"] == 0
    virtual_8086, interrupts, trap = 1 << 17, 1 << 9, 1 << 8
    assert regs["eflags"] & (virtual_8086 | interrupts | trap) == 0
    assert regs["eflags"] & 2, "the one reserved bit that is always set"


def entry_of(found: report.Report, first: int, size: int) -> dict | None:
    return next((entry for entry in found.memmap if entry["addr"] <= first and first + size <= entry["addr"] + entry["size"]),
                None)


def check_strict_map(found: report.Report, memory: int) -> None:
    entries = found.memmap
    assert len(entries) == found.start_info["entries"]
    for entry in entries:
        assert entry["size"] > 0 and 1 <= entry["type"] <= 7 and "reserved" not in entry, entry
        if entry["type"] == RAM:
            assert entry["addr"] % PAGE == 0 and entry["size"] % PAGE == 0, entry
    for before, after in zip(entries, entries[1:]):
        assert before["addr"] + before["size"] <= after["addr"], (before, after)
        touching = before["addr"] + before["size"] == after["addr"]
        assert not (touching and before["type"] == after["type"]), ("could be one", before, after)
    ram = sum(entry["size"] for entry in entries if entry["type"] == RAM)
    assert memory - MIB <= ram <= memory, f"{ram:#x} of {memory:#x}"
    info = found.start_info
    assert entry_of(found, info["paddr"], 56)
    assert entry_of(found, info["memmap"], 24 * len(entries))
    if info["nr_modules"]:
        assert entry_of(found, info["modlist"], 32 * info["nr_modules"])
    for module in found.modules:
        assert entry_of(found, module["paddr"], max(1, module["size"]))["type"] == RAM
    if info["rsdp"]:
        assert entry_of(found, info["rsdp"], 36)
        assert entry_of(found, found.rsdp["xsdt"], 36)["type"] == ACPI


def make_modules(folder: Path, sizes: list[int]) -> list[Path]:
    paths = []
    for i, size in enumerate(sizes):
        paths.append(folder / f"module{i}")
        paths[-1].write_bytes(random.Random(size).randbytes(size))
    return paths


def check_modules(found: report.Report, paths: list[Path], texts: list[bytes]) -> None:
    assert found.start_info["nr_modules"] == len(found.modules) == len(paths)
    places = []
    for module, path, text in zip(found.modules, paths, texts):
        content = path.read_bytes()
        assert module["size"] == len(content)
        assert module["sum"] == report.checksum(content), f"{path.name} is not there"
        assert module["paddr"] % PAGE == 0
        assert "reserved" not in module
        assert module.get("text", b"") == text[:report.SHOWN_TEXT] and module.get("length", 0) == len(text)
        places.append((module["paddr"], module["paddr"] + module["size"]))
    places.sort()
    assert all(before[1] <= after[0] for before, after in zip(places, places[1:])), places


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_start_info_is_whole(startinfo, tmp_path, version, count):
    paths = make_modules(tmp_path, [5000, 1, 300_001][:count])
    texts = [b"", b"first, with a comma", b'quotes " and \\ and \xc3\xa4'][:count]
    arguments = ["--start-info", str(version), "-a", "hello  world"]
    for i, (path, text) in enumerate(zip(paths, texts)):
        arguments += ["-i", path] if i == 0 else ["--module", os.fsencode(path) + b",cmdline=" + text]
    ended, found = startinfo(*arguments, "--", "more", "words")
    assert (ended.status, found.verdict, ended.stderr) == (report.OK, "ok", ""), ended
    info = found.start_info
    assert (info["magic"], info["version"], info["flags"]) == (0x336EC578, version, 0)
    assert found.cmdline["text"] == b"hello  world more words"
    assert ("memmap" in info) == (version == 1)
    check_entry_state(found)
    assert found.regs["eflags"] == 2
    check_modules(found, paths, texts)
    if version == 1:
        check_strict_map(found, 256 * MIB)
    assert found.rsdp["signature"] == found.rsdp["checksum"] == "ok" and found.rsdp["revision"] == 2


@pytest.mark.parametrize("size,memory", [("2M", 2 * MIB), ("16M", 16 * MIB), ("128", 128 * MIB), ("300M", 300 * MIB), ("1G", GIB),
                                         ("3G", 3 * GIB), ("3073M", 3073 * MIB), ("5G", 5 * GIB), ("1048580K", GIB + 4096)])
def test_the_map_has_the_memory_that_was_asked_for(startinfo, size, memory):
    ended, found = startinfo("-m", size)
    assert ended.status == report.OK, ended
    check_strict_map(found, memory)
    hole = entry_of(found, 0xFEE00000, PAGE)
    assert hole is None or hole["type"] != RAM


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 2047, 4095, 65_536, 100_000])
def test_a_command_line_of_any_length_arrives(startinfo, length):
    text = (b"0123456789abcde " * (length // 16 + 1))[:length]
    ended, found = startinfo("-a", text)
    assert ended.status == report.OK, ended
    assert found.cmdline.get("length", 0) == length
    assert found.cmdline.get("text", b"") == text[:report.SHOWN_TEXT]
    if length > report.SHOWN_TEXT:
        assert found.cmdline["sum"] == report.checksum(text)


def test_many_modules_arrive_in_order(startinfo, tmp_path):
    paths = make_modules(tmp_path, [(i + 1) * 100 for i in range(16)])
    options = [option for i, path in enumerate(paths) for option in ("--module", f"{path},cmdline=number {i}")]
    ended, found = startinfo(*options)
    assert ended.status == report.OK, ended
    check_modules(found, paths, [b"number %d" % i for i in range(16)])


def test_every_byte_of_a_module_arrives(startinfo, tmp_path):
    paths = make_modules(tmp_path, [123_457, 4096])
    ended, found = startinfo("-i", paths[0], "--module", paths[1], "-a", "sum-all")
    assert ended.status == report.OK, ended
    assert [module["sum"] for module in found.modules] == [report.checksum(path.read_bytes(), True) for path in paths]


def test_an_empty_module_is_still_a_module(startinfo, tmp_path):
    paths = make_modules(tmp_path, [0, 10])
    ended, found = startinfo("-i", paths[0], "--module", paths[1])
    assert found.start_info["nr_modules"] == 2, ended
    assert [module["size"] for module in found.modules] == [0, 10]


def test_poison_changes_only_what_is_unspecified(startinfo, tmp_path):
    paths = make_modules(tmp_path, [9000])
    plain_ended, plain = startinfo("-i", paths[0], "-a", "hello")
    ended, found = startinfo("-i", paths[0], "-a", "hello", "--poison")
    assert (plain_ended.status, ended.status) == (report.OK, report.OK), ended
    check_entry_state(found)
    check_modules(found, paths, [b""])
    check_strict_map(found, 256 * MIB)
    assert found.cmdline["text"] == b"hello"
    unspecified = [name for name in ("eax", "ecx", "edx", "esi", "edi", "ebp", "esp") if found.regs[name] != plain.regs[name]]
    assert len(unspecified) == 7, "these registers are free to be hostile"


# Where each peer puts things (its source code says so; QEMU's two were also seen in a running guest).
SHAPES = {
    "qemu": {"paddr": 0x21E0, "modlist": 0x21C0, "cmdline": 0x11C0, "memmap": 0x5A8},
    "qboot": {"paddr": 0xF31E0},
    "firecracker": {"paddr": 0x6000, "modlist": 0x6040, "cmdline": 0x20000, "memmap": 0x7000, "rsdp": 0},
    "cloud-hypervisor": {"paddr": 0x6000, "modlist": 0x6040, "cmdline": 0x20000, "memmap": 0x7000, "rsdp": 0xA0000},
    "xen": {},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("poison", [False, True], ids=["plain", "poison"])
def test_a_peers_shape_is_a_shape_that_boots(startinfo, tmp_path, shape, poison):
    paths = make_modules(tmp_path, [7777])
    ended, found = startinfo("--memmap", shape, "-a", "hello", "-i", paths[0], *(["--poison"] if poison else []))
    assert ended.status == report.OK, ended
    assert {name: found.start_info[name] for name in SHAPES[shape]} == SHAPES[shape]
    check_entry_state(found)
    assert found.cmdline["text"] == b"hello"
    assert found.modules[0]["sum"] == report.checksum(paths[0].read_bytes())
    ram = sum(entry["size"] for entry in found.memmap if entry["type"] == RAM)
    assert 254 * MIB <= ram <= 256 * MIB


def test_qboots_map_ends_in_an_empty_entry(startinfo):
    _, found = startinfo("--memmap", "qboot")
    assert found.memmap[-1] == {"addr": 0, "size": 0, "type": 0}


def test_the_map_is_what_layout_prints(pvh, startinfo, kernels):
    _, found = startinfo("-m", "5G", "-a", "hello")
    ended = run([pvh, "layout", "--json", kernels / "startinfo32", "-m", "5G", "-a", "hello"])
    assert ended.status == 0, ended
    printed = ended.stdout.decode()
    for entry in found.memmap:
        assert str(entry["addr"]) in printed or f"{entry['addr']:#x}" in printed, entry


def test_it_takes_a_tenth_of_a_second(kvm, startinfo, tmp_path, record_property):
    paths = make_modules(tmp_path, [100_000] * 3)
    options = [option for path in paths for option in ("--module", path)]
    seconds = []
    for _ in range(5):
        ended, _ = startinfo(*options)
        assert ended.status == report.OK, ended
        seconds.append(ended.seconds)
    median = statistics.median(seconds)
    record_property("median_seconds", median)
    print(f"startinfo32 with 3 modules: median {median * 1000:.1f} ms of {[round(s * 1000, 1) for s in seconds]}"
          + ("" if median < 0.1 else "; 100 ms is the aim on an idle machine"))
    assert median < 1.0


# ---- how it ends ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value", [0, 1, 16, 32, 34, 35, 127])
def test_the_debug_exit_is_the_exit_status(startinfo, value):
    ended, _ = startinfo("-a", f"exit={value}")
    assert ended.status == value * 2 + 1, ended
    collides = ended.status in (65, 69, 71)
    assert bool(ended.stderr) == collides, ended
    if collides:
        assert "debug exit" in ended.stderr and hex(value) in ended.stderr, ended


@pytest.mark.parametrize("value", [128, 255])
def test_a_debug_exit_above_127_stays_odd(startinfo, value):
    ended, _ = startinfo("-a", f"exit={value}")
    assert ended.status == (value * 2 + 1) & 0xFF, ended


def test_without_the_option_there_is_no_debug_exit(startinfo):
    ended, _ = startinfo(debug_exit=False)
    assert (ended.status, ended.stderr) == (0, ""), "the kernel asks for a reset instead"


@pytest.mark.parametrize("word", ["reset", "poweroff", "acpi-reset"])
def test_an_orderly_end_is_status_0(startinfo, word):
    ended, _ = startinfo("-a", word)
    assert (ended.status, ended.stderr) == (0, ""), ended


def test_a_triple_fault_is_status_70(startinfo):
    ended, _ = startinfo("-a", "triple")
    assert ended.status == 70, ended
    # KVM on AMD resets the processor before it tells, so that the place is lost.
    place = ".*0x10[0-9a-f]{4}" if software_kvm() else ""
    assert re.search(r"^pvh: .*startinfo32: .*triple fault" + place, ended.stderr), ended


def test_an_instruction_that_kvm_cannot_run_is_named(startinfo):
    ended, found = startinfo("-a", "badinsn")
    if not software_kvm():
        assert ended.status == 70, ended
        return
    assert ended.status == 71, ended
    rip = re.search(rb"rip=(0x[0-9a-f]+)", found.rest)[1].decode()
    assert rip in ended.stderr and "0f ae 28" in ended.stderr, ended
    assert "neither vmx nor svm" in ended.stderr, ended


@pytest.mark.parametrize("word", ["hang", "hlt", "echo-irq"])
def test_timeout_ends_any_guest(kvm, startinfo, word):
    """A loop, a halt that nothing can end, a halt that an interrupt could end."""
    ended, _ = startinfo("-a", word, timeout=0.7)
    assert ended.status == 124 and "0.7" in ended.stderr, ended
    assert 0.6 < ended.seconds < 3, ended


@contextlib.contextmanager
def started(arguments: list, until: bytes, **options):
    """A running pvh, once its stdout has shown `until`. Killed at the end if it still runs."""
    process = subprocess.Popen([os.fspath(argument) for argument in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, **options)
    try:
        process.shown = read_until(process.stdout.fileno(), until)
        yield process
    finally:
        if process.returncode is None and process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream and not stream.closed:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def read_until(descriptor: int, until: bytes, seconds: float = 15) -> bytes:
    shown = b""
    end = time.monotonic() + seconds
    while until not in shown:
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {until!r} in {seconds} s, only {shown[-1000:]!r}"
        more = os.read(descriptor, 65536)
        assert more, f"ended before {until!r}: {shown[-1000:]!r}"
        shown += more
    return shown


@pytest.mark.parametrize("word", ["hang", "hlt"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_signal_ends_the_guest_in_order(pvh, kvm, kernels, name, word):
    number = getattr(signal, name)
    with started([pvh, "run", kernels / "startinfo32", "-a", word], b"verdict ok\n", stdin=subprocess.DEVNULL) as process:
        time.sleep(0.05)
        process.send_signal(number)
        status, _ = wait(process, 3)
        assert status == 128 + number, process.stderr.read()


def test_a_signal_before_the_guest_runs_ends_it_too(pvh, kvm, kernels):
    """At any moment of the start: never a hang, never status 0."""
    for delay in (0, 0.002, 0.005, 0.01, 0.02, 0.03):
        with started([pvh, "run", kernels / "startinfo32", "-a", "hang"], b"", stdin=subprocess.DEVNULL) as process:
            time.sleep(delay)
            process.terminate()
            status, _ = wait(process, 3)
            assert status in (128 + signal.SIGTERM, -signal.SIGTERM), f"{status} after {delay}"


def test_an_ignored_signal_stays_ignored(pvh, kvm, kernels):
    """nohup works."""
    script = 'trap "" HUP; exec "$0" run "$1" -a "echo" --debug-exit'
    with started(["sh", "-c", script, pvh, kernels / "startinfo32"], b"\necho\n", stdin=subprocess.PIPE) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        process.stdin.write(b"q")
        process.stdin.flush()
        status, _ = wait(process, 5)
        assert status == report.OK


# ---- the console ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stdin", ["</dev/null", "<&-", "</dev/zero", "<.", "<\"$1\"", "</dev/full"])
def test_any_stdin_will_do(pvh, kvm, kernels, tmp_path, stdin):
    script = f'exec "$0" run "$1" --debug-exit --timeout 10 {stdin}'
    ended = run(["sh", "-c", script, pvh, kernels / "startinfo32"], cwd=tmp_path)
    assert (ended.status, ended.stderr) == (report.OK, ""), ended


def test_an_open_pipe_on_stdin_does_not_delay_the_end(kvm, startinfo):
    reader, writer = os.pipe()
    try:
        ended, _ = startinfo(stdin=reader)
        assert ended.status == report.OK and ended.seconds < 2, ended
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("word", ["echo", "echo-irq"])
def test_a_pipe_is_typed_into_the_guest(pvh, kvm, kernels, word):
    with started([pvh, "run", kernels / "startinfo32", "-a", word, "--debug-exit", "--timeout", "20"], f"\n{word}\n".encode(),
                 stdin=subprocess.PIPE) as process:
        for text in (b"a", b"hello, world\n", bytes(byte for byte in range(256) if byte != ord("q")), b"0123456789" * 100):
            process.stdin.write(text)
            process.stdin.flush()
            shown = b""
            while len(shown) < len(text):
                shown += read_until(process.stdout.fileno(), b"")or os.read(process.stdout.fileno(), 4096)
            assert shown == text
        process.stdin.write(b"q")
        process.stdin.flush()
        status, _ = wait(process, 5)
        assert status == report.OK, process.stderr.read()
        assert process.stdout.read() == b"q"


@pytest.mark.parametrize("word", ["echo", "echo-irq"])
def test_a_file_is_typed_into_the_guest(startinfo, tmp_path, word):
    """Its first bytes arrive before the guest has turned its FIFO on, which empties it: they may be lost, no others."""
    text = b"".join(b"%03d " % i for i in range(200)) + b"q"
    path = tmp_path / "input"
    path.write_bytes(text)
    with path.open("rb") as file:
        ended, found = startinfo("-a", word, stdin=file)
    assert ended.status == report.OK, ended
    shown = found.rest.split(b"\n", 1)[1]
    assert len(shown) >= len(text) - 64 and text.endswith(shown), shown


def test_the_end_of_input_is_no_end_of_the_guest(startinfo):
    ended, _ = startinfo("-a", "echo", timeout=0.7)
    assert ended.status == 124, ended


def flood_text(size: int) -> bytes:
    return b"".join(b"flood %08x %s\n" % (line, b"." * 48) for line in range(size // 64))


def test_a_slow_reader_gets_every_byte(pvh, kvm, kernels):
    size = 128 << 10
    with started([pvh, "run", kernels / "startinfo32", "-a", f"flood={size}", "--debug-exit", "--timeout", "60"],
                 b"verdict ok\n", stdin=subprocess.DEVNULL) as process:
        shown = process.shown.split(b"verdict ok\n", 1)[1]
        time.sleep(1.5)  # the pipe is full now, and the guest waits
        while more := os.read(process.stdout.fileno(), 3000):
            shown += more
            time.sleep(0.002)
        status, _ = wait(process, 10)
        assert status == report.OK, process.stderr.read()
        assert shown == flood_text(size)


def test_a_signal_ends_a_guest_whose_output_nobody_reads(pvh, kvm, kernels):
    with started([pvh, "run", kernels / "startinfo32", "-a", f"flood={128 << 10}"], b"verdict ok\n",
                 stdin=subprocess.DEVNULL) as process:
        time.sleep(2)
        process.terminate()
        status, _ = wait(process, 3)
        assert status == 128 + signal.SIGTERM, process.stderr.read()


def test_timeout_ends_a_guest_whose_output_nobody_reads(pvh, kvm, kernels):
    with started([pvh, "run", kernels / "startinfo32", "-a", f"flood={128 << 10}", "--timeout", "3"], b"verdict ok\n",
                 stdin=subprocess.DEVNULL) as process:
        status, _ = wait(process, 6)
        assert status == 124, process.stderr.read()


def test_a_reader_that_leaves_is_a_host_error(pvh, kvm, kernels):
    with started([pvh, "run", kernels / "startinfo32", "-a", "flood", "--debug-exit", "--timeout", "60"], b"verdict ok\n",
                 stdin=subprocess.DEVNULL) as process:
        process.stdout.close()
        status, _ = wait(process, 5)
        assert status == 74
        assert "Broken pipe" in process.stderr.read().decode()


def test_the_console_can_be_a_file(kvm, startinfo, kernels, tmp_path):
    path = tmp_path / "console"
    ended, _ = startinfo("--console", f"file={path}")
    assert (ended.status, ended.stdout, ended.stderr) == (report.OK, b"", ""), ended
    assert report.parse(path.read_bytes()).verdict == "ok"


def test_the_console_can_be_nowhere(startinfo):
    ended, _ = startinfo("--console", "none")
    assert (ended.status, ended.stdout, ended.stderr) == (report.OK, b"", ""), ended


def test_the_console_can_be_a_pseudo_terminal(pvh, kvm, kernels):
    process = subprocess.Popen([pvh, "run", kernels / "startinfo32", "-a", "echo", "--debug-exit", "--console", "pty",
                                "--timeout", "20"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        line = read_until(process.stderr.fileno(), b"\n").decode()
        terminal = os.open(re.search(r"/dev/pts/\d+", line)[0], os.O_RDWR | os.O_NOCTTY)
        try:
            # It may have begun before we came; once it answers it is ours.
            os.write(terminal, b"xyz")
            read_until(terminal, b"xyz")
            os.write(terminal, b"q")
            status, _ = wait(process, 5)
        finally:
            os.close(terminal)
        assert status == report.OK, process.stderr.read()
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        process.stderr.close()


def test_the_console_can_be_the_client_of_a_unix_socket(pvh, kvm, kernels, tmp_path):
    path = tmp_path / "console"
    process = subprocess.Popen([pvh, "run", kernels / "startinfo32", "-a", "echo", "--debug-exit", "--console",
                                f"uds={path}", "--timeout", "20"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert str(path) in read_until(process.stderr.fileno(), b"\n").decode()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))
            read_until(client.fileno(), b"echo")
            client.sendall(b"xyz")
            read_until(client.fileno(), b"xyz")
            assert not path.exists(), "one client, and the name is free again"
            client.sendall(b"q")
            status, _ = wait(process, 5)
        assert status == report.OK, process.stderr.read()
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        process.stderr.close()


def test_the_debug_console_prints_to_stderr(startinfo):
    ended, _ = startinfo("-a", "debug-console", "--debug-console")
    assert (ended.status, ended.stderr) == (report.OK, "debug console\n"), ended
    ended, _ = startinfo("-a", "debug-console")
    assert (ended.status, ended.stderr) == (report.OK, ""), ended


# ---- a terminal -------------------------------------------------------------------------------------------------

class Terminal:
    """pvh in the foreground of a terminal of its own, below a shell that keeps the session alive after it ended."""

    def __init__(self, arguments: list):
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        script = '"$0" "$@"; printf "status=%d\\n" $?; read -r line </dev/tty'

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.shell = subprocess.Popen(["sh", "-c", script, *map(os.fspath, arguments)], stdin=self.theirs, stdout=self.theirs,
                                      stderr=self.theirs, preexec_fn=take_terminal)

    def pid(self) -> int:
        return int(Path(f"/proc/{self.shell.pid}/task/{self.shell.pid}/children").read_text().split()[0])

    def type(self, text: bytes) -> None:
        os.write(self.ours, text)

    def read_until(self, text: bytes) -> bytes:
        return read_until(self.ours, text)

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.theirs)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def status(self) -> int:
        shown = self.read_until(b"status=")
        digits = shown.split(b"status=", 1)[1]
        while b"\n" not in digits:
            digits += os.read(self.ours, 100)
        return int(digits.split()[0])

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.theirs) == self.before

    def close(self) -> None:
        self.shell.kill()
        self.shell.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(pvh, kvm, kernels):
    with contextlib.ExitStack() as stack:

        def open_terminal(word: str, *options: str) -> Terminal:
            result = Terminal([pvh, "run", kernels / "startinfo32", "--debug-exit", "--timeout", "30", "-a", word, *options])
            stack.callback(result.close)
            return result

        yield open_terminal


def test_a_terminal_is_raw_and_put_back(terminal):
    guest = terminal("echo")
    guest.read_until(b"\necho")
    assert guest.is_raw()
    # Ctrl-C, Ctrl-Z, Ctrl-\ and Ctrl-D belong to the guest, and a key arrives without Enter.
    guest.type(b"\x03\x1a\x1c\x04k")
    guest.read_until(b"\x03\x1a\x1c\x04k")
    guest.type(b"q")
    assert guest.status() == report.OK
    assert guest.is_restored()


def test_ctrl_a_x_quits(terminal):
    guest = terminal("echo")
    guest.read_until(b"\necho")
    guest.type(b"\x01x")
    assert guest.status() == 0
    assert guest.is_restored()


@pytest.mark.parametrize("word", ["hang", "hlt"])
def test_ctrl_a_x_quits_a_guest_that_does_not_listen(terminal, word):
    guest = terminal(word)
    guest.read_until(b"verdict ok")
    guest.type(b"typed ahead \x01")
    time.sleep(0.1)
    guest.type(b"x")
    assert guest.status() == 0
    assert guest.is_restored()


def test_a_virtio_console_has_the_same_keys_also_when_no_driver_comes(terminal):
    guest = terminal("echo", "--console", "none", "--virtio-console", "stdio")
    guest.type(b"\x01h")
    guest.read_until(b"this help")
    assert guest.is_raw()
    assert not fcntl.fcntl(guest.theirs, fcntl.F_GETFL) & os.O_NONBLOCK, "the shell has it, too"
    guest.type(b"typed ahead \x01")
    time.sleep(0.2)
    guest.type(b"x")
    assert guest.status() == 0
    assert guest.is_restored()


def test_ctrl_a_h_helps_and_ctrl_a_twice_is_ctrl_a(terminal):
    guest = terminal("echo")
    guest.read_until(b"\necho")
    guest.type(b"\x01h")
    guest.read_until(b"Ctrl-A x")
    guest.type(b"\x01\x01")
    guest.read_until(b"\x01")
    guest.type(b"q")
    assert guest.status() == report.OK


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_puts_the_terminal_back(terminal, name):
    guest = terminal("hang")
    guest.read_until(b"verdict ok")
    assert guest.is_raw()
    os.kill(guest.pid(), getattr(signal, name))
    assert guest.status() == 128 + getattr(signal, name)
    assert guest.is_restored()


def test_a_crash_of_the_guest_puts_the_terminal_back(terminal):
    guest = terminal("triple")
    assert guest.status() == 70
    assert guest.is_restored()


# ---- the rest ---------------------------------------------------------------------------------------------------

def test_statistics_are_complete(kvm, startinfo, tmp_path):
    path = tmp_path / "stats.json"
    ended, _ = startinfo("--stats", path, "-m", "64M")
    assert ended.status == report.OK, ended
    stats = json.loads(path.read_text())
    assert stats["ending"] == "debug-exit" and stats["exit_status"] == report.OK
    assert stats["memory_bytes"] == 64 * MIB and stats["cpus"] == 1
    moments = [stats["moments_us"][name] for name in
               ("image_read", "planned", "kvm_ready", "memory_ready", "written", "first_instruction", "first_console_byte", "end")]
    assert all(isinstance(moment, int) and moment >= 0 for moment in moments), stats
    first, last = stats["moments_us"]["first_instruction"], stats["moments_us"]["end"]
    assert stats["moments_us"]["image_read"] <= first <= stats["moments_us"]["first_console_byte"] <= last
    assert last / 1e6 <= ended.seconds + 0.02
    assert stats["console_bytes"] == len(ended.stdout)
    assert sum(stats["exits"].values()) > 0
    assert stats["port_writes"]["0xf4"] == 1
    assert stats["peak_rss_kib"] > 0


def test_statistics_are_written_after_a_crash_too(kvm, startinfo, tmp_path):
    path = tmp_path / "stats.json"
    ended, _ = startinfo("--stats", path, "-a", "triple")
    assert ended.status == 70 and json.loads(path.read_text())["ending"] == "triple-fault", ended


def test_several_machines_at_once(pvh, kvm, kernels):
    arguments = [pvh, "run", kernels / "startinfo32", "--debug-exit", "--timeout", "20", "-a"]
    processes = [subprocess.Popen([*arguments, f"number{i}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for i in range(4)]
    for i, process in enumerate(processes):
        output, _ = process.communicate(timeout=25)
        assert process.returncode == report.OK
        assert report.parse(output).cmdline["text"] == b"number%d" % i


@pytest.mark.parametrize("cpus", [1, 2, 4, 8])
def test_every_processor_starts(boot, kernels, cpus):
    ended = boot(kernels / "smp32", "-c", str(cpus), "-a", f"cpus={cpus}")
    assert (ended.status, ended.stdout) == (2 * cpus + 1, b"cpus %d\n" % cpus), ended


def test_there_are_no_more_processors_than_asked_for(boot, kernels):
    ended = boot(kernels / "smp32", "-c", "3")
    assert ended.status == 7, ended


def test_a_machine_with_sleeping_processors_ends(kvm, startinfo):
    """The others wait for a SIPI that never comes."""
    for word, status in (("exit=1", 3), ("reset", 0), ("triple", 70)):
        ended, _ = startinfo("-c", "4", "-a", word)
        assert ended.status == status and ended.seconds < 5, ended


def test_the_monitor_can_be_left_while_its_output_is_stuck(pvh, kvm, kernels):
    """Nobody reads the console, and something has been typed: Ctrl-A x and SIGTERM still work."""
    for leave, status in ((b"\x01x", 0), (None, 128 + signal.SIGTERM)):
        master, slave = pty.openpty()
        reader, writer = os.pipe()
        process = subprocess.Popen([pvh, "run", kernels / "startinfo32", "-a", "flood=10000000", "--debug-exit", "--timeout", "30"],
                                   stdin=slave, stdout=writer, stderr=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        try:
            os.close(slave)
            os.close(writer)
            deadline = time.monotonic() + 20
            while not pipe_is_full(reader):
                assert time.monotonic() < deadline, "the guest never filled the pipe"
                time.sleep(0.05)
            os.write(master, b"typed")
            time.sleep(0.2)
            if leave:
                os.write(master, leave)
            else:
                process.terminate()
            ended, _ = wait(process, 5)
            assert ended == status
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
            os.close(master)
            os.close(reader)


def pipe_is_full(reader: int) -> bool:
    waiting = struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0]
    return waiting >= 60000
