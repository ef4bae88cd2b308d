# SPDX-License-Identifier: BSD-2-Clause
"""The lab's promises. Needs qemu-system-x86_64 and, the first time, Debian's archive; no /dev/kvm, no root."""

import contextlib
import hashlib
import json
import os
import pathlib
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

_HERE = pathlib.Path(__file__).resolve().parent
_LAB = str(_HERE / "lab")
sys.path.insert(0, str(_HERE))

from pvhlab import archive, mend, payload, wire  # noqa: E402
from pvhlab.errors import LabError  # noqa: E402

# What no test here reaches: a lab that hangs must fail its test, not stop them all.
_HARD_LIMIT = 180


def lab(*words: str, stdin: bytes = b"", cwd: pathlib.Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([_LAB, *words], input=stdin, capture_output=True, timeout=_HARD_LIMIT, cwd=cwd, check=False)


def run(*command: str, stdin: bytes = b"", cwd: pathlib.Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return lab("run", "--", *command, stdin=stdin, cwd=cwd)


def shell(script: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return run("sh", "-c", script, stdin=stdin)


@pytest.fixture(scope="session", autouse=True)
def prepared() -> None:
    done = lab("prepare")
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="session")
def artefacts() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(lab("paths").stdout)
    return found


@pytest.fixture(scope="session")
def kvm_probe(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("probe") / "kvm_probe"
    source = _HERE / "testdata" / "kvm_probe.cpp"
    compiler = os.environ.get("CXX", "g++-12")
    subprocess.run([compiler, "-std=c++23", "-O2", "-static", "-o", program, source], check=True)
    return str(program)


def children(pid: int) -> list[int]:
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pids: list[int], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(is_alive(pid) for pid in pids):
            return
        time.sleep(0.02)
    raise AssertionError(f"still alive: {[pid for pid in pids if is_alive(pid)]}")


@contextlib.contextmanager
def background(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A lab whose command has begun (its first output is "up"), and the processes that it started."""
    pipe = subprocess.PIPE
    with subprocess.Popen([_LAB, *words], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            started = children(process.pid)
            assert started
            yield process, started
        finally:
            process.kill()


# What is real.


def test_l1_has_svm_and_kvm() -> None:
    done = shell("grep -c -w svm /proc/cpuinfo; test -c /dev/kvm && echo kvm")
    assert done.stdout == b"1\nkvm\n"


def test_kvm_runs_guest_code(kvm_probe: str) -> None:
    done = run(kvm_probe)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"KVM K ")
    # 40 million guest instructions: the host's own software KVM takes 20 s and more.
    assert int(done.stdout.split()[2]) < 5000


def test_more_memory_can_be_asked_for_than_l1_has() -> None:
    limit = shell("awk '/MemTotal/ { print $2 }' /proc/meminfo; cat /proc/sys/vm/overcommit_memory").stdout.split()
    assert int(limit[0]) < 5 << 20
    assert limit[1] == b"1"


# Exit status.


@pytest.mark.parametrize("status", [0, 1, 7, 124, 255])
def test_exit_status_is_the_commands_own(status: int) -> None:
    assert shell(f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_signal_is_128_plus_its_number(number: signal.Signals) -> None:
    assert shell(f"kill -{number.value} $$").returncode == 128 + number.value


def test_unknown_command_is_127_as_in_a_shell() -> None:
    done = run("no-such-command")
    assert done.returncode == 127
    assert b"no-such-command" in done.stderr


def test_script_is_run_by_its_interpreter(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\necho "got $1"\nexit 3\n')
    script.chmod(0o755)
    done = run(str(script), "word")
    assert (done.returncode, done.stdout) == (3, b"got word\n")


# Streams.


def test_stdout_and_stderr_stay_apart() -> None:
    done = shell("echo out; echo err >&2; echo out again")
    assert (done.stdout, done.stderr) == (b"out\nout again\n", b"err\n")


def test_every_byte_passes_unchanged_both_ways() -> None:
    data = bytes(range(256)) * 3 + b"\r\n\n\r\x00\x03\x04\x1a"
    done = run("cat", stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_quarter_mebibyte_of_binary_input_arrives_whole() -> None:
    data = random.Random(0xC0FFEE).randbytes(256 << 10)
    assert run("sha256sum", stdin=data).stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert run("cat", stdin=data).stdout == data


def test_five_mebibytes_of_output_arrive_whole() -> None:
    done = shell("seq 1 700000")
    assert done.stdout == b"".join(b"%d\n" % n for n in range(1, 700001))


def test_empty_input_is_end_of_file_at_once() -> None:
    assert run("wc", "-c").stdout == b"0\n"


def test_command_that_ignores_its_input_ends() -> None:
    assert run("echo", "done", stdin=bytes(8 << 20)).stdout == b"done\n"


def test_command_that_closes_its_input_goes_on() -> None:
    assert shell("exec <&-; sleep 0.3; echo done", stdin=bytes(8 << 20)).stdout == b"done\n"


def test_output_arrives_while_the_command_runs() -> None:
    with background("run", "--timeout", "60", "--", "sh", "-c", "echo up; sleep 30") as (process, _):
        assert process.poll() is None


def test_left_behind_process_does_not_keep_the_lab() -> None:
    start = time.monotonic()
    done = shell("sleep 100 & echo done")
    assert (done.returncode, done.stdout) == (0, b"done\n")
    assert time.monotonic() - start < 60


def test_closed_output_ends_the_lab_as_a_closed_pipe_does() -> None:
    with subprocess.Popen([_LAB, "run", "--", "yes"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        assert process.wait(timeout=_HARD_LIMIT) == 128 + signal.SIGPIPE


# Files.


def test_named_files_are_there_under_their_own_path(tmp_path: pathlib.Path) -> None:
    big = tmp_path / "big file"
    big.write_bytes(random.Random(1).randbytes((3 << 20) + 5))
    empty = tmp_path / "empty"
    empty.touch()
    for argument in (str(big), f"--disk={big},ro", f"file={big}", f"id=x,path={big}"):
        done = run("sh", "-c", f"sha256sum '{big}'; cat '{empty}'", "sh", argument, str(empty))
        assert done.stdout.split()[0].decode() == hashlib.sha256(big.read_bytes()).hexdigest()
        assert done.returncode == 0


def test_relative_names_work_from_the_callers_folder(tmp_path: pathlib.Path) -> None:
    (tmp_path / "here").write_text("content\n")
    assert run("cat", "here", cwd=tmp_path).stdout == b"content\n"
    assert run("pwd", cwd=tmp_path).stdout.decode().strip() == str(tmp_path)


def test_extra_files_come_by_option(tmp_path: pathlib.Path) -> None:
    extra = tmp_path / "extra"
    extra.write_text("content\n")
    done = lab("run", "--file", str(extra), "--", "sh", "-c", f"cat {extra}")
    assert done.stdout == b"content\n"


def test_results_are_fetched(tmp_path: pathlib.Path) -> None:
    inside, outside = tmp_path / "new folder" / "stats", tmp_path / "fetched"
    data = bytes(range(256)) * 1000
    done = lab("run", "--get", f"{inside}={outside}", "--", "sh", "-c", f"cat >'{inside}'; exit 5", stdin=data)
    assert done.returncode == 5
    assert outside.read_bytes() == data


def test_result_that_is_missing_is_an_error(tmp_path: pathlib.Path) -> None:
    done = lab("run", "--get", f"/tmp/none={tmp_path}/fetched", "--", "true")
    assert done.returncode == 66
    assert b"/tmp/none" in done.stderr
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("words", [["--file", "/no/such/file", "--", "true"], ["--", "/no/such/program"]])
def test_missing_input_is_named_before_anything_starts(words: list[str]) -> None:
    done = lab("run", *words)
    assert done.returncode == 66
    assert b"/no/such/" in done.stderr
    assert b"No such file or directory" in done.stderr


def test_dynamic_program_is_refused_with_the_reason() -> None:
    done = run(sys.executable)
    assert done.returncode == 126
    assert b"dynamically linked" in done.stderr and b"-static" in done.stderr


def test_pvh_is_found_by_name(tmp_path: pathlib.Path, kvm_probe: str) -> None:
    assert lab("run", "--pvh", kvm_probe, "--", "pvh").stdout.startswith(b"KVM K ")
    done = lab("run", "--pvh", str(tmp_path / "none"), "--", "pvh")
    assert done.returncode == 66


@pytest.mark.parametrize("words", [[], ["run"], ["run", "--"], ["run", "--timeout", "0", "--", "true"], ["nonsense"]])
def test_wrong_usage_is_64(words: list[str]) -> None:
    done = lab(*words)
    assert done.returncode == 64
    assert done.stderr.startswith(b"lab: ")


# Time and signals.


def test_timeout_is_124_after_one_more_try_and_nothing_is_left() -> None:
    start = time.monotonic()
    done = lab("run", "--timeout", "1", "--", "sleep", "100")
    assert done.returncode == 124
    assert done.stderr.count(b"no verdict within 1 s") == 2
    assert 2 <= time.monotonic() - start < 60


def test_no_second_try_once_output_was_given() -> None:
    done = lab("run", "--timeout", "1", "--", "sh", "-c", "echo once; sleep 100")
    assert (done.returncode, done.stdout) == (124, b"once\n")
    assert done.stderr.count(b"no verdict") == 1


def test_held_output_allows_a_second_try() -> None:
    done = lab("run", "--hold", "--timeout", "1", "--", "sh", "-c", "echo once; sleep 100")
    assert (done.returncode, done.stdout) == (124, b"")
    assert done.stderr.count(b"no verdict") == 2
    assert lab("run", "--hold", "--", "echo", "once").stdout == b"once\n"


def test_second_try_gets_the_same_input() -> None:
    done = lab("run", "--timeout", "1", "--", "sh", "-c", "read line; sleep 100", stdin=b"word\n")
    assert done.stderr.count(b"no verdict") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_a_signal(number: signal.Signals) -> None:
    with background("run", "--timeout", "100", "--", "sh", "-c", "echo up; sleep 100") as (process, started):
        process.send_signal(number)
        assert process.wait(timeout=30) == -number
        wait_until_gone(started)


def test_l1_that_dies_is_reported_with_its_console() -> None:
    done = lab("run", "--retries", "0", "--", "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 100")
    assert done.returncode == 125
    assert b"sysrq triggered crash" in done.stderr


def test_out_of_memory_would_choose_the_command_and_not_the_agent() -> None:
    assert shell("cat /proc/self/oom_score_adj").stdout == b"1000\n"


# Terminal.


class Terminal:
    """A lab that was started from a terminal, and the other side of that terminal."""

    def __init__(self, *words: str, stdout: int | None = None) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (33, 77))
        self.before = termios.tcgetattr(self.slave)
        out = self.slave if stdout is None else stdout
        self.process = subprocess.Popen([_LAB, *words], stdin=self.slave, stdout=out, stderr=self.slave)
        self.seen = b""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, words: bytes) -> None:
        deadline = time.monotonic() + 60
        while words not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {words!r} in {self.seen!r}"
            self.seen += os.read(self.master, 4096)
        self.seen = self.seen.split(words, 1)[1]

    def finish(self) -> int:
        status = self.process.wait(timeout=60)
        assert termios.tcgetattr(self.slave) == self.before
        return status


def test_terminal_has_its_size_and_follows_it() -> None:
    with Terminal("run", "--", "sh") as there:
        there.type(b"test -t 0 && test -t 1 && test -t 2 && stty size\r")
        there.expect(b"33 77\r\n")
        termios.tcsetwinsize(there.slave, (44, 99))
        there.process.send_signal(signal.SIGWINCH)
        time.sleep(0.5)
        there.type(b"stty size\r")
        there.expect(b"44 99\r\n")
        there.type(b"exit 9\r")
        assert there.finish() == 9


def test_interrupt_key_goes_to_the_command() -> None:
    with Terminal("run", "--", "sh") as there:
        there.expect(b"# ")
        there.type(b"echo slee''ping; sleep 1000\r")
        there.expect(b"sleeping\r\n")
        time.sleep(0.5)
        there.type(b"\x03")
        there.expect(b"# ")  # the key also discards what is typed before it is seen
        there.type(b"echo ali''ve\r")
        there.expect(b"alive\r\n")
        there.type(b"\x04")
        there.finish()


def test_raw_command_sees_every_key() -> None:
    script = "stty raw -echo; echo ready; dd bs=1 count=6 2>/dev/null | od -An -tx1"
    with Terminal("run", "--", "sh", "-c", script) as there:
        there.expect(b"ready")
        there.type(b"\x01x\x03\x04\x1a\r")
        there.expect(b"01 78 03 04 1a 0d")
        assert there.finish() == 0


def test_terminal_is_put_back_after_a_signal() -> None:
    with Terminal("run", "--", "sh", "-c", "echo up; sleep 100") as there:
        there.expect(b"up")
        there.process.send_signal(signal.SIGTERM)
        assert there.finish() == -signal.SIGTERM


def test_output_to_a_pipe_is_unchanged_though_input_is_a_terminal() -> None:
    reading, writing = os.pipe()
    script = "test -t 0 && test -t 2 && ! test -t 1 && echo line"
    with Terminal("run", "--", "sh", "-c", script, stdout=writing) as there:
        os.close(writing)
        assert there.finish() == 0
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == b"line\n"


# Preparation.


def test_prepare_again_changes_nothing(artefacts: dict[str, dict[str, str]]) -> None:
    cache = pathlib.Path(str(artefacts["l2-initrd"])).parents[1]

    def look() -> dict[str, int]:
        files = [path for path in cache.rglob("*") if path.is_file() and path.name != "lock"]
        return {str(path): path.stat().st_mtime_ns for path in files}

    before = look()
    done = lab("prepare")
    assert (done.returncode, done.stderr) == (0, b"")
    assert look() == before


def test_runs_do_not_change_the_snapshot(artefacts: dict[str, dict[str, str]]) -> None:
    current = pathlib.Path(str(artefacts["l2-initrd"])).parents[1] / "current"

    def look() -> list[tuple[int, int]]:
        # Hashing the memory file would read 3 GiB, nearly all of it holes.
        found = [(current / name).stat() for name in ("memory", "state")]
        return [(status.st_mtime_ns, status.st_blocks) for status in found]

    before = look()
    assert shell("dd if=/dev/urandom of=/tmp/x bs=1M count=50; echo up").stdout == b"up\n"
    assert look() == before
    assert shell("ls /tmp/x").returncode == 1


def test_prepared_artefacts_exist(artefacts: dict[str, dict[str, str]]) -> None:
    for kernel in ("linux-amd64", "linux-cloud-amd64"):
        image = pathlib.Path(artefacts[kernel]["vmlinuz"]).read_bytes()
        assert image[0x202:0x206] == b"HdrS"
        assert artefacts[kernel]["version"]
    assert pathlib.Path(artefacts["xen"]["elf"]).read_bytes().startswith(b"\x7fELF")


def test_two_runs_at_once_do_not_meet() -> None:
    script = "cat >/tmp/mine; sleep 2; cat /tmp/mine"
    command = [_LAB, "run", "--", "sh", "-c", script]
    labs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for number, process in enumerate(labs):
        assert process.stdin is not None
        process.stdin.write(b"%d" % number)
        process.stdin.close()
        process.stdin = None
    assert [process.communicate(timeout=_HARD_LIMIT)[0] for process in labs] == [b"0", b"1"]


def test_missing_qemu_is_named_with_its_package(tmp_path: pathlib.Path) -> None:
    done = subprocess.run([_LAB, "run", "--", "true"], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
    assert done.returncode == 125
    assert b"apt-get install qemu-system-x86" in done.stderr


def test_guest_initrd_is_written_and_always_the_same(tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        assert lab("initrd", "-o", str(tmp_path / name)).returncode == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    plain = subprocess.run(["gzip", "-dc", tmp_path / "one"], capture_output=True, check=True).stdout
    names = subprocess.run(["cpio", "-t", "--quiet"], input=plain, capture_output=True, check=True).stdout.split()
    assert {b"init", b"bin/busybox", b"bin/sh", b"dev/console"} <= set(names)


# The test guest, here on an emulated PC: what it does must not depend on our monitor.


def guest(artefacts: dict[str, dict[str, str]], words: str, keys: bytes = b"") -> str:
    done = subprocess.run(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-smp", "2", "-nodefaults", "-display", "none"),
            *("-serial", "stdio", "-no-reboot", "-kernel", artefacts["linux-cloud-amd64"]["vmlinuz"]),
            *("-initrd", str(artefacts["l2-initrd"]), "-append", f"console=ttyS0 panic=1 {words}"),
        ],
        input=keys,
        capture_output=True,
        timeout=_HARD_LIMIT,
        check=True,
    )
    return done.stdout.decode(errors="replace").replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("mode", "end"),
    [
        ("poweroff", "reboot: Power down"),
        ("reboot", "reboot: Restarting system"),
        ("panic", "Kernel panic - not syncing: sysrq triggered crash"),
    ],
)
def test_guest_ends_as_its_command_line_says(artefacts: dict[str, dict[str, str]], mode: str, end: str) -> None:
    console = guest(artefacts, f"pvh.test={mode}")
    assert console.count("\nPVH-TEST-INIT-REACHED\n") == 1
    assert end in console.split("PVH-TEST-INIT-REACHED")[1]


def test_guest_reports_its_memory_and_processors(artefacts: dict[str, dict[str, str]]) -> None:
    report = guest(artefacts, "quiet pvh.test=report").split("PVH-TEST-INIT-REACHED\n")[1]
    lines = report.splitlines()
    assert 200 << 10 < int(lines[0].removeprefix("MEMTOTAL ")) < 256 << 10
    assert lines[1] == "CPUS 2"
    assert lines[2] == "CMDLINE console=ttyS0 panic=1 quiet pvh.test=report"
    assert lines[3] == "MEMORY-MAP-BEGIN"
    memory_map = lines[4 : lines.index("MEMORY-MAP-END")]
    assert memory_map[0] == "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable"
    assert all(line.startswith("BIOS-e820: [mem 0x") for line in memory_map)


def test_guest_gives_a_shell_and_powers_off_after_it(artefacts: dict[str, dict[str, str]]) -> None:
    # The serial driver's start throws away a few keys that were typed before it.
    console = guest(artefacts, "quiet", keys=b"\n" * 8 + b"echo $((6 * 7)) $(tty)\nexit\n")
    assert "\nThis is a shell in the test guest" in console
    assert "\n42 /dev/ttyS0\n" in console
    assert "job control turned off" not in console


# The parts.


def test_mended_emulation_runs_the_saved_machine(kvm_probe: str) -> None:
    done = lab("run", "--breakpoints", "--", kvm_probe)
    assert done.returncode == 0, done.stderr


def test_only_the_known_emulation_is_mended() -> None:
    program = pathlib.Path("/usr/bin/qemu-system-x86_64").read_bytes()
    mended = mend.mend(program, 0x500000)
    assert len(mended) == len(program)
    changed = sum(before != after for before, after in zip(program, mended, strict=True))
    assert 0 < changed <= 2 + 2 * 7 + 13
    for other in (mended, pathlib.Path("/bin/true").read_bytes()):
        with pytest.raises(LabError, match="cannot be mended"):
            mend.mend(other, 0x500000)


def test_archive_does_not_depend_on_the_order_of_its_entries() -> None:
    entries = [archive.directory("a"), archive.regular("a/b", b"12345"), archive.regular("a-b", b"")]
    assert archive.cpio(entries) == archive.cpio(entries[::-1])
    listed = subprocess.run(["cpio", "-tv", "--quiet"], input=archive.cpio(entries), capture_output=True, check=True)
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == [b"a", b"a/b", b"a-b"]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_frames_survive_being_cut_anywhere(size: int) -> None:
    sent = [(wire.Type.STDOUT, bytes(range(100))), (wire.Type.STDERR, b""), (wire.Type.EXIT, b"\x00\x01\x00\x00")]
    stream = b"".join(wire.frame(kind, content) for kind, content in sent)
    decoder = wire.Decoder()
    received = [frame for at in range(0, len(stream), size) for frame in decoder.feed(stream[at : at + size])]
    assert received == sent


def test_interpreter_of_short_and_foreign_files_is_none(tmp_path: pathlib.Path) -> None:
    for content in (b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(58), b"#!/bin/sh\n"):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert payload.interpreter(str(path)) is None
    cut = tmp_path / "cut"
    cut.write_bytes(pathlib.Path(sys.executable).read_bytes()[:100])
    assert payload.interpreter(str(cut)) is None
    assert payload.interpreter(sys.executable) == "/lib64/ld-linux-x86-64.so.2"


def test_two_preparations_at_once_make_one_cache() -> None:
    labs = [subprocess.Popen([_LAB, "prepare"], stderr=subprocess.PIPE) for _ in range(2)]
    for process in labs:
        assert process.communicate(timeout=_HARD_LIMIT)[1] == b""
        assert process.returncode == 0


def test_broken_snapshot_is_reported(tmp_path: pathlib.Path, artefacts: dict[str, dict[str, str]]) -> None:
    real = pathlib.Path(str(artefacts["l2-initrd"])).parents[1] / "current"
    broken = tmp_path / "current"
    broken.mkdir()
    (broken / "manifest.json").write_bytes((real / "manifest.json").read_bytes())
    (broken / "state").write_bytes((real / "state").read_bytes()[:1000])
    with (broken / "memory").open("wb") as memory:
        memory.truncate((real / "memory").stat().st_size)
    done = lab("run", "--cache", str(tmp_path), "--retries", "0", "--", "true")
    assert done.returncode == 125
    assert b"load of migration failed" in done.stderr


def test_own_folders_of_l1_are_never_replaced(tmp_path: pathlib.Path) -> None:
    cargo = payload.collect(["cat", "/bin/sh", "/proc/version", "/dev/null", str(tmp_path)], [], [], None)
    assert cargo.files == {}
    assert cargo.folders == {str(tmp_path)}
