# SPDX-License-Identifier: BSD-2-Clause
"""What `make install` installs, moved elsewhere, is enough to build kernels outside of this tree, and programs that embed
the monitor: by find_package and by pkg-config, in C and C++, with both compilers, for both widths. And a kernel that would not boot is no kernel: its build
fails and says what to do."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import HOST_KVM, LAB, ROOT, build_dir
from machines import qemu
from running import run

OK = 33

CPP = """
#include <pvh/guest/pvh.hpp>
void pvh_main(pvh::guest::Boot& boot) {
  pvh::guest::print(boot.command_line());
  pvh::guest::print("\\n");
  pvh::guest::console().flush();
  pvh::guest::debug_exit(boot.machine(), 0x10);
}
"""

C = """
#include <pvh.h>
void pvh_main(struct pvh_boot* boot) {
  pvh_print(pvh_command_line(boot));
  pvh_print_string("\\n");
  pvh_debug_exit(boot, 0x10);
}
"""

# The note is left to a section, in a script that knows no program headers for it.
BAD_SCRIPT = """
ENTRY(pvh_wrong_entry)
PHDRS { all PT_LOAD FLAGS(7); }
SECTIONS {
  . = 2M;
  .note.Xen : { KEEP(*(.note.Xen)) } :all
  .text : { *(.text) } :all
}
"""

NOTE_AND_ENTRY = """
        .section .note.Xen, "a", @note
        .long 4, 8, 18
        .asciz "Xen"
        .quad pvh_wrong_entry
"""

# Among what is linked first, because the header counts in a file's first 8 KiB only.
MULTIBOOT = """
        .section .pvh_boot, "ax"
        .balign 4
        .long 0x1badb002, 0, -0x1badb002
"""

PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES C CXX ASM)
set(CMAKE_CXX_STANDARD 23)
find_package(pvh 0.1 REQUIRED)
pvh_add_kernel(cpp64 SOURCES kernel.cpp)
pvh_add_kernel(cpp32 BITS 32 SOURCES kernel.cpp)
pvh_add_kernel(c64 SOURCES kernel.c)
pvh_add_kernel(c32 BITS 32 SOURCES kernel.c)
pvh_add_kernel(high VIRTUAL_BASE 0xffffffff80000000 STACK_SIZE 0x8000 SOURCES kernel.cpp)

# The three mistakes: no note at all, one that only a section has, a Multiboot header in an ELF64.
foreach(mistake IN ITEMS plain section)
  add_executable(${mistake} EXCLUDE_FROM_ALL ${mistake}.S)
  target_link_options(${mistake} PRIVATE -nostdlib -static -Wl,-n -Wl,--build-id=none)
  pvh_check_kernel(${mistake})
endforeach()
target_link_options(section PRIVATE -Wl,-T,${CMAKE_SOURCE_DIR}/section.ld)
pvh_add_kernel(multiboot SOURCES kernel.cpp multiboot.S)
set_target_properties(multiboot PROPERTIES EXCLUDE_FROM_ALL ON)
target_link_options(multiboot PRIVATE -Wl,-u,multiboot_header)
"""

COMPILERS = [("gcc-12", "g++-12"), ("clang-19", "clang++-19")]


def call(arguments: list, **options) -> subprocess.CompletedProcess:
    return subprocess.run([os.fspath(argument) for argument in arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=110, **options)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory, pvh: Path) -> Path:  # pylint: disable=unused-argument
    """An installed tree that is not where it was installed."""
    folder = tmp_path_factory.mktemp("install")
    installed = call(["cmake", "--install", build_dir(), "--prefix", folder / "before"])
    assert installed.returncode == 0, installed.stdout
    (folder / "before").rename(folder / "after")
    return folder / "after"


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for name, text in {"CMakeLists.txt": PROJECT, "kernel.cpp": CPP, "kernel.c": C, "section.ld": BAD_SCRIPT,
                       "plain.S": ".globl _start\n_start: hlt\n",
                       "section.S": ".globl pvh_wrong_entry\npvh_wrong_entry: hlt\n" + NOTE_AND_ENTRY,
                       "multiboot.S": MULTIBOOT + ".globl multiboot_header\nmultiboot_header:\n"}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module", params=COMPILERS, ids=["g++", "clang++"])
def project(request, tmp_path_factory, prefix: Path, sources: Path) -> Path:
    """The build folder of a project that finds the installed tree."""
    cc, cxx = request.param
    if not shutil.which(cxx):
        pytest.skip(f"no {cxx}")
    folder = tmp_path_factory.mktemp("build")
    configured = call(["cmake", "-G", "Ninja", "-S", sources, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}",
                       f"-DCMAKE_C_COMPILER={cc}", f"-DCMAKE_CXX_COMPILER={cxx}"])
    assert configured.returncode == 0, configured.stdout
    return folder


def assert_boots(kernel: Path) -> None:
    ended = qemu("microvm", kernel, "-append", "words of its own")
    assert ended.status == OK, ended
    assert b"words of its own" in ended.stdout


def test_a_project_finds_the_package(project: Path):
    built = call(["cmake", "--build", project])
    assert built.returncode == 0, built.stdout
    for kernel in ("cpp64", "cpp32", "c64", "c32", "high"):
        assert_boots(project / kernel)


