"""Read the lock file: every version and checksum that the mirror is built from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from outlive.base.architecture import AMD64, Architecture
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
    architecture: Architecture = AMD64


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
    extras: tuple[str, ...] = ()
    """Those of EXTRAS that are made without being asked for."""


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


def parse(data: Mapping[str, Any], architecture: Architecture = AMD64) -> Lock:
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
        debian=_debian("debian", data["debian"], architecture),
        extras=tuple(data.get("extras", ())),
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


def _debian(name: str, data: Mapping[str, Any], architecture: Architecture) -> Debian:
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
        architecture=architecture,
    )


def load(path: Path = LOCK_FILE, architecture: Architecture = AMD64) -> Lock:
    """Read the lock file, or raise LabError with the reason."""
    return _read(path, architecture, lambda data: parse(data, architecture))


def load_addons(path: Path = ADDONS_FILE) -> dict[str, Addon]:
    """Read the lock file of the add-ons, by their names, or raise LabError with the reason: it has no Debian packages, so it's the same for each architecture."""
    return _read(path, AMD64, lambda data: {name: Addon(_program(name, entry), tuple(entry["image"])) for name, entry in data.items()})


def load_extra(name: str, architecture: Architecture = AMD64) -> Extra:
    """Read the lock file of an extra image, or raise LabError with the reason."""
    return _read(EXTRAS[name], architecture, lambda data: Extra(name, tuple(data["image"]), _debian(name, data["debian"], architecture)))


def has_box(name: str, architecture: Architecture) -> bool:
    """Say whether a box can be made for an architecture: one with packages of its own needs a lock file for it."""
    return name not in BOXES or generated_in(BOXES[name], architecture).exists()


def load_box(name: str, architecture: Architecture = AMD64) -> OwnBox:
    """Read the lock file of a box with packages of its own, or raise LabError with the reason: not each box is there for each architecture."""
    if not has_box(name, architecture):
        raise LabError(
            f"the box '{name}' isn't made for {architecture.name}: name another one, or set OUTLIVE_ARCH to another architecture"
        )
    return _read(BOXES[name], architecture, lambda data: OwnBox(Disk(**data["disk_gib"]), _debian(name, data["debian"], architecture)))


def archive_of(name: str, architecture: Architecture = AMD64) -> tuple[Path, Debian]:
    """Give the lock file of an extra image or a box and the packages in it, or raise LabError with the reason."""
    return (BOXES[name], load_box(name, architecture).debian) if name in BOXES else (EXTRAS[name], load_extra(name, architecture).debian)


def generated_in(path: Path, architecture: Architecture) -> Path:
    """Give the file that has the Debian packages of a lock file for an architecture: amd64's are in the lock file itself."""
    return path.with_stem(f"{path.stem}{architecture.suffix}")


def _for_another(data: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Give the YAML of a lock file as it is for another architecture, whose file says what is otherwise."""
    left_out, debian = own.get("left_out", ()), own["debian"] or {}
    instead = debian.get("instead", {})
    sets = {
        name: [instead.get(package, package) for package in packages]
        for name, packages in data["debian"]["sets"].items()
        if name.removeprefix("image-") not in left_out
    }
    generated = {"timestamp": debian.get("timestamp", ""), "packages": debian.get("packages", [])}
    merged = {**data, "extras": own.get("extras", ()), "debian": {**data["debian"], "sets": sets, **generated}}
    if "images" in data:
        merged["images"] = {name: references for name, references in data["images"].items() if name not in left_out}
    return merged


def _read(path: Path, architecture: Architecture, parser: Callable[[Any], T]) -> T:
    try:
        data = yaml.safe_load(path.read_text())
        own = generated_in(path, architecture)
        return parser(data if own == path else _for_another(data, yaml.safe_load((path := own).read_text())))
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
