# SPDX-License-Identifier: BSD-2-Clause
"""What the runners in tools/ share: children with a hard time limit, builds, unit tests, results and the last line.

Standard library only: this runs before anything is installed that could offer more.
"""
import atexit
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JOBS = len(os.sched_getaffinity(0))

# Without llvm-symbolizer the sanitizers can still name source lines through binutils' addr2line.
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:allow_addr2line=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:allow_addr2line=1",
}


@dataclass
class Ended:
    """How a child ended. status is None when its time was up and it was killed."""
    status: int | None
    output: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == 0

    def why(self) -> str:
        if self.status is None:
            return f"killed after {self.seconds:.0f} s"
        return f"ended by signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


@dataclass
class Case:
    name: str
    verdict: str  # passed, failed or skipped
    detail: str = ""


@dataclass
class Suite:
    name: str
    cases: list[Case] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, verdict: str) -> int:
        return sum(case.verdict == verdict for case in self.cases)


_lock = threading.Lock()
_children: set[subprocess.Popen] = set()
_deadline = float("inf")


def set_time_limit(seconds: float) -> None:
    """No child of run() lives longer than this from now, whatever its own limit."""
    global _deadline
    _deadline = time.monotonic() + seconds


def _kill(child: subprocess.Popen) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _kill_all() -> None:
    with _lock:
        for child in _children:
            _kill(child)


atexit.register(_kill_all)


def _end(number: int, _frame) -> None:
    _kill_all()
    os._exit(128 + number)


def end_children_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)


def run(command, limit: float, log: Path, env=None, cwd: Path = ROOT, watch=None) -> Ended:
    """Runs command in a process group of its own with its output in the file log, and kills all of the group at
    limit seconds and also when command ends, so that nothing it started outlives it. watch(text) sees the output so
    far once a second.

    The output goes to a file and not to a pipe: a pipe stays open as long as any grandchild holds it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    until = min(start + limit, _deadline)
    with open(log, "wb") as out:
        child = subprocess.Popen([str(word) for word in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                                 stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, start_new_session=True)
    with _lock:
        _children.add(child)
    status = None
    try:
        while status is None and time.monotonic() < until:
            try:
                status = child.wait(max(0.01, min(1.0, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                if watch:
                    watch(log.read_text(errors="replace"))
    finally:
        _kill(child)
        child.wait()
        with _lock:
            _children.discard(child)
    return Ended(status, log.read_text(errors="replace"), time.monotonic() - start)


def build(preset: str, limit: float = 2400, targets=()) -> Ended:
    """Configures and builds a preset in build/<preset>."""
    log = ROOT / "build" / "log"
    start = time.monotonic()
    configured = run(["cmake", "--preset", preset], limit, log / f"configure-{preset}.log")
    if not configured.ok:
        return configured
    selection = ["--target", *targets] if targets else []
    built = run(["cmake", "--build", "--preset", preset, "-j", JOBS, *selection, "--", "-k", "0"], limit,
                log / f"build-{preset}.log")
    built.seconds = time.monotonic() - start
    if not built.ok:
        built.output = _only_failures(built.output)
    return built


def _only_failures(ninja: str) -> str:
    """Ninja's output without the steps that went well."""
    kept, keep = [], True
    for line in ninja.splitlines():
        if line.startswith("["):
            keep = False
        elif line.startswith(("FAILED:", "ninja:")):
            keep = True
        if keep:
            kept.append(line)
    return "\n".join(kept)


def one_case(name: str, ended: Ended) -> Suite:
    """A program whose exit status is its verdict."""
    verdict = "passed" if ended.ok else "failed"
    return Suite(name, [Case(name, verdict, "" if ended.ok else f"{ended.output}\n{ended.why()}")], ended.seconds)


def read_junit(path: Path) -> list[Case]:
    """The cases of a JUnit file as GoogleTest and pytest write it."""
    cases = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}".strip(".")
        failures = [node for tag in ("failure", "error") for node in case.iter(tag)]
        skip = case.find("skipped")
        if failures:
            text = "\n".join((node.text or node.get("message", "")).strip() for node in failures)
            cases.append(Case(name, "failed", text))
        elif skip is not None:
            reason = (skip.get("message") or "no reason given").strip()
            cases.append(Case(name, "skipped", " ".join(reason.split())))
        elif case.get("status") == "notrun":
            cases.append(Case(name, "skipped", "disabled in the source"))
        else:
            cases.append(Case(name, "passed"))
    return cases


