# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own packages, unpacked under the cache: one folder for each version, so nothing is ever overwritten."""

import dataclasses
import os
import pathlib
import re
import shutil
import tempfile

from . import tools
from .errors import LabError


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What apt would install now, by its local lists; the network is not asked."""

    name: str
    version: str
    depends: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Package:
    name: str
    version: str
    root: pathlib.Path

    def one(self, pattern: str) -> pathlib.Path:
        """The only file that matches."""
        found = sorted(self.root.glob(pattern))
        if len(found) != 1:
            raise LabError(f"package {self.name} {self.version} has {len(found)} files {pattern}, not one")
        return found[0]


def candidates(names: list[str]) -> dict[str, Candidate]:
    """Raises when apt does not know one of them."""
    try:
        text = tools.output(["apt-cache", "show", "--no-all-versions", *names])
    except LabError as error:
        raise LabError(f"{error}; does `apt-get update` help?") from error
    found = {}
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if "Package" in fields:
            depends = tuple(re.findall(r"(?:^|[,|])\s*([a-z0-9.+-]+)", fields.get("Depends", "")))
            candidate = Candidate(fields["Package"], fields["Version"], depends)
            found[candidate.name] = candidate
    for name in names:
        if name not in found:
            raise LabError(f"apt knows no package {name}; does `apt-get update` help?")
    return found


def folder(candidate: Candidate, packages: pathlib.Path) -> pathlib.Path:
    return packages / f"{candidate.name}_{candidate.version.replace(':', '%3a')}"  # as dpkg writes it


def unpacked(wanted: list[Candidate], packages: pathlib.Path) -> list[Package]:
    """The packages' files; downloads and unpacks, all at once, those of which the cache does not have this version."""
    missing = [candidate for candidate in wanted if not folder(candidate, packages).is_dir()]
    if missing:
        _download(missing, packages)
    return [Package(candidate.name, candidate.version, folder(candidate, packages)) for candidate in wanted]


def _download(wanted: list[Candidate], packages: pathlib.Path) -> None:
    packages.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=packages, prefix="download-") as name:
        scratch = pathlib.Path(name)
        download = ["apt-get", "download", *(f"{candidate.name}={candidate.version}" for candidate in wanted)]
        if os.geteuid() == 0:
            # Else apt warns that its unprivileged user cannot enter our folder.
            download[1:1] = ["-o", "APT::Sandbox::User=root"]
        try:
            tools.output(download, cwd=scratch)
        except LabError as error:
            raise LabError(f"{error}; without a network, or with old lists? try `apt-get update`") from error
        for candidate in wanted:
            [archive] = scratch.glob(f"{candidate.name}_*.deb")
            root = scratch / candidate.name
            tools.output(["dpkg-deb", "--extract", str(archive), str(root)])
            # Whoever sees the folder sees it whole. Somebody else may have been as fast as we were: theirs is as good.
            try:
                root.rename(folder(candidate, packages))
            except OSError:
                if not folder(candidate, packages).is_dir():
                    raise


def forget_others(packages: pathlib.Path, keep: list[Candidate]) -> None:
    """Removes the folders of older versions."""
    kept = {folder(candidate, packages) for candidate in keep}
    for found in packages.iterdir():
        if found not in kept and not found.name.startswith("download-"):
            shutil.rmtree(found, ignore_errors=True)
