# SPDX-License-Identifier: BSD-2-Clause
"""The runner counts right, and nothing that goes wrong in a child can pass for success."""
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import Case, Ended, Report, Suite, read_junit, run, settle  # noqa: E402

GTEST = """<testsuites><testsuite name="A">
  <testcase name="Good" status="run" result="completed" classname="A" />
  <testcase name="Bad" status="run" result="completed" classname="A"><failure message="m">a.cpp:1 wrong</failure>
    <failure message="m">a.cpp:2 too</failure></testcase>
  <testcase name="Later" status="run" result="skipped" classname="A"><skipped message="no /dev/kvm&#x0A;"/></testcase>
  <testcase name="DISABLED_X" status="notrun" result="suppressed" classname="A" />
</testsuite></testsuites>"""

ONE_GOOD = '<testsuites><testsuite name="A"><testcase name="Good" status="run" classname="A"/></testsuite></testsuites>'


def test_a_child_that_runs_too_long_dies_with_its_children(tmp_path):
    marker = tmp_path / "pid"
    start = time.monotonic()
    ended = run(["sh", "-c", f"sleep 60 & echo $! > {marker}; wait"], 0.5, tmp_path / "log")
    assert ended.status is None
    assert not ended.ok
    assert "killed after" in ended.why()
    assert time.monotonic() - start < 5
    assert not is_alive(int(marker.read_text()))


def test_what_a_child_left_behind_is_killed_when_it_ends(tmp_path):
    marker = tmp_path / "pid"
    ended = run(["sh", "-c", f"sleep 60 & echo $! > {marker}"], 10, tmp_path / "log")
    assert ended.ok
    assert ended.seconds < 5
    assert not is_alive(int(marker.read_text()))


def is_alive(pid: int) -> bool:
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.02)
    return True


def test_output_and_status_arrive(tmp_path):
    ended = run(["sh", "-c", "echo out; echo err >&2; exit 3"], 10, tmp_path / "log")
    assert (ended.status, ended.output) == (3, "out\nerr\n")
    assert run(["sh", "-c", "kill -SEGV $$"], 10, tmp_path / "log").why() == "ended by signal 11"


def test_googletests_cases_are_read(tmp_path):
    (tmp_path / "a.xml").write_text(GTEST)
    assert read_junit(tmp_path / "a.xml") == [
        Case("A.Good", "passed"), Case("A.Bad", "failed", "a.cpp:1 wrong\na.cpp:2 too"),
        Case("A.Later", "skipped", "no /dev/kvm"), Case("A.DISABLED_X", "skipped", "disabled in the source")]


def test_a_leak_found_after_the_last_test_is_a_failure(tmp_path):
    (tmp_path / "a.xml").write_text(ONE_GOOD)
    suite = settle("a_test", Ended(1, "LeakSanitizer", 0.1), tmp_path / "a.xml")
    assert (suite.count("passed"), suite.count("failed")) == (1, 1)
    assert suite.cases[1].detail == "LeakSanitizer"


def test_a_crash_is_one_failure_beside_what_had_passed(tmp_path):
    text = "[ RUN      ] A.One\n[       OK ] A.One (0 ms)\n[ RUN      ] A.Two\nSEGV"
    suite = settle("a_test", Ended(-11, text, 0.1), tmp_path / "missing.xml")
    assert (suite.count("passed"), suite.count("failed")) == (1, 1)


def test_a_program_without_tests_is_a_failure(tmp_path):
    (tmp_path / "a.xml").write_text("<testsuites/>")
    assert settle("a_test", Ended(0, "", 0.1), tmp_path / "a.xml").count("failed") == 1
    assert settle("a_test", Ended(0, "", 0.1), tmp_path / "missing.xml").count("failed") == 1


def last_line_of(report: Report, capsys) -> tuple[int, str]:
    status = report.finish()
    return status, capsys.readouterr().out.splitlines()[-1]


def test_the_last_line_sums_everything(capsys):
    report = Report()
    report.add(Suite("one", [Case("a", "passed"), Case("b", "skipped", "why")]))
    report.add(Suite("two", [Case("c", "passed")]))
    assert last_line_of(report, capsys) == (0, "2 passed, 0 failed, 1 skipped")
    report.add(Suite("three", [Case("d", "failed", "it broke")]))
    assert last_line_of(report, capsys) == (1, "2 passed, 1 failed, 1 skipped")


def test_nothing_run_or_something_left_out_is_not_success(capsys):
    assert last_line_of(Report(), capsys) == (1, "0 passed, 0 failed, 0 skipped")
    only_skips = Report()
    only_skips.add(Suite("one", [Case("b", "skipped", "why")]))
    assert last_line_of(only_skips, capsys)[0] == 1
    partial = Report()
    partial.add(Suite("one", [Case("a", "passed")]))
    partial.leave_out("system tests", "the release build failed")
    assert last_line_of(partial, capsys)[0] == 1


def test_every_tool_says_what_it_is():
    for tool in ("test", "fuzz"):
        told = subprocess.run([Path(__file__).parent / tool, "--help"], stdout=subprocess.PIPE, text=True, timeout=20)
        assert told.returncode == 0 and "usage:" in told.stdout