def settle(name: str, ended: Ended, junit: Path) -> Suite:
    """The suite of a runner that writes JUnit. What the file does not tell (a crash, a leak found at exit, a timeout,
    no test at all) is a failure of its own."""
    cases = []
    try:
        cases = read_junit(junit)
    except (OSError, ElementTree.ParseError):
        # It ended before it could write: what had passed until then is in the text.
        cases = [Case(case, "passed") for case in re.findall(r"^\[       OK \] (\S+)", ended.output, re.M)]
    suite = Suite(name, cases, ended.seconds)
    if not ended.ok and suite.count("failed") == 0:
        cases.append(Case(f"{name} ({ended.why()})", "failed", ended.output))
    elif not cases:
        cases.append(Case(f"{name} (ran no test)", "failed", ended.output))
    return suite


def known_tests(build_dir: Path) -> list[dict]:
    """What CMake's add_test knows in this build: no leftovers of tests that are gone."""
    listing = subprocess.run(["ctest", "--test-dir", str(build_dir), "--show-only=json-v1"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    return json.loads(listing)["tests"]


def unit_tests(build_dir: Path) -> list[list[str]]:
    return [test["command"] for test in known_tests(build_dir)]


def run_unit_tests(build_dir: Path, report, limit: float = 180) -> None:
    """Runs them all, as many at once as there are processors; report(suite) is called as each one ends."""
    log = ROOT / "build" / "log" / f"unit-{build_dir.name}"

    def one(command) -> Suite:
        name = Path(command[0]).name
        junit = log / f"{name}.xml"
        junit.unlink(missing_ok=True)
        if Path(command[0]).parent.name != "tests":
            return one_case(f"unit {name}", run(command, limit, log / f"{name}.log", SANITIZER_ENV))
        ended = run([*command, f"--gtest_output=xml:{junit}", "--gtest_color=no"], limit, log / f"{name}.log",
                    SANITIZER_ENV)
        return settle(f"unit {name}", ended, junit)

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for future in concurrent.futures.as_completed([pool.submit(one, test) for test in unit_tests(build_dir)]):
            report(future.result())


class Report:
    """Prints a line for each suite as it ends; in the end the failures, the skips and the sum."""

    def __init__(self):
        self.suites: list[Suite] = []
        self.not_run: list[str] = []
        self._start = time.monotonic()
        self._print = threading.Lock()

    def line(self, text: str) -> None:
        with self._print:
            print(text, flush=True)

    def add(self, suite: Suite) -> None:
        counts = ", ".join(f"{suite.count(verdict)} {verdict}" for verdict in ("passed", "failed", "skipped")
                           if suite.count(verdict) or verdict == "passed")
        state = "FAIL" if suite.count("failed") else "ok  "
        with self._print:
            self.suites.append(suite)
            print(f"{state} {suite.name:<32} {suite.seconds:7.1f} s  {counts}", flush=True)

    def leave_out(self, name: str, why: str) -> None:
        self.not_run.append(f"{name}: {why}")
        self.line(f"---- {name:<32} not run: {why}")

    def finish(self, detail_lines: int = 150) -> int:
        """The exit status: 0 only when something ran and nothing failed."""
        total = {"passed": 0, "failed": 0, "skipped": 0}
        for suite in self.suites:
            for case in suite.cases:
                total[case.verdict] += 1
        for suite in self.suites:
            for case in suite.cases:
                if case.verdict == "failed":
                    print(f"\n==== FAILED {suite.name}: {case.name}")
                    lines = case.detail.rstrip().splitlines()
                    if len(lines) > detail_lines:
                        print(f"({len(lines) - detail_lines} lines left out, all of it is in build/log)")
                    print("\n".join(lines[-detail_lines:]))
        skips = [f"{suite.name}: {case.name}: {case.detail}" for suite in self.suites for case in suite.cases
                 if case.verdict == "skipped"]
        if skips:
            print("\nSkipped:")
            for skip in skips:
                print(f"  {skip}")
        if self.not_run:
            print("\nNot run:")
            for reason in self.not_run:
                print(f"  {reason}")
        print(f"\n{time.monotonic() - self._start:.0f} s, output of everything in build/log")
        print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped", flush=True)
        return 0 if total["failed"] == 0 and total["passed"] > 0 and not self.not_run else 1


def die(message: str) -> None:
    sys.exit(f"{Path(sys.argv[0]).name}: {message}")
