"""Read the lock file: every version and checksum that the mirror is built from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from outlive.base.errors import LabError
from outlive.mirror.paths import LOCK_FILE, PACKAGE

T = TypeVar("T")

GENERATED = "  # Written by `outlive mirror lock`: what apt resolved, with checksums.\n"


@dataclass(frozen=True)
class Program:
    """A set of Go programs built from one go.mod."""

    name: str
    module: str
    version: str
    cgo: bool
    ldflags: Mapping[str, str]
    rename: Mapping[str, str]


@dataclass(frozen=True)
class DebianPackage:
    """One .deb of the Debian archive: its place below the archive's root, its size in bytes, its sha256."""

    path: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """Name of the file, without its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Debian:
    """The Debian archive, the sets of packages asked for, and what they resolved to; `name` is that of its artefacts."""

    name: str
    suite: str
    mirror: str
    snapshot: str
    timestamp: str
    sets: Mapping[str, tuple[str, ...]]
    packages: tuple[DebianPackage, ...]


@dataclass(frozen=True)
class Mysql:
    """MySQL's server as the npm registry has it; integrity in npm's own notation."""

    version: str
    url: str
    integrity: str


@dataclass(frozen=True)
class Extra:
    """An image with packages of its own, built only where it's asked for."""

    name: str
    references: tuple[str, ...]
    debian: Debian


@dataclass(frozen=True)
class Addon:
    """An image with one Go program, built only where it's asked for: the program, and the names that the image goes by."""

    program: Program
    references: tuple[str, ...]


KUBERNETES = ("kubeadm", "kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler")
"""Packages and images that have Kubernetes' own version."""
EARLIER = "kubernetes-earlier"
"""Name of the earlier Kubernetes, built only where it's asked for, and of the folder of its Go modules."""

EXTRAS: Mapping[str, Path] = {"mysql-9.7": PACKAGE / "lock-mysql-9.7.yml"}
"""The extra images' lock files."""
ADDONS_FILE = PACKAGE / "lock-addons.yml"
"""Lock file of the images that a lab may have beside what it needs."""
BOXES: Mapping[str, Path] = {"generic": PACKAGE / "lock-generic.yml"}
"""Lock files of the boxes that don't share the mirror's Debian packages: a public box is as new as the archive, whatever the mirror has."""


@dataclass(frozen=True)
class Disk:
    """A box's disk and the file system on it, in GiB."""

    size: int
    filled: int


@dataclass(frozen=True)
class OwnBox:
    """A box with Debian packages of its own, built only where it's asked for."""

    disk: Disk
    debian: Debian


@dataclass(frozen=True)
class Lock:
    """The whole lock file."""

    source_date_epoch: int
    go: str
    kubernetes_earlier: str
    programs: Mapping[str, Program]
    packages: Mapping[str, str]
    mysql: Mysql
    images: Mapping[str, tuple[str, ...]]
    disk: Disk
    debian: Debian


def earlier(lock: Lock) -> Lock:
    """Give a lock file's programs, packages and images of Kubernetes alone, in the earlier version."""
    program = lock.programs["kubernetes"]
    version = program.version.removeprefix("v")

    def old(text: str) -> str:
        return text.replace(version, lock.kubernetes_earlier)

    flags = {name: old(value) for name, value in program.ldflags.items()}
    return replace(
        lock,
        programs={EARLIER: replace(program, name=EARLIER, version=old(program.version), ldflags=flags)},
        packages={name: old(value) if name in KUBERNETES else value for name, value in lock.packages.items()},
        images={name: tuple(map(old, references)) for name, references in lock.images.items() if name in KUBERNETES},
    )


def parse(data: Mapping[str, Any]) -> Lock:
    """Turn the lock file's YAML into a Lock; KeyError or TypeError tell of a broken file."""
    return Lock(
        source_date_epoch=int(data["source_date_epoch"]),
        go=str(data["go"]),
        kubernetes_earlier=str(data["kubernetes_earlier"]),
        programs={name: _program(name, entry) for name, entry in data["programs"].items()},
        packages=dict(data["packages"]),
        mysql=Mysql(**data["mysql"]),
        images={name: tuple(references) for name, references in data["images"].items()},
        disk=Disk(data["boxes"]["disk_gib"], data["boxes"]["disk_gib"]),
        debian=_debian("debian", data["debian"]),
    )


def _program(name: str, entry: Mapping[str, Any]) -> Program:
    return Program(
        name=name,
        module=entry["module"],
        version=entry["version"],
        cgo=bool(entry.get("cgo", False)),
        ldflags=entry.get("ldflags", {}),
        rename=entry.get("rename", {}),
    )


def _debian(name: str, data: Mapping[str, Any]) -> Debian:
    return Debian(
        name=name,
        suite=data["suite"],
        mirror=data["mirror"],
        snapshot=data["snapshot"],
        timestamp=data.get("timestamp", ""),
        sets={each: tuple(packages) for each, packages in data["sets"].items()},
        packages=tuple(
            DebianPackage(path, int(size), digest) for path, size, digest in (line.split() for line in data.get("packages", []))
        ),
    )


def load(path: Path = LOCK_FILE) -> Lock:
    """Read the lock file, or raise LabError with the reason."""
    return _read(path, parse)


def load_addons(path: Path = ADDONS_FILE) -> dict[str, Addon]:
    """Read the lock file of the add-ons, by their names, or raise LabError with the reason."""
    return _read(path, lambda data: {name: Addon(_program(name, entry), tuple(entry["image"])) for name, entry in data.items()})


def load_extra(name: str) -> Extra:
    """Read the lock file of an extra image, or raise LabError with the reason."""
    return _read(EXTRAS[name], lambda data: Extra(name, tuple(data["image"]), _debian(name, data["debian"])))


def load_box(name: str) -> OwnBox:
    """Read the lock file of a box with packages of its own, or raise LabError with the reason."""
    return _read(BOXES[name], lambda data: OwnBox(Disk(**data["disk_gib"]), _debian(name, data["debian"])))


def archive_of(name: str) -> tuple[Path, Debian]:
    """Give the lock file of an extra image or a box and the packages in it, or raise LabError with the reason."""
    return (BOXES[name], load_box(name).debian) if name in BOXES else (EXTRAS[name], load_extra(name).debian)


def _read(path: Path, parser: Callable[[Any], T]) -> T:
    try:
        return parser(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabError(
            f"the lock file {path} can't be read ({type(error).__name__}: {' '.join(str(error).split())}): restore it with `git checkout` or mend the named entry"
        ) from error


def write_debian(path: Path, timestamp: str, packages: list[DebianPackage]) -> None:
    """Replace the generated end of the lock file; what was written by hand stays as it is."""
    by_hand = path.read_text().partition(GENERATED)[0]
    lines = [by_hand.rstrip("\n"), "\n", GENERATED, f'  timestamp: "{timestamp}"\n', "  packages:\n"]
    lines += [f"    - {package.path} {package.size} {package.sha256}\n" for package in packages]
    path.write_text("".join(lines))
