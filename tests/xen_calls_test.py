# SPDX-License-Identifier: BSD-2-Clause
"""Every hypercall of the guest runtime on a real Xen: what kernels/xen-calls claims as its dom0, in both modes."""
import re
from pathlib import Path

import pytest

from running import Ended, run

LAB = Path(__file__).resolve().parent.parent / "lab" / "lab"
# Xen's own boot is a second; the lab may have to be prepared first, and may try twice.
pytestmark = pytest.mark.timeout(300)
LIMIT = 100


@pytest.fixture(params=["xen-calls", "xen-calls32"])
def dom0(request, kernels: Path):
    """dom0(cpus, WORD...) boots the kernel as Xen's dom0."""

    def call(cpus: int, *words: str) -> Ended:
        return run([LAB, "xen-dom0", "--cpus", str(cpus), "--timeout", str(LIMIT), kernels / request.param, "--",
                    f"cpus={cpus}", *words], limit=2.5 * LIMIT)

    return call


def claims(ended: Ended) -> list[str]:
    """What held, without numbers. Everything that was claimed must be there, and hold."""
    text = ended.stdout.decode()
    plan = re.search(r"^1\.\.(\d+)$", text, re.MULTILINE)
    assert plan, ended
    results = re.findall(r"^(not ok|ok) (\d+) - (.*)$", text, re.MULTILINE)
    assert [int(number) for _, number, _ in results] == list(range(1, int(plan[1]) + 1)), text
    assert [what for verdict, _, what in results if verdict != "ok"] == [], text
    return [what for _, _, what in results]


def test_every_call_answers_as_documented(dom0):
    ended = dom0(2)
    held = claims(ended)
    assert len(held) > 30
    assert "the second processor has its argument" in held
    assert "# by console_write\n" in ended.stdout.decode()
    assert ended.status == 0, ended
    assert ended.stderr.endswith("lab: dom0 ended: poweroff\n")


def test_one_processor_is_counted_as_one(dom0):
    ended = dom0(1)
    assert "start_vcpu" not in claims(ended)
    assert ended.status == 0, ended


def test_wrong_expectation_is_seen(dom0):
    """The kernel can fail: three processors are expected and one is there."""
    ended = dom0(1, "cpus=3")
    assert re.search(r"^not ok \d+ - vcpu_is_up counts the processors$", ended.stdout.decode(), re.MULTILINE), ended
    assert ended.status == 70, ended


@pytest.mark.parametrize(("end", "status"), [("reboot", 0), ("crash", 70)])
def test_shutdown_gives_the_reason(dom0, end, status):
    ended = dom0(1, f"end={end}")
    claims(ended)
    assert ended.status == status, ended
    assert ended.stderr.endswith(f"lab: dom0 ended: {end}\n")
