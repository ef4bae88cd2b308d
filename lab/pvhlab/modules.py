# SPDX-License-Identifier: BSD-2-Clause
"""Kernel modules out of an unpacked kernel package: found by name, ordered by what they need."""

import gzip
import lzma
import pathlib
import re

from .errors import LabError

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


def _canonical(name: str) -> str:
    return name.replace("-", "_")


def _read(path: pathlib.Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return data


class Modules:
    """The package has no modules.dep (depmod makes it at installation), but each module names what it needs."""

    def __init__(self, root: pathlib.Path) -> None:
        files = root.glob("**/lib/modules/*/kernel/**/*.ko*")
        self._paths = {_canonical(path.name.split(".ko")[0]): path for path in files}
        [builtin] = root.glob("**/lib/modules/*/modules.builtin")
        self._builtin = {_canonical(pathlib.PurePath(line).stem) for line in builtin.read_text().split()}

    def load_order(self, wanted: list[str]) -> dict[str, bytes]:
        """The wanted modules and all that they need, in an order that insmod can follow."""
        order: dict[str, bytes] = {}
        for name in wanted:
            self._add(_canonical(name), order)
        return order

    def _add(self, name: str, order: dict[str, bytes]) -> None:
        if name in order or name in self._builtin:
            return
        if name not in self._paths:
            raise LabError(f"the kernel package has no module {name}")
        data = _read(self._paths[name])
        match = _DEPENDS.search(data)
        for needed in match.group(1).decode().split(",") if match else []:
            if needed:
                self._add(_canonical(needed), order)
        order[name] = data
