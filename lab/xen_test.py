# SPDX-License-Identifier: BSD-2-Clause
"""The lab's promises about real Xen. Needs qemu-system-x86_64, gcc-12 and ld and, the first time, Debian's archive."""

import functools
import json
import pathlib
import subprocess
import time

import pytest

_HERE = pathlib.Path(__file__).resolve().parent
_LAB = str(_HERE / "lab")
_DATA = _HERE / "testdata"

# What no test here reaches: a lab that hangs must fail its test, not stop them all.
_HARD_LIMIT = 180

Done = subprocess.CompletedProcess[bytes]


# The first test of domU may make what they all start from.
pytestmark = pytest.mark.timeout(600)


def lab(*words: str, limit: float = _HARD_LIMIT) -> Done:
    return subprocess.run([_LAB, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)


@pytest.fixture(scope="session", autouse=True)
def prepared() -> None:
    done = lab("prepare")
    assert done.returncode == 0, done.stderr.decode()


def build(folder: pathlib.Path, bits: int) -> str:
    target, program = folder / f"{bits}.o", folder / f"probe{bits}"
    emulation = {32: "elf_i386", 64: "elf_x86_64"}[bits]
    subprocess.run(["gcc-12", f"-m{bits}", "-c", "-o", target, _DATA / "xen_probe.S"], check=True)
    link = ["ld", "-m", emulation, "--no-warn-rwx-segments", "-T", _DATA / "xen_probe.ld", "-o", program, target]
    subprocess.run(link, check=True)
    return str(program)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The 32-bit one; says what it got, and ends as its command line tells (testdata/xen_probe.S)."""
    return build(tmp_path_factory.mktemp("probe"), 32)


@pytest.fixture(scope="session")
def probe64(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tmp_path_factory.mktemp("probe64"), 64)


def facts(done: Done) -> dict[str, str]:
    """What the probe said: `name value` by the name."""
    lines = done.stdout.decode().splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if " " in line and not line.startswith("command line"))
    for line in lines:
        if line.startswith("command line ["):
            found["command line"] = line.removeprefix("command line [").removesuffix("]")
    return found


def last_line(done: Done) -> str:
    return done.stderr.decode().splitlines()[-1]


# dom0: start_info version 0.


def dom0(kernel: str, *words: str, options: tuple[str, ...] = ()) -> Done:
    return lab("xen-dom0", *options, kernel, "--", *words)


def test_dom0_gets_start_info_version_0_and_asks_for_its_map(probe: str) -> None:
    done = dom0(probe, "end=poweroff")
    assert done.returncode == 0, done.stderr.decode()
    said = facts(done)
    assert said["version"] == "0"
    assert said["flags"] == "3"
    assert said["start_info entries"] == "0"
    assert int(said["XENMEM_memory_map entries"]) > 2
    assert said["processors"] == "1"
    assert said["modules"] == "0"
    assert done.stderr == b"lab: dom0 ended: poweroff\n"
    assert b"(XEN)" not in done.stdout and b"(d0)" not in done.stdout


def test_dom0_may_be_a_64_bit_file(probe64: str) -> None:
    done = dom0(probe64, "end=poweroff")
    assert (done.returncode, facts(done)["version"]) == (0, "0"), done.stderr.decode()


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        ("poweroff", 0, "poweroff"),
        ("halt", 0, "poweroff"),
        ("reboot", 0, "reboot"),
        ("reset", 0, "reboot"),
        ("crash", 70, "crash"),
        ("triple", 70, "triple fault"),
        ("suspend", 70, "suspend"),
        ("watchdog", 70, "watchdog"),
    ],
)
def test_dom0s_end_is_told(probe: str, end: str, status: int, words: str) -> None:
    done = dom0(probe, f"end={end}")
    assert (done.returncode, last_line(done)) == (status, f"lab: dom0 ended: {words}"), done.stderr.decode()
    assert facts(done)["command line"] == f"end={end}"
    assert (b"(XEN) " in done.stderr) == (status != 0)


def test_dom0_that_hangs_is_ended_in_time(probe: str) -> None:
    done = dom0(probe, "end=never", options=("--timeout", "3"))
    assert (done.returncode, last_line(done)) == (124, "lab: no verdict within 3 s"), done.stderr.decode()
    assert facts(done)["command line"] == "end=never"


def test_dom0_that_never_stops_talking_is_ended_in_time(probe: str) -> None:
    done = dom0(probe, "lines=1000000000", options=("--timeout", "3"))
    assert (done.returncode, last_line(done)) == (124, "lab: no verdict within 3 s"), done.stderr.decode()[-2000:]
    assert done.stdout.startswith(b"line 0\nline 1\n")


@pytest.mark.parametrize("via", ["port", "console"])
def test_nothing_that_dom0_says_is_lost(probe: str, via: str) -> None:
    done = dom0(probe, "lines=5000", f"via={via}", "end=reset")
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[:5000] == [f"line {number}" for number in range(5000)]
    assert lines[-1] == f"command line [lines=5000 via={via} end=reset]"


@pytest.mark.parametrize("length", [198, 199, 200, 398, 1000])
def test_dom0s_long_line_is_one_line(probe: str, length: int) -> None:
    """Xen cuts what comes from the port; the lab joins it. The length is that of the line."""
    words = "end=poweroff "
    words += "x" * (length - len("command line []") - len(words))
    done = dom0(probe, words)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines()[-1] == f"command line [{words}]"


def test_dom0s_command_line_is_passed_as_it_is(probe: str) -> None:
    words = ["a,b,,c", "two  spaces", "'quotes'", '"double"', "back\\slash", "$HOME", "100%", "(XEN)", "--", "end=poweroff"]
    done = dom0(probe, *words)
    assert (done.returncode, facts(done)["command line"]) == (0, " ".join(words)), done.stderr.decode()


def test_dom0s_command_line_has_a_limit(probe: str) -> None:
    longest = "end=poweroff " + "y" * (1023 - len("end=poweroff "))
    done = dom0(probe, longest)
    assert (done.returncode, facts(done)["command line"]) == (0, longest), done.stderr.decode()
    done = dom0(probe, longest + "y")
    assert (done.returncode, b"1023 bytes" in done.stderr) == (64, True)


def test_dom0_gets_a_module(probe: str, tmp_path: pathlib.Path) -> None:
    initrd = tmp_path / "with, comma"
    content = b"first line\n" + bytes(100000)
    initrd.write_bytes(content)
    done = dom0(probe, "end=poweroff", options=("--initrd", str(initrd)))
    assert done.returncode == 0, done.stderr.decode()
    assert (facts(done)["modules"], facts(done)["module size"]) == ("1", str(len(content)))
    assert b"\nmodule begins first line\n" in done.stdout


@pytest.mark.parametrize("cpus", [2, 4])
def test_dom0_gets_processors(probe: str, cpus: int) -> None:
    done = dom0(probe, "end=poweroff", options=("--cpus", str(cpus)))
    assert (done.returncode, facts(done)["processors"]) == (0, str(cpus)), done.stderr.decode()


def test_verbose_shows_xens_lines(probe: str) -> None:
    done = dom0(probe, "end=poweroff", options=("--verbose",))
    assert done.returncode == 0
    assert b"(XEN) Xen version 4.17" in done.stderr
    assert b"(XEN) Hardware Dom0 halted" in done.stderr


def test_file_name_may_be_anything(probe: str, tmp_path: pathlib.Path) -> None:
    kernel = tmp_path / "a kernel, of = sorts"
    kernel.write_bytes(pathlib.Path(probe).read_bytes())
    done = dom0(str(kernel), "end=poweroff")
    assert (done.returncode, facts(done)["command line"]) == (0, "end=poweroff"), done.stderr.decode()


def test_missing_file_is_66(probe: str, tmp_path: pathlib.Path) -> None:
    missing = str(tmp_path / "missing")
    done = dom0(missing)
    assert (done.returncode, done.stderr.decode()) == (66, f"lab: {missing}: No such file or directory\n")
    done = dom0(probe, options=("--initrd", missing))
    assert (done.returncode, done.stderr.decode()) == (66, f"lab: {missing}: No such file or directory\n")


def test_what_is_no_kernel_is_refused_in_xens_words() -> None:
    began = time.monotonic()
    done = dom0(str(_DATA / "xen_probe.S"))
    assert (done.returncode, done.stdout) == (126, b"")
    assert "xen_probe.S: Xen refused it: ELF: not an ELF binary" in last_line(done)
    assert time.monotonic() - began < 60  # without waiting for the guest's time-out


@pytest.mark.parametrize(
    "options", [("--memory", "lots"), ("--memory", "1M"), ("--cpus", "0"), ("--timeout", "0"), ("--retries", "-1")]
)
def test_nonsense_is_usage(probe: str, options: tuple[str, str]) -> None:
    done = dom0(probe, options=options)
    assert done.returncode == 64
    assert options[0] in done.stderr.decode()


# domU: start_info version 1, by xl.


@functools.cache
def prepare_xen() -> None:
    done = lab("prepare", "--xen", limit=400)
    assert done.returncode == 0, done.stderr.decode()


def domu(kernel: str, *words: str, options: tuple[str, ...] = ()) -> Done:
    prepare_xen()
    return lab("xen-domu", *options, kernel, "--", *words)


def test_domu_gets_start_info_version_1_with_its_map(probe: str) -> None:
    done = domu(probe, "end=poweroff")
    assert done.returncode == 0, done.stderr.decode()
    said = facts(done)
    assert said["version"] == "1"
    assert said["flags"] == "0"
    assert int(said["start_info entries"]) > 2
    assert said["start_info entries"] == said["XENMEM_memory_map entries"]
    assert said["processors"] == "1"
    assert said["modules"] == "0"
    assert done.stderr == b"lab: domU ended: poweroff\n"
    assert b"(XEN)" not in done.stdout and b"(d1)" not in done.stdout


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        ("poweroff", 0, "poweroff"),
        ("halt", 0, "poweroff"),
        ("reboot", 0, "reboot"),
        ("crash", 70, "crash"),
        ("triple", 70, "triple fault"),
        ("suspend", 70, "suspend"),
        ("watchdog", 70, "watchdog"),
    ],
)
def test_domus_end_is_told(probe64: str, end: str, status: int, words: str) -> None:
    done = domu(probe64, f"end={end}")
    assert (done.returncode, last_line(done)) == (status, f"lab: domU ended: {words}"), done.stderr.decode()
    assert facts(done)["command line"] == f"end={end}"


@pytest.mark.parametrize("words", ["end=never", "lines=1000000000"])
def test_domu_that_goes_on_is_ended_in_time(probe: str, words: str) -> None:
    done = domu(probe, words, options=("--timeout", "20"))
    assert (done.returncode, last_line(done)) == (124, "lab: no verdict within 20 s"), done.stderr.decode()[-2000:]
    assert b"version 1\n" in done.stdout or done.stdout.startswith(b"line 0\nline 1\n")


def test_nothing_that_domu_says_is_lost(probe: str) -> None:
    done = domu(probe, "lines=5000", "end=reboot")
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[:5000] == [f"line {number}" for number in range(5000)]
    assert lines[-1] == "command line [lines=5000 end=reboot]"


def test_xen_refuses_console_io_to_a_domu(probe: str) -> None:
    done = domu(probe, "via=console", "end=reboot")
    assert (done.returncode, done.stdout) == (0, b"")


def test_domus_command_line_is_passed_as_it_is(probe: str) -> None:
    words = ["a,b,,c", "two  spaces", "'quotes'", '"double"', "back\\slash", "\\n", "$HOME", "100%", "(XEN)", "--"]
    words.append("end=poweroff")
    done = domu(probe, *words)
    assert (done.returncode, facts(done)["command line"]) == (0, " ".join(words)), done.stderr.decode()


def test_domus_command_line_has_a_limit(probe: str) -> None:
    longest = "end=poweroff " + "y" * (1023 - len("end=poweroff "))
    done = domu(probe, longest)
    assert (done.returncode, facts(done)["command line"]) == (0, longest), done.stderr.decode()
    done = domu(probe, longest + "y")
    assert (done.returncode, b"1023 bytes" in done.stderr) == (64, True)


def test_domu_gets_a_module_and_processors(probe: str, tmp_path: pathlib.Path) -> None:
    initrd = tmp_path / "with, comma"
    content = b"first line\n" + bytes(100000)
    initrd.write_bytes(content)
    done = domu(probe, "end=poweroff", options=("--initrd", str(initrd), "--cpus", "2", "--memory", "1G"))
    assert done.returncode == 0, done.stderr.decode()
    said = facts(done)
    assert (said["modules"], said["module size"], said["processors"]) == ("1", str(len(content)), "2")
    assert b"\nmodule begins first line\n" in done.stdout


def test_domu_missing_file_is_66(probe: str, tmp_path: pathlib.Path) -> None:
    missing = str(tmp_path / "missing")
    assert domu(missing).returncode == 66
    assert domu(probe, options=("--initrd", missing)).returncode == 66


def test_what_is_no_kernel_is_refused_in_xls_words() -> None:
    done = domu(str(_DATA / "xen_probe.S"))
    assert (done.returncode, done.stdout) == (126, b"")
    assert "xen_probe.S: xl could not start it: xc: error: panic" in last_line(done)
    assert "Invalid kernel" in last_line(done)


def test_domu_memory_has_a_limit(probe: str) -> None:
    done = domu(probe, options=("--memory", "4G"))
    assert (done.returncode, done.stderr.decode()) == (64, "lab: xen-domu: a domain can have 3072M of memory here\n")
