"""Artefacts in the cache: each is a folder with the key of its inputs and the checksums of its files.

An artefact is used only if its key is that of today's inputs and every file has the recorded sha256.
Else it's built anew, in a folder beside it that takes its place when it's complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from outlive.base.architecture import AMD64, Architecture, of_host
from outlive.base.errors import LabError
from outlive.base.locks import exclusive
from outlive.base.process import as_root, output, remove

SAME_OUTPUT = Path(__file__).with_name("build") / "same_output.txt"
Build = Callable[[Path], None]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Artefact:
    """A finished artefact: its name, its folder and the key of its inputs."""

    name: str
    path: Path
    key: str


@dataclass(frozen=True)
class Record:
    """What is written down of an artefact: the key of its inputs, and the sha256 of each of its files."""

    key: str
    files: Mapping[str, str]


def digest_file(path: Path) -> str:
    """Give the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_source(module: Path) -> str:
    """Give what stands for a module's lines in the keys of what it makes: its sha256, or that of an earlier one.

    `build/same_output.txt` names lines of which it was seen that what they make is the same, byte for byte, as what earlier lines made. What those made stays in use.
    """
    own = digest_file(module)
    return _same_output().get((module.stem, own), own)


def _same_output() -> dict[tuple[str, str], str]:
    """Read which lines make what earlier ones did: the earlier sha256 by the module's name and its own."""
    lines = (line.split("#")[0].split() for line in SAME_OUTPUT.read_text(encoding="ascii").splitlines())
    return {(module, today): before for module, today, before in filter(None, lines)}


def digest_inputs(inputs: object) -> str:
    """Give the sha256 of inputs (anything that JSON can hold, sources as bytes by `digest_tree`)."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def digest_tree(*roots: Path) -> dict[str, str]:
    """Give the sha256 of each file below the given files and folders, by relative name."""
    found: dict[str, str] = {}
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_symlink():
                found[str(path.relative_to(root.parent))] = f"-> {path.readlink()}"
            elif path.is_file():
                found[str(path.relative_to(root.parent))] = f"{path.stat().st_mode & 0o111:o} {digest_file(path)}"
    return found


def _take_over(folder: Path) -> None:
    """Give this user what root has made in a folder: whose cache it is, his are the files."""
    foreign = [str(path) for path in folder.rglob("*") if path.lstat().st_uid != os.geteuid()]
    if foreign:
        output(as_root(["chown", "--no-dereference", f"{os.geteuid()}:{os.getegid()}", *foreign]))


class Store:
    """The cache folder's artefacts for one architecture."""

    def __init__(self, cache: Path, report: Report, architecture: Architecture = AMD64) -> None:
        """Use the folder `cache`; `report` gets one line for each step. What is made for another architecture than amd64 lies in a folder of its own."""
        self.cache = cache
        self.architecture = architecture
        self.logs = cache / f"logs{architecture.suffix}"
        self._folder = cache / architecture.store
        self.report = report

    def for_this_host(self) -> Store:
        """Give the artefacts of the same cache that are programs for this host itself, whatever architecture the others are for."""
        return self if self.architecture.native else Store(self.cache, self.report, of_host())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cache for this process; raise LabError if another one builds in it."""
        lock = self.cache / "lock"
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            lock.touch()
        except OSError as error:
            raise LabError(
                f"the cache folder {self.cache} can't be written ({error.strerror}): set OUTLIVE_CACHE to a folder of yours"
            ) from error
        cure = "wait until it ends, or set OUTLIVE_CACHE to another folder"
        with exclusive(lock, lambda holder: f"another build (process {holder}) is at work in {self.cache}: {cure}"):
            yield

    def log(self, name: str) -> Path:
        """Give the log file of the artefact `name`."""
        return self.logs / f"{name}.log"

    def path_of(self, name: str) -> Path:
        """Give the folder of the artefact `name`, whether it's there or not."""
        return self._folder / name

    def make(self, name: str, inputs: object, build: Build) -> Artefact:
        """Give the artefact `name`, built by `build` if it isn't there, is outdated or damaged.

        `build` gets an empty folder to fill.
        """
        key = digest_inputs(inputs)
        path = self.path_of(name)
        reason = self._why_not(name, key)
        if reason is None:
            self.report(f"{name}: ready")
            return Artefact(name, path, key)
        started = time.monotonic()
        self.report(f"{name}: {reason}, building (log: {self.log(name)})")
        self.log(name).unlink(missing_ok=True)
        fresh = self._folder / f".new-{name}"
        remove(fresh)
        fresh.mkdir(parents=True)
        build(fresh)
        _take_over(fresh)
        self._manifest(name).unlink(missing_ok=True)
        remove(path)
        fresh.rename(path)
        write_atomically(self._manifest(name), json.dumps({"key": key, "files": _checksums(path)}, indent=1) + "\n")
        self.report(f"{name}: built in {time.monotonic() - started:.0f} s")
        return Artefact(name, path, key)

    def check(self) -> list[str]:
        """Give a line for each artefact that's damaged; an empty list if all are whole. Raise LabError if there is none."""
        if not self.names():
            raise LabError(f"the mirror in {self.cache} isn't built: run `outlive mirror build` (OUTLIVE_CACHE names its folder)")
        found = [(name, self._damage(name, self._record(name))) for name in self.names()]
        return [f"{name}: {damage}" for name, damage in found if damage is not None]

    def names(self) -> list[str]:
        """Give the names of the artefacts that are there, whole or not."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def record(self, name: str) -> Record:
        """Give what was written down of a finished artefact; raise LabError if it isn't there or its record is damaged."""
        if not self._manifest(name).exists():
            raise LabError(f"the mirror in {self.cache} has no {name}: run `outlive mirror build`, which builds what is missing")
        record = self._record(name)
        if record is None:
            raise LabError(f"{name} in {self.cache} is damaged (its record is damaged): run `outlive mirror build`, which builds it anew")
        return record

    def require(self, name: str) -> None:
        """Raise LabError if an artefact that is there is damaged."""
        damage = self._damage(name, self._record(name))
        if damage is not None:
            raise LabError(f"{name} in {self.cache} is damaged ({damage}): run `outlive mirror build`, which builds it anew")

    def _manifest(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _record(self, name: str) -> Record | None:
        """Give what was written down when the artefact was built, or None if that can't be read."""
        try:
            record = json.loads(self._manifest(name).read_text())
            return Record(record["key"], dict(record["files"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _why_not(self, name: str, key: str) -> str | None:
        """Tell why the artefact can't be used as it is, or None if it can."""
        if not self._manifest(name).exists():
            return "not there yet"
        record = self._record(name)
        if record is not None and record.key != key:
            return "its inputs changed"
        return self._damage(name, record)

    def _damage(self, name: str, record: Record | None) -> str | None:
        """Tell what is damaged in the artefact, or None if it's as it was built."""
        if record is None:
            return "its record is damaged"
        for file, digest in record.files.items():
            try:
                if digest_file(self.path_of(name) / file) != digest:
                    return f"its file {file} is damaged"
            except OSError:
                return f"its file {file} is missing"
        return None


def _checksums(folder: Path) -> dict[str, str]:
    """Give the sha256 of each regular file below a folder."""
    return {
        str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()
    }


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that it's there whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


def publish(source: Path, target: Path) -> None:
    """Make `target` a second name of the file `source`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    os.link(source, fresh)
    fresh.replace(target)
