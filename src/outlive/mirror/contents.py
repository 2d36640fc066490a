"""Read what artefacts are made of: Debian packages and their licences, Go programs and the modules linked into them."""

import io
import json
import logging
import os.path
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debian.copyright import Copyright, FilesParagraph, Header, MachineReadableFormatError, NotMachineReadableError
from debian.deb822 import Deb822
from debian.debfile import DebFile

from outlive.base.errors import LabError
from outlive.mirror.lock import Debian, DebianPackage
from outlive.mirror.store import Artefact
from outlive.mirror.tools import capture

# It tells of each outdated form that it understands all the same.
logging.getLogger("debian.copyright").setLevel(logging.ERROR)

# How many links lead from a package's documentation to another one's, at most.
_LINKS = 5


@dataclass(frozen=True)
class Licences:
    """The licences that a component's own papers name, as they are written there; where they name none, the reason."""

    names: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Deb:
    """A Debian package in an artefact."""

    name: str
    version: str
    architecture: str
    sha256: str
    licences: Licences


@dataclass(frozen=True)
class Module:
    """A Go module linked into a program.

    `sum` is Go's h1, a checksum over the names and checksums of the module's files; it's empty for a module that
    lies in this project, in the folder `local`.
    """

    path: str
    version: str
    sum: str
    local: str = ""


@dataclass(frozen=True)
class GoProgram:
    """What a Go program says of itself: its main package, the version of Go, its modules, the main one first."""

    package: str
    go: str
    modules: tuple[Module, ...]

    @property
    def version(self) -> str:
        """Version of the main module."""
        return self.modules[0].version


def licences_of(text: str | None) -> Licences:
    """Give the licences that a Debian copyright file names (of its machine-readable form, DEP-5), without repeats."""
    if text is None:
        return Licences(reason="the package has no copyright file")
    try:
        papers = Copyright(text.splitlines(), strict=False)
    except (NotMachineReadableError, MachineReadableFormatError, ValueError):
        return Licences(reason="the copyright file isn't machine-readable")
    parts: list[Header | FilesParagraph] = [papers.header, *papers.all_files_paragraphs()]
    names = {_short_name(part) for part in parts} - {""}
    return Licences(tuple(sorted(names))) if names else Licences(reason="the copyright file names no licence")


def _short_name(part: Header | FilesParagraph) -> str:
    """Give the licence that a part of a copyright file names in its field's first line; the other lines are the text."""
    try:
        return " ".join(part["License"].partition("\n")[0].split())
    except KeyError:
        return ""


def debs_of_root(root: Artefact, archive: Debian) -> list[Deb]:
    """Give the packages installed in a root file system, with the lock file's checksums; raise LabError on one that it lacks."""
    locked = {package.filename: package for package in archive.packages}
    found = []
    with tarfile.open(root.path / "root.tar", "r:") as tar:
        for entry in Deb822.iter_paragraphs(_read(tar, "var/lib/dpkg/status") or "", use_apt_pkg=False):
            if not entry["Status"].endswith(" installed"):
                continue
            name, version, architecture = entry["Package"], entry["Version"], entry["Architecture"]
            # A file's name has no epoch.
            package = locked.get(f"{name}_{version.partition(':')[2] or version}_{architecture}.deb")
            if package is None:
                raise LabError(
                    f"{root.name} has {name} {version}, which the lock file doesn't list: it was built from another one, run `outlive mirror build`"
                )
            found.append(Deb(name, version, architecture, package.sha256, licences_of(_copyright(tar, name))))
    return found


def deb_of_file(packages: Artefact, package: DebianPackage) -> Deb:
    """Give a package that is taken apart, not installed: from its .deb in the artefact `packages`."""
    with DebFile(packages.path / package.path) as deb:
        control = deb.debcontrol()
        with deb.data.tgz() as tar:
            licences = licences_of(_copyright(tar, control["Package"]))
    return Deb(control["Package"], control["Version"], control["Architecture"], package.sha256, licences)


def _copyright(tar: tarfile.TarFile, name: str) -> str | None:
    """Give a package's copyright file, which may lie in another package's folder; None if it's nowhere."""
    folder = f"usr/share/doc/{name}"
    for _ in range(_LINKS):
        try:
            link = tar.getmember(f"./{folder}")
        except KeyError:
            break
        if not link.issym():
            break
        folder = os.path.normpath(os.path.join(os.path.dirname(folder), link.linkname))  # noqa: PTH118, PTH120 - names inside an archive
    return _read(tar, f"{folder}/copyright")


def _read(tar: tarfile.TarFile, name: str) -> str | None:
    try:
        file = tar.extractfile(f"./{name}")
    except KeyError:
        return None
    return None if file is None else io.TextIOWrapper(file, encoding="utf-8", errors="replace").read()


def go_program(file: Path, folder: str) -> GoProgram:
    """Read the build information of a program that was built in `folder`; raise LabError if it has none."""
    if shutil.which("go") is None:
        raise LabError("this host has no `go`, which reads a program's modules: install Go, as for building the mirror")
    return parse_build_info(capture(["go", "version", "-m", "-json", file]), folder)


def parse_build_info(text: str, folder: str) -> GoProgram:
    """Turn what `go version -m -json` prints of one program into a GoProgram; modules replaced by folders are named from `folder`."""
    data = json.loads(text)
    modules = [_module(entry, folder) for entry in (data["Main"], *data.get("Deps", []))]
    return GoProgram(data["Path"], data["GoVersion"].removeprefix("go"), tuple(modules))


def _module(entry: Mapping[str, Any], folder: str) -> Module:
    used = entry.get("Replace", entry)
    if used["Path"].startswith("."):
        return Module(entry["Path"], entry["Version"], "", os.path.normpath(f"{folder}/{used['Path']}"))
    return Module(used["Path"], used["Version"], used.get("Sum", ""))