@pytest.mark.parametrize("mistake, rule, remedy", [
    ("plain", "no-pvh-note", "link with the pvh runtime"),
    ("section", "note-not-in-segment", "keep the note in a segment of its own"),
    ("multiboot", "multiboot1-in-elf64", "remove the Multiboot1 header"),
])
def test_a_kernel_that_would_not_boot_is_not_built(project: Path, mistake: str, rule: str, remedy: str):
    built = call(["cmake", "--build", project, "--target", mistake])
    assert built.returncode != 0, built.stdout
    line = next((each for each in built.stdout.splitlines() if ": error: " in each), "")
    assert f": error: {rule} (" in line and remedy in line, built.stdout


@pytest.mark.parametrize("cc, cxx", COMPILERS, ids=["g++", "clang++"])
@pytest.mark.parametrize("package, source", [("pvh-guest", "kernel.cpp"), ("pvh-guest32", "kernel.cpp"),
                                             ("pvh-guest-c", "kernel.c"), ("pvh-guest32-c", "kernel.c")])
def test_pkg_config_tells_how_to_build(prefix: Path, sources: Path, tmp_path: Path, cc: str, cxx: str, package: str,
                                       source: str):
    compiler = cxx if source.endswith(".cpp") else cc
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    environment = os.environ | {"PKG_CONFIG_PATH": os.fspath(prefix / "lib" / "pkgconfig")}

    def flags(option: str) -> list[str]:
        asked = call(["pkg-config", option, package], env=environment)
        assert asked.returncode == 0, asked.stdout
        return asked.stdout.split()

    compiled = call([compiler, *flags("--cflags"), "-Wall", "-Werror", "-Os", "-c", sources / source, "-o", tmp_path / "k.o"])
    assert compiled.returncode == 0, compiled.stdout
    linked = call([compiler, tmp_path / "k.o", *flags("--libs"), "-o", tmp_path / "kernel"])
    assert linked.returncode == 0 and not linked.stdout, linked.stdout
    assert_boots(tmp_path / "kernel")


@pytest.mark.parametrize("cc, cxx", COMPILERS, ids=["g++", "clang++"])
def test_a_project_embeds_the_monitor(prefix: Path, tmp_path: Path, kernels: Path, cc: str, cxx: str):
    if not shutil.which(cxx):
        pytest.skip(f"no {cxx}")
    shutil.copytree(ROOT / "examples" / "vmm", tmp_path / "source")
    configured = call(["cmake", "-G", "Ninja", "-S", tmp_path / "source", "-B", tmp_path / "build",
                       f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_C_COMPILER={cc}", f"-DCMAKE_CXX_COMPILER={cxx}"])
    assert configured.returncode == 0, configured.stdout
    built = call(["cmake", "--build", tmp_path / "build"])
    assert built.returncode == 0, built.stdout
    started = call([tmp_path / "build" / "vmm-example", kernels / "startinfo32", tmp_path / "none"])
    assert (started.returncode, started.stdout.startswith(f"vmm-example: {tmp_path / 'none'}: ")) == (1, True), started


def test_pkg_config_tells_how_to_embed(prefix: Path, tmp_path: Path, kernels: Path):
    """Statically, as the lab wants it; and what was built boots a kernel."""
    environment = os.environ | {"PKG_CONFIG_PATH": os.fspath(prefix / "lib" / "pkgconfig")}
    asked = call(["pkg-config", "--cflags", "--libs", "--static", "pvh-vmm"], env=environment)
    assert asked.returncode == 0, asked.stdout
    built = call(["g++-12", "-static", ROOT / "examples" / "vmm" / "main.cpp", *asked.stdout.split(), "-o", tmp_path / "vmm"])
    assert built.returncode == 0 and not built.stdout, built.stdout
    (tmp_path / "disk").write_bytes(bytes(4096))
    command = [tmp_path / "vmm", kernels / "hello", tmp_path / "disk"]
    ended = run(command if HOST_KVM else [LAB, "run", "--hold", "--timeout", "60", "--", *command], limit=110)
    assert (ended.status, ended.stderr) == (1, ""), ended
    assert ended.stdout.endswith(b"ended: reset\n") and b"hello from PVH" in ended.stdout, ended


def test_an_unknown_component_is_refused(prefix: Path, tmp_path: Path):
    (tmp_path / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(outside LANGUAGES C CXX)\n"
                                             "find_package(pvh REQUIRED COMPONENTS xen)\n")
    cc, cxx = COMPILERS[0]
    configured = call(["cmake", "-G", "Ninja", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}",
                       f"-DCMAKE_C_COMPILER={cc}", f"-DCMAKE_CXX_COMPILER={cxx}"])
    assert configured.returncode != 0
    assert "pvh has no component xen" in configured.stdout, configured.stdout


def test_an_installed_kernel_boots_in_the_installed_monitor(prefix: Path, project: Path, boot):
    built = call(["cmake", "--build", project, "--target", "cpp64"])
    assert built.returncode == 0, built.stdout
    assert call([prefix / "bin" / "pvh", "check", project / "cpp64"]).returncode == 0
    assert boot(project / "cpp64").status == OK
