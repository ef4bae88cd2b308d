# SPDX-License-Identifier: BSD-2-Clause
"""One ELF file, everywhere: kernels that stand on the guest runtime boot on our monitor (this machine's KVM and the lab's),
on QEMU's three machines and on Xen as dom0 and as a domain of xl's; they find what was put there, and deviate from the specification
as docs/compatibility.json says, no more and no less."""
import functools
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import compatibility
import machines
import tap
from machines import ENVIRONMENTS, Boot, Result

# All of an environment's boots may fall into the first test that needs one, and the lab has a second try.
pytestmark = pytest.mark.timeout(600)

MIB = 1 << 20
GIB = 1 << 30
RAM = 1
# What is not free of the memory that was asked for: the low MiB, ACPI's tables, Xen's pages, the kernel.
USED = 8 * MIB

BEGIN, END = b"-----BEGIN PVH REPORT-----\n", b"\n-----END PVH REPORT-----"
LINE = 'json k=v "two words" -x console=ttyS0'

PLACES = [f"{name}@{where}" for name, environment in ENVIRONMENTS.items()
          for where in (("kvm", "lab") if environment.options else ("itself",))]


def module_files(folder: Path) -> list[tuple[Path, str]]:
    generator = random.Random(11)
    files = []
    for i, (size, text) in enumerate([(70_000, "first one"), (1, ""), (4096, 'a="b c" \\ ;')]):
        files.append((folder / f"module{i}", text))
        files[-1][0].write_bytes(generator.randbytes(size))
    return files


def boots_for(name: str, kernels: Path, folder: Path) -> dict[str, Boot]:
    """All that is booted in an environment."""
    environment = ENVIRONMENTS[name]
    modules = module_files(folder) if environment.many_modules else [(module_files(folder)[0][0], "")]
    boots = {
        "hello": Boot(kernels / "hello"),
        "hello32": Boot(kernels / "hello32"),
        "report": Boot(kernels / "report", LINE, modules=modules),
        "probe": compatibility.probe_boot(kernels, folder),
    }
    if environment.large_memory:
        boots["large"] = Boot(kernels / "report", "json", memory="5G")
        boots["large-probe"] = Boot(kernels / "probe", memory="5G", cpus=2)
    for cpus in (1, 2, 4):
        if cpus <= environment.most_cpus:
            boots[f"smp-{cpus}"] = Boot(kernels / "smp", f"cpus={cpus}", cpus=cpus)
    return boots


class Place:
    """An environment where it is to be had. Boots are made when they are asked for, once."""

    def __init__(self, place: str, pvh: Path, kernels: Path, folder: Path):
        self.name, _, self.where = place.partition("@")
        self.environment = ENVIRONMENTS[self.name]
        self.boots = boots_for(self.name, kernels, folder)
        self._pvh = pvh
        self._lab: dict[str, Result] | str | None = None  # or why there are none

    def __call__(self, what: str) -> Result:
        return self._in_lab()[what] if self.where == "lab" else self._alone(what)

    @functools.cache
    def _alone(self, what: str) -> Result:
        if self.environment.boot:
            return self.environment.boot(self.boots[what])
        return machines.boot_on_host(self._pvh, list(self.environment.options), self.boots[what])

    def _in_lab(self) -> dict[str, Result]:
        """A run that failed is not tried again for each test that wanted it."""
        if self._lab is None:
            options = list(self.environment.options)
            try:
                results = machines.boot_in_lab(self._pvh, [(options, boot) for boot in self.boots.values()])
                self._lab = dict(zip(self.boots, results))
            except AssertionError as error:
                self._lab = str(error)
        if isinstance(self._lab, str):
            pytest.fail(self._lab)
        return self._lab


def needs(place: str) -> str | None:
    """Why this cannot be done here."""
    if place.endswith("@kvm") and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no access to /dev/kvm"
    return None if shutil.which("qemu-system-x86_64") or place.endswith("@kvm") else "no qemu-system-x86_64"


def those(fits, *more) -> list:
    """Parameters for the places whose environment fits. One worker has all the tests of one place, so that nothing is
    booted twice."""
    return [pytest.param(place, *more, marks=pytest.mark.xdist_group(place)) for place in PLACES
            if fits(ENVIRONMENTS[place.partition("@")[0]])]


@pytest.fixture(scope="module", params=those(lambda _: True))
def place(request, pvh, kernels, tmp_path_factory) -> Place:
    if why := needs(request.param):
        pytest.skip(why)
    return Place(request.param, pvh, kernels, tmp_path_factory.mktemp("modules"))


def document(result: Result) -> dict:
    assert result.good, result
    _, begin, rest = result.stdout.partition(BEGIN)
    text, end, _ = rest.partition(END)
    assert begin and end, result
    return json.loads(text)


@pytest.mark.parametrize("kernel", ["hello", "hello32"])
def test_hello_says_so(place, kernel):
    result = place(kernel)
    assert result.good and result.stdout.startswith(b"hello"), result


def test_the_report_has_what_was_put_there(place):
    result = place("report")
    report = document(result)
    environment, boot = place.environment, place.boots["report"]
    assert (report["start_info"]["version"], report["map_source"]) == (environment.version, environment.source)
    assert report["start_info"]["words"][0] == 0x336EC578
    assert len(report["start_info"]["words"]) == (14 if environment.version else 10)
    assert report["entry"]["ebx"] == report["start_info"]["address"]
    assert report["command_line"] == LINE
    assert report["arguments"] == [["json"], ["k", "v"], ["two words"], ["-x"], ["console", "ttyS0"]]
    assert not report["map_possibly_truncated"] and report["diagnostics_lost"] == 0

    assert len(report["modules"]) == len(boot.modules)
    for found, (path, text) in zip(report["modules"], boot.modules):
        content = path.read_bytes()
        assert (found["size"], found["checksum"]) == (len(content), tap.checksum(content)), path.name
        assert found["in_ram"], path.name
        assert found["command_line"] == text or environment.names_modules, path.name
    check_memory(report, 256 * MIB)


