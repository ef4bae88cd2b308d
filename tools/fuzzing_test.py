# SPDX-License-Identifier: BSD-2-Clause
"""A fuzzer's figures are read right, and one that fell over or did nothing has not passed."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fuzzing import BEGIN, END, put_table, read_figures, suite_of, table  # noqa: E402
from harness import Ended  # noqa: E402

OUTPUT = """#2      INITED cov: 24 ft: 24 corp: 1/1b exec/s: 0 rss: 46Mb
#1951   DONE   cov: 2523 ft: 3076 corp: 45/244b lim: 8 exec/s: 121 rss: 145Mb
Done 1951 runs in 16 second(s)
stat::number_of_executed_units: 1951
"""


def test_the_last_figures_count():
    reached = read_figures("a_fuzz", OUTPUT, True, 16.2)
    assert (reached.executions, reached.edges, reached.features, reached.corpus) == (1951, 2523, 3076, 45)
    assert "1951 executions, 120/s" in reached.text()


def test_a_finding_and_an_empty_run_are_failures():
    fell_over = Ended(77, OUTPUT, 3.0)
    assert suite_of(read_figures("a_fuzz", fell_over.output, False, 3.0), fell_over).count("failed") == 1
    nothing = Ended(0, "", 1.0)
    assert suite_of(read_figures("a_fuzz", "", True, 1.0), nothing).count("failed") == 1
    good = Ended(0, OUTPUT, 16.2)
    assert suite_of(read_figures("a_fuzz", OUTPUT, True, 16.2), good).count("passed") == 1


def test_the_table_replaces_only_itself(tmp_path):
    document = tmp_path / "testing.md"
    document.write_text(f"before\n{BEGIN}old\n{END}after\n")
    put_table(document, table([read_figures("a_fuzz", OUTPUT, False, 16.2)], 16))
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| `a_fuzz` | 1,951 | 120 | 2,523 | 3,076 | 45 | 1 |" in text
    put_table(document, "again\n")
    assert document.read_text() == f"before\n{BEGIN}\nagain\n\n{END}after\n"
