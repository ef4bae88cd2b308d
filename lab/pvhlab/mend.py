# SPDX-License-Identifier: BSD-2-Clause
"""A copy of QEMU's program in which a guest's breakpoints reach the hypervisor that set them.

The emulation of SVM lacks two things that a debugger of guests needs, in 7.2 and after it: the exception of INT3 is not
intercepted (only what `INT n` has, SWINT, is), and VMRUN and #VMEXIT put a value into DR7 without arming what it names. Both
are a few bytes of the program. They are looked for by the code around them; a QEMU that has other code is not mended.
"""

import contextlib
import os
import pathlib
import re
import shutil
import struct
import tempfile
from typing import NamedTuple

from . import qemu, tools
from .errors import LabError

_PAGE = 4096
_PT_LOAD, _PF_X = 1, 1


class _Text(NamedTuple):
    """The program's one executable segment, in the file and as it is loaded."""

    offset: int
    size: int
    address: int


def _text(program: bytes) -> _Text:
    (table,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    for i in range(count):
        kind, flags, offset, address, _, file_size = struct.unpack_from("<IIQQQQ", program, table + i * size)
        if kind == _PT_LOAD and flags & _PF_X:
            return _Text(offset, file_size, address)
    raise LabError("QEMU's program has no code")


def _address_of(symbol: str, path: str) -> int:
    match = re.search(rf"^\s*\d+: ([0-9a-f]+) .* {symbol}(@|$)", tools.output(["readelf", "-W", "--dyn-syms", path]), re.M)
    if not match:
        raise LabError(f"this QEMU cannot be mended: it has no {symbol}")
    return int(match[1], 16)


def _places(program: bytes, text: _Text, pattern: bytes, count: int) -> list[int]:
    """Where group 1 of the pattern is in the file."""
    found = [match.start(1) for match in re.compile(pattern, re.S).finditer(program, text.offset, text.offset + text.size)]
    if len(found) != count:
        raise LabError("this QEMU cannot be mended: its emulation of SVM is not the code that the lab knows")
    return found


# raise_interrupt2(): test %edx,%edx; jne to the check of SWINT; the check of the exception: 0x40 + its number.
_IS_INT = rb"\x85\xd2(\x75.)\x48\x63\xd1\x8d\x76\x40\x4c\x89\xc9\xe8"
# lea 0x560(%rax),%rsi (the VMCB's DR7); call to read it; mov %rbp,%rdi; mov %rax to env->dr[7], env in %rbx.
_LOAD_DR7 = rb"\x48\x8d\xb0\x60\x05\x00\x00\xe8....\x48\x89\xef(\x48\x89\x83....)"
# push %rdi; mov %rbx,%rdi; mov %eax,%esi; call ...; pop %rdi; ret: sets DR7 as MOV to DR7 does.
_STUB_HEAD, _STUB_TAIL = b"\x57\x48\x89\xdf\x89\xc6\xe8", b"\x5f\xc3"


def mend(program: bytes, update_dr7: int) -> bytes:
    """The program with its three patches. Raises LabError when it is not as expected."""
    text = _text(program)
    is_int = _places(program, text, _IS_INT, 1)
    loads = _places(program, text, _LOAD_DR7, 2)
    # What is left of the last page of code is loaded with it.
    stub = (text.offset + text.size + 15) & ~15
    target = update_dr7 - text.address + text.offset
    code = _STUB_HEAD + struct.pack("<i", target - (stub + len(_STUB_HEAD) + 4)) + _STUB_TAIL
    if program[stub : stub + len(code)] != bytes(len(code)) or stub // _PAGE != (stub + len(code)) // _PAGE:
        raise LabError("this QEMU cannot be mended: there is no room behind its code")
    mended = bytearray(program)
    mended[stub : stub + len(code)] = code
    for place in is_int:
        mended[place : place + 2] = b"\x66\x90"
    for place in loads:
        mended[place : place + 7] = b"\xe8" + struct.pack("<i", stub - (place + 5)) + b"\x66\x90"
    return bytes(mended)


def program(cache: pathlib.Path) -> str:
    """The mended copy of the QEMU that is installed; made when it is not there."""
    original = pathlib.Path(tools.find(qemu.PROGRAM))
    status = original.stat()
    folder = cache / "mended" / f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
    copy = folder / "bin" / original.name
    if not copy.exists():
        code = mend(original.read_bytes(), _address_of("cpu_x86_update_dr7", str(original)))
        shutil.rmtree(folder.parent, ignore_errors=True)  # a run that has an older one goes on
        copy.parent.mkdir(parents=True, exist_ok=True)
        # It finds its modules and its data beside itself.
        for name in ("lib", "share"):
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(original.parent.parent / name)
        with tempfile.NamedTemporaryFile(dir=copy.parent, delete=False) as file:
            file.write(code)
        os.chmod(file.name, 0o755)
        os.rename(file.name, copy)
    return str(copy)