def check_memory(report: dict, memory: int) -> None:
    assert memory - USED <= report["free_bytes"] <= report["ram_bytes"] <= memory
    assert report["free_bytes"] == sum(entry["size"] for entry in report["free"])
    assert report["ram_bytes"] == sum(entry["size"] for entry in report["map"] if entry["type"] == RAM)
    kinds = {each["kind"] for each in report["reservations"]}
    assert {"image", "start_info"} <= kinds
    for free in report["free"]:
        for used in report["reservations"]:
            assert free["address"] + free["size"] <= used["address"] or used["address"] + used["size"] <= free["address"]


def test_the_report_in_words_says_the_same(place):
    result = place("report")
    words, report = result.stdout.partition(BEGIN)[0].decode(), document(result)
    for number in [report["start_info"]["address"], *(entry["address"] for entry in report["free"])]:
        assert f"{number:x}" in words, f"{number:#x} is not in {words}"
    assert "two words" in words


def test_who_runs_it_is_found(place):
    report = document(place("report"))
    kinds = [each["kind"] for each in report["hypervisors"]]
    if place.name.startswith("xen-"):
        assert "Xen" in kinds and report["xen"]["version"] == 4 << 16 | 17
        assert report["frequencies"]["tsc_khz"] > 0
    else:
        assert report["xen"] is None
        assert kinds == (["KVM"] if place.environment.options else ["QEMU TCG"])


LARGE = those(lambda environment: environment.large_memory)


@pytest.mark.parametrize("place", LARGE, indirect=True)
def test_memory_above_4_gib_is_free(place):
    report = document(place("large"))
    check_memory(report, 5 * GIB)
    assert any(entry["address"] >= 4 * GIB for entry in report["free"])


@pytest.mark.parametrize(("place", "cpus"), [parameter for cpus in (1, 2, 4) for parameter in those(
    lambda environment, cpus=cpus: cpus <= environment.most_cpus, cpus)], indirect=["place"])
def test_every_processor_starts(place, cpus):
    result = place(f"smp-{cpus}")
    assert result.good and re.search(rb"^cpus %d$" % cpus, result.stdout, re.MULTILINE), result


def test_deviations_are_those_that_are_known(place):
    """Both ways: a new one is somebody's fault, and one that is gone must not be believed any longer."""
    result = place("probe")
    found, known = tap.parse(result.stdout), compatibility.load()[place.name]
    assert found.deviations.keys() == known["deviations"].keys(), found.deviations
    assert found.notes.keys() == known["notes"].keys(), found.notes
    assert found.skipped.keys() == known["skipped"].keys(), found.skipped
    assert not any(name.startswith("runtime/") for name in found.deviations), result
    assert (result.good, result.bad) == (not found.deviations, bool(found.deviations)), result


@pytest.mark.parametrize("place", LARGE, indirect=True)
def test_more_memory_makes_no_more_deviations(place):
    found = tap.parse(place("large-probe").stdout)
    assert found.deviations.keys() <= compatibility.load()[place.name]["deviations"].keys(), found.deviations


# ---- the page -----------------------------------------------------------------------------------------------------

def test_every_environment_is_recorded_and_every_deviation_explained():
    record, (claims, notes) = compatibility.load(), tap.listed()
    assert list(record) == list(ENVIRONMENTS)
    for name, found in record.items():
        assert found["deviations"].keys() | found["skipped"].keys() <= {claim.identifier for claim in claims}
        assert found["notes"].keys() <= {note.identifier for note in notes}
        for identifier, deviation in found["deviations"].items():
            assert deviation["why"] and deviation["measured"], f"{name}: {identifier}"


def test_the_page_is_what_the_record_makes():
    done = subprocess.run([machines.ROOT / "tools" / "compatibility", "--check"], stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stdout.decode()


def test_a_stale_page_is_told(tmp_path, monkeypatch):
    record = compatibility.load()
    monkeypatch.setattr(compatibility, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(compatibility, "PAGE", tmp_path / "page.md")
    compatibility.save(record)
    assert compatibility.PAGE.read_text() == compatibility.page(record)
    first = next(iter(record.values()))
    first["deviations"]["entry/cr4-zero"] = {"measured": "CR4 is 1", "why": "a test"}
    assert compatibility.PAGE.read_text() != compatibility.page(record)


def test_an_explanation_is_kept_and_a_new_deviation_has_none():
    known = {"here": {"deviations": {"a/b": {"measured": "1", "why": "because"}}}}
    found = {"here": tap.Judgement(deviations={"a/b": "2", "a/c": "3"})}
    record = compatibility.to_record(found, known)
    assert record["here"]["deviations"] == {"a/b": {"measured": "2", "why": "because"}, "a/c": {"measured": "3", "why": ""}}


@pytest.mark.parametrize("output", [
    b"ok 1 - entry/ebx\n1..1\nverdict conforming\n",  # not every claim
    b"",
    b"1..0\nverdict conforming\n",
])
def test_half_a_report_is_not_believed(output):
    with pytest.raises(AssertionError):
        tap.parse(output)
