# SPDX-License-Identifier: BSD-2-Clause
"""Runs the fuzzers of build/fuzz and says what they reached: for tools/fuzz and tools/test.

Inputs that reached something new are kept in build/fuzz-corpus/NAME; seeds come from fuzz/corpus/NAME in the tree. An
input that breaks something is left in build/fuzz-found: it becomes testdata and a named test before the fix.
"""
import concurrent.futures
import re
from dataclasses import dataclass
from pathlib import Path

from harness import JOBS, ROOT, SANITIZER_ENV, Case, Ended, Suite, known_tests, run

# What makes an input a finding, beside a crash, a sanitizer's report, a leak and a claim that does not hold: an
# input that takes 10 seconds, one allocation of 512 MiB (liblzma's window may have 256), 1 GiB in all. Freed memory
# that ASan keeps back counts too, so that is less than its 256 MiB.
LIMITS = ["-timeout=10", "-malloc_limit_mb=512", "-rss_limit_mb=1024"]
ENV = {**SANITIZER_ENV, "ASAN_OPTIONS": SANITIZER_ENV["ASAN_OPTIONS"] + ":quarantine_size_mb=64"}


@dataclass
class Reached:
    """What one run of a fuzzer came to."""
    name: str
    ok: bool
    seconds: float
    executions: int
    edges: int
    features: int
    corpus: int  # inputs

    def text(self) -> str:
        each = self.executions / max(self.seconds, 1)
        return f"{self.executions} executions, {each:.0f}/s, {self.edges} edges, {self.features} features, " \
               f"{self.corpus} inputs"


def read_figures(name: str, output: str, ok: bool, seconds: float) -> Reached:
    """From libFuzzer's output; what it did not come to print is 0."""
    def last(pattern: str) -> int:
        found = re.findall(pattern, output)
        return int(found[-1]) if found else 0

    return Reached(name, ok, seconds, last(r"stat::number_of_executed_units: *(\d+)"), last(r"\bcov: (\d+)"),
                   last(r"\bft: (\d+)"), last(r"\bcorp: (\d+)/"))


def run_fuzzer(program: Path, seconds: int) -> tuple[Suite, Reached]:
    corpus = ROOT / "build" / "fuzz-corpus" / program.name
    found = ROOT / "build" / "fuzz-found"
    seeds = ROOT / "fuzz" / "corpus" / program.name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    ended = run([program, f"-max_total_time={seconds}", *LIMITS, "-print_final_stats=1",
                 f"-artifact_prefix={found}/{program.name}-", corpus, *([seeds] if seeds.is_dir() else [])],
                seconds + 120, ROOT / "build" / "log" / f"fuzz-{program.name}.log", ENV)
    reached = read_figures(program.name, ended.output, ended.ok, ended.seconds)
    return suite_of(reached, ended), reached


def suite_of(reached: Reached, ended: Ended) -> Suite:
    """One case. A fuzzer that ran nothing has not passed."""
    name = f"{reached.name}: {reached.text()}"
    if ended.ok and reached.executions > 0:
        return Suite(name, [Case(reached.name, "passed")], ended.seconds)
    return Suite(name, [Case(reached.name, "failed", f"{ended.output}\n{ended.why()}")], ended.seconds)


def run_fuzzers(report, seconds: int, names=()) -> list[Reached]:
    """All of build/fuzz, or those named, one on each processor; report(suite) is called as each one ends."""
    folder = ROOT / "build" / "fuzz"
    programs = [folder / "bin" / "fuzz" / test["name"] for test in known_tests(folder)]
    chosen = [one for one in programs if one.name.endswith("_fuzz") and (not names or one.name in names)]
    all_reached = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run_fuzzer, one, seconds) for one in chosen]):
            suite, reached = future.result()
            report(suite)
            all_reached.append(reached)
    return sorted(all_reached, key=lambda one: one.name)


def table(all_reached: list[Reached], seconds: int) -> str:
    """In markdown, as docs/testing.md has it."""
    lines = [f"{seconds} seconds of each, {JOBS} at a time:", "",
             "| fuzzer | executions | a second | edges | features | corpus | findings |",
             "|---|---:|---:|---:|---:|---:|---:|"]
    for one in all_reached:
        lines.append(f"| `{one.name}` | {one.executions:,} | {one.executions / max(one.seconds, 1):,.0f} | "
                     f"{one.edges:,} | {one.features:,} | {one.corpus:,} | {0 if one.ok else 1} |")
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- tools/fuzz --table -->\n", "<!-- end of table -->\n"


def put_table(document: Path, text: str) -> None:
    """Between the two marks of the document, in place of what was there."""
    whole = document.read_text()
    before, rest = whole.split(BEGIN)
    document.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])
