# SPDX-License-Identifier: BSD-2-Clause
"""The guest's virtio console, hvc0, at each of its places, in the lab; what `--virtio-console` refuses."""
import re
from pathlib import Path

import pytest

from conftest import build_dir
from machines import lab_script

SCRIPTS = Path(__file__).resolve().parent / "console"

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("console")]


@pytest.fixture(scope="module")
def initrd(scripted_initrd) -> Path:
    return scripted_initrd(SCRIPTS / "guest.sh")


@pytest.fixture
def said(pvh, images, initrd):
    """said(HOW) gives what host.sh and, behind it, the guest's serial console said."""

    def call(how: str) -> str:
        ended = lab_script(SCRIPTS / "host.sh", how, pvh, images["cloud-amd64-vmlinux"], initrd,
                           build_dir() / "bin" / "tests" / "uds-tool", timeout=110, limit=280)
        text = ended.stdout.decode(errors="replace").replace("\r", "")
        print(text, ended)
        assert ended.status == 0
        return text

    return call


def word(text: str, name: str) -> str:
    match = re.search(rf"^{name} (.*)$", text, re.MULTILINE)
    assert match, f"no {name} in {text[-3000:]}"
    return match[1]


def test_the_kernels_words_and_the_guests_go_to_a_file(said):
    text = said("boot")
    assert word(text, "STATUS") == "0"
    assert re.search(r"^HVC .*Linux version 6", text, re.MULTILINE)
    assert re.search(r"^HVC \[.*said by printk$", text, re.MULTILINE)
    assert re.search(r"^HVC THE-END$", text, re.MULTILINE)


def test_a_disk_that_is_full_ends_the_machine(said):
    text = said("full")
    assert word(text, "STATUS") == "74"
    assert "pvh: cannot write the virtio console: No space left on device" in text


@pytest.mark.parametrize("how", ["uds", "pty"])
def test_a_mebibyte_goes_each_way_and_a_reader_that_rests_stops_nobody_else(said, how):
    text = said(how)
    assert word(text, "STATUS") == "0"
    assert word(text, "GUEST-TYPED") == word(text, "HOST-TYPES")
    assert word(text, "HOST-PRINTED") == word(text, "GUEST-PRINTS")
    assert "target_bytes" in word(text, "OTHERS")
    assert int(word(text, "TICKS")) < 20, "hundredths of a second: it sleeps"
    assert "STILL-WAITING" in text
    if how == "uds":
        assert word(text, "SOCKET") == "gone"


def test_it_survives_a_restart(said):
    text = said("restart")
    assert word(text, "STATUS") == "0"
    assert re.findall(r"^READ (.*)$", text, re.MULTILINE) == ["again", "end"]


@pytest.mark.parametrize(("arguments", "status", "words"), [
    (["stdio"], 64, "on stdin and stdout already: write --console none"),
    (["file=/tmp/x", "--console", "file=/tmp/x"], 64, "on /tmp/x already"),
    (["vga"], 64, "write stdio, none, pty, file=PATH or uds=PATH"),
    (["file=/no/such/folder/f"], 74, "No such file or directory"),
    (["uds=/dev/null"], 74, "no socket"),
    ([f"uds={'x' * 200}"], 64, "must be shorter"),
])
def test_what_cannot_be_a_virtio_console_is_named(boot, kernels, arguments, status, words):
    ended = boot(kernels / "startinfo32", "--virtio-console", *arguments)
    assert (ended.status, ended.stdout) == (status, b""), ended
    assert words in ended.stderr, ended
