# SPDX-License-Identifier: BSD-2-Clause
"""The checks catch what they are there for, and leave alone what is right."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent
LICENCE = "// SPDX-License-Identifier: BSD-2-Clause\n"


def check(name: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOLS / f"check-{name}", *map(str, arguments)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


ALLOWED = [
    ("lib/base/a.cpp", "#include <pvh/base/fd.hpp>"),
    ("lib/loader/a.cpp", "#include <pvh/abi/elf.hpp>"),  # through memory_map
    ("lib/loader/a.cpp", "#include <pvh/loader/internal/x.hpp>"),
    ("lib/loader/a.cpp", '#include "lib/loader/x.hpp"'),
    ("lib/vmm/a.cpp", "#include <pvh/memory_map/map.hpp>"),
    ("cli/a.cpp", "#include <pvh/base/fault.hpp>"),
    ("kernels/report/a.cpp", "#include <pvh/memory_map/map.hpp>"),
    ("lib/abi/abi_test.cpp", "#include <pvh/base/fault.hpp>"),  # a test has a host
    ("lib/vmm/a_test.cpp", '#include "lib/loader/testing/elf_builder.hpp"'),
    ("tests/a.cpp", "#include <pvh/vmm/machine.hpp>"),
    ("lib/kvm/a.cpp", "#include <linux/kvm.h>"),
    ("lib/kvm/CMakeLists.txt", "target_link_libraries(pvh_kvm PUBLIC pvh::base pvh_warnings)"),
    ("lib/kvm/CMakeLists.txt", "# unlike pvh::vmm"),
]

BROKEN = [
    ("lib/base/a.cpp", "#include <pvh/abi/elf.hpp>", "base may see nothing of ours; not abi"),
    ("lib/memory_map/a.cpp", "  #  include <pvh/loader/plan.hpp>", "not loader"),
    ("lib/guest/a.cpp", "#include <pvh/guest_memory/guest_memory.hpp>", "not guest_memory"),
    ("lib/kvm/a_test.cpp", "#include <pvh/vmm/machine.hpp>", "not vmm"),
    ("lib/devices/a.cpp", "#include <pvh/loader/plan.hpp>", "not loader"),
    ("kernels/a.cpp", "#include <pvh/guest_memory/guest_memory.hpp>", "not guest_memory"),
    ("kernels/a.cpp", "#include <pvh/base/fault.hpp>", "needs a host"),
    ("lib/abi/include/pvh/abi/a.hpp", "#include <pvh/base/mapping.hpp>", "needs a host"),
    ("lib/vmm/a.cpp", '#include "../../cli/options.hpp"', "not cli"),
    ("lib/vmm/a.cpp", '#include "lib/loader/parse.hpp"', "private to loader"),
    ("lib/vmm/a.cpp", "#include <pvh/loader/internal/x.hpp>", "private to loader"),
    ("lib/vmm/a.cpp", '#include "lib/loader/testing/elf_builder.hpp"', "is for tests"),
    ("lib/vmm/a.cpp", "#include <pvh/nosuch/x.hpp>", "no library 'nosuch'"),
    ("lib/nosuch/a.cpp", "int x;", "no arrow leads to"),
    ("lib/kvm/CMakeLists.txt", "pvh_library(kvm SOURCES a.cpp PUBLIC pvh::loader)", "may not link loader"),
    ("lib/abi/CMakeLists.txt", "  LINK pvh_guest_memory_testing)", "may not link guest_memory"),
]


@pytest.mark.parametrize("name, line", ALLOWED)
def test_an_arrow_that_is_drawn_may_be_used(tmp_path, name, line):
    write(tmp_path, name, f"{LICENCE}{line}\n")
    result = check("arrows", tmp_path)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("name, line, why", BROKEN)
def test_an_arrow_that_is_not_drawn_is_found(tmp_path, name, line, why):
    write(tmp_path, name, f"{LICENCE}{line}\n")
    result = check("arrows", tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith(f"{name}:")
    assert why in result.stdout


def test_the_arrow_check_names_the_line(tmp_path):
    write(tmp_path, "lib/base/a.cpp", f"{LICENCE}\n#include <pvh/kvm/system.hpp>\n")
    assert "lib/base/a.cpp:3: base may see" in check("arrows", tmp_path).stdout


GOOD_HEADER = LICENCE + "#pragma once\n"

HABITS = [
    ("cli/a.cpp", "int x;\n", "cli/a.cpp:1: no 'SPDX"),
    ("tools/a.sh", "#!/bin/sh\n# nothing\n", "tools/a.sh:2: no 'SPDX"),
    ("cli/a.hpp", LICENCE + "int x;\n", "no #pragma once"),
    ("cli/a.cpp", LICENCE + "int x;", "no newline at the end"),
    ("cli/a.cpp", LICENCE + "int x; \n", "cli/a.cpp:2: blanks"),
    ("cli/a.cpp", LICENCE + "\tint x;\n", "a tab"),
    ("cli/a.cpp", LICENCE + "// TO" + "DO: more\n", "cli/a.cpp:2: unfinished"),
    ("README.md", "FIX" + "ME\n", "README.md:1: unfinished"),
    ("cli/a.cpp", LICENCE + "// PVH" + "v2\n", "start_info version"),
    ("cli/a.cpp", LICENCE + 'auto x = "/tm' + 'p/socket";\n', "scratch"),
    ("lib/kvm/a.cpp", LICENCE, "lib/kvm:1: no README.md"),
    ("lib/kvm/a_test.cpp", LICENCE, "lib/kvm/a_test.cpp:1: not in any CMakeLists.txt"),
]


@pytest.mark.parametrize("name, text, finding", HABITS)
def test_a_broken_habit_is_found(tmp_path, name, text, finding):
    write(tmp_path, name, text)
    result = check("style", tmp_path)
    assert result.returncode == 1
    assert finding in result.stdout


def test_a_path_of_this_machine_is_found(tmp_path):
    write(tmp_path, "docs/a.md", f"run {tmp_path}/tools/x\n")
    result = check("style", tmp_path)
    assert result.returncode == 1
    assert "docs/a.md:1: a path of this machine" in result.stdout


def test_a_tree_in_order_passes(tmp_path):
    write(tmp_path, "lib/kvm/include/pvh/kvm/a.hpp", GOOD_HEADER)
    write(tmp_path, "lib/kvm/a_test.cpp", LICENCE)
    write(tmp_path, "lib/kvm/README.md", "# kvm\n")
    write(tmp_path, "lib/kvm/CMakeLists.txt", LICENCE.replace("//", "#") + "pvh_test(a_test SOURCES a_test.cpp)\n")
    assert check("style", tmp_path).returncode == 0


def test_a_long_header_is_advice_only(tmp_path):
    write(tmp_path, "cli/a.hpp", GOOD_HEADER + "\n" * 300)
    result = check("style", tmp_path)
    assert result.returncode == 0
    assert "advice: cli/a.hpp: 302 lines" in result.stdout


needs_compiler = pytest.mark.skipif(not shutil.which("g++-12"), reason="g++-12 is not installed")


def archive(folder: Path, name: str, source: str) -> None:
    write(folder, "a.cpp", source)
    subprocess.run(["g++-12", "-std=c++23", "-ffreestanding", "-fno-pic", "-c", "a.cpp"], cwd=folder, check=True)
    subprocess.run(["ar", "rcs", f"lib{name}_freestanding.a", "a.o"], cwd=folder, check=True)
    # The other width has nothing to hide.
    subprocess.run(["ar", "rcs", f"lib{name}_freestanding32.a"], cwd=folder, check=True)


@needs_compiler
@pytest.mark.parametrize("source, need", [
    ("int* make() { return new int; }", "needs _Znwm"),
    ("void fail() { throw 1; }", "needs __cxa_throw"),
    ("int seed(); int& once() { static int value = seed(); return value; }", "needs __cxa_guard_acquire"),
    ("extern int f(); int value = f();", "has .init_array"),
    ("thread_local int value; int get() { return value; }", "has .tbss"),
])
def test_what_a_kernel_does_not_have_is_found(tmp_path, source, need):
    archive(tmp_path, "pvh_x", source)
    result = check("freestanding", tmp_path)
    assert result.returncode == 1
    assert need in result.stdout


@needs_compiler
def test_twins_may_need_each_other_and_what_the_kernel_brings(tmp_path):
    archive(tmp_path, "pvh_below", "int below() { return 1; }")
    archive(tmp_path, "pvh_above", "int below(); extern \"C\" void pvh_main(); extern \"C\" char pvh_image_start[];"
                                   "int above() { pvh_main(); return below() + pvh_image_start[0]; }")
    result = check("freestanding", tmp_path)
    assert (result.returncode, result.stdout) == (0, "4 archives, 0 needs\n")


def test_a_build_without_twins_is_not_called_clean(tmp_path):
    assert check("freestanding", tmp_path).returncode == 1


def fake_dpkg(folder: Path, installed: str) -> dict:
    write(folder, "dpkg-query", f"#!/bin/sh\nprintf '{installed}'\n")
    write(folder, "apt-get", "#!/bin/sh\necho \"apt-get $*\" >> \"$CALLS\"\n[ \"${APT_FAILS:-}\" != 1 ] || exit 100\n")
    write(folder, "sleep", "#!/bin/sh\n")
    write(folder, "id", "#!/bin/sh\necho 0\n")
    for name in ("dpkg-query", "apt-get", "id", "sleep"):
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(folder / "calls"), "PVH_SKIP_DEPS": ""}


def install(env: dict, *groups) -> subprocess.CompletedProcess:
    return subprocess.run([TOOLS / "install-deps.sh", *groups], env=env, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


RUN_GROUP = "passt python3 qemu-system-x86 seabios busybox-static cpio gzip xz-utils"


def test_nothing_missing_means_no_apt(tmp_path):
    env = fake_dpkg(tmp_path, "".join(f"installed {name}\\n" for name in RUN_GROUP.split()))
    result = install(env, "run")
    assert (result.returncode, result.stdout) == (0, "")
    assert not (tmp_path / "calls").exists()


def test_a_removed_package_counts_as_missing_and_only_it_is_installed(tmp_path):
    env = fake_dpkg(tmp_path, "".join(f"installed {name}\\n" for name in RUN_GROUP.split()[:-1])
                    + "config-files xz-utils\\n")
    result = install(env, "run")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2
    assert calls[0].endswith("update")
    assert calls[1].endswith("install --no-install-recommends xz-utils")
    # The stand-in installs nothing, and that is noticed.
    assert result.returncode == 1
    assert "still missing: xz-utils" in result.stdout


def test_without_network_the_lists_are_tried_twice_and_the_message_says_so(tmp_path):
    result = install({**fake_dpkg(tmp_path, ""), "APT_FAILS": "1"}, "run")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.endswith("update") for call in calls] == [True, True, False]
    assert result.returncode == 1
    assert "apt-get update failed twice: is the network there" in result.stdout


def test_an_unknown_group_is_refused(tmp_path):
    result = install(fake_dpkg(tmp_path, ""), "everything")
    assert result.returncode == 1
    assert "no group 'everything'" in result.stdout
