"""Ask the registries what is newer than the lock: Go modules, Debian packages, Python packages, MySQL's npm package.

Whoever doesn't answer in time leaves "unknown" with the reason, never "up to date".
"""

import functools
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from debian.debian_support import Version

from outlive.base.errors import LabError
from outlive.mirror.build import debian
from outlive.mirror.lock import EXTRAS, Debian, DebianPackage, Lock, load_extra
from outlive.mirror.paths import GO, PACKAGE

QUESTION_SECONDS = 45.0
"""How long one question to a registry may take."""
ARCHIVE_SECONDS = 180.0
"""How long apt may take over one suite: it fetches an index of some ten MiB and resolves every set of packages."""

_PROJECT = PACKAGE.parent
_WORKERS = 4


@dataclass(frozen=True)
class Row:
    """One line of the table: what the lock has, and what the registry has (None where it's unknown)."""

    kind: str
    name: str
    locked: str
    newest: str | None
    verdict: str


class UnansweredError(Exception):
    """A registry gave no answer."""


@dataclass(frozen=True)
class Question:
    """What a registry is asked: what the lock has, and the function that asks; that raises UnansweredError."""

    kind: str
    name: str
    locked: str
    ask: Callable[[], str]


def compare(kind: str, name: str, locked: str, newest: str | None) -> Row:
    """Compare a version with the newest one of a registry that tells of no others; None is no answer."""
    verdict = "unknown" if newest is None else "up to date" if newest == locked else "behind"
    return Row(kind, name, locked, newest, verdict)


def compare_debian(kind: str, locked: Sequence[DebianPackage], now: Sequence[DebianPackage]) -> list[Row]:
    """Compare a lock file's packages with what apt resolves today: a row for each that differs, and one for all the others.

    A package whose name changes with its version, as the kernel's, is gone under the one name and new under the other.
    """
    old, new = ({_parts(package)[0]: _parts(package)[1] for package in packages} for packages in (locked, now))
    rows = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            rows.append(Row(kind, name, old[name], "-", "no longer needed"))
        elif name not in old:
            rows.append(Row(kind, name, "-", new[name], "new"))
        elif Version(new[name]) != Version(old[name]):
            behind = Version(new[name]) > Version(old[name])
            rows.append(Row(kind, name, old[name], new[name], "behind" if behind else "newer than the archive's"))
    same = sum(new.get(name) == version for name, version in old.items())
    return [*rows, Row(kind, f"{same} of {len(old)} packages", "", "", "up to date")] if same else rows


def _parts(package: DebianPackage) -> tuple[str, str]:
    """Give a package's name with its architecture, and its version (without an epoch, as file names have it)."""
    name, version, architecture = package.filename.removesuffix(".deb").split("_")
    return f"{name}:{architecture}", version


def pins(wanted: str, locked: str) -> Mapping[str, str]:
    """Give the locked version of each name in requirements.in; raise LabError if one is in no line of requirements.lock."""
    versions = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", locked, re.MULTILINE))
    names = [line.partition("#")[0].strip() for line in wanted.splitlines()]
    found = {name: versions.get(name, "") for name in names if name}
    missing = [name for name, version in found.items() if not version]
    if missing:
        raise LabError(
            f"requirements.lock has no {', '.join(missing)}, which requirements.in names: run pip-compile as its first lines say"
        )
    return found


def parse_pip(text: str) -> str | None:
    """Give the newest version in what `pip index versions` prints; None if it names none."""
    found = re.match(r"\S+ \((\S+)\)$", text.partition("\n")[0])
    return found[1] if found else None


def ask(lock: Lock, problems: list[str]) -> list[Row]:
    """Ask every registry; append to `problems` a sentence for each that gives no answer."""
    questions = [*_go_questions(lock), *_python_questions(), _npm_question(lock)]
    with ThreadPoolExecutor(_WORKERS) as pool:
        answers = [(pool.submit(question.ask), question) for question in questions]
        archives = (lock.debian, *(load_extra(name).debian for name in EXTRAS))
        rows = debian_rows(archives, problems)  # in the main thread: it's ended by a signal
        for future, question in answers:
            try:
                newest = future.result()
            except UnansweredError as error:
                newest = None
                problems.append(f"{question.kind} {question.name}: {error}")
            rows.append(compare(question.kind, question.name, question.locked, newest))
    return sorted(rows, key=lambda row: row.kind)


def _go_questions(lock: Lock) -> Iterator[Question]:
    for name, program in lock.programs.items():
        yield Question("Go", f"{name} ({program.module})", program.version, functools.partial(newest_of_go, name, program.module))


def newest_of_go(name: str, module: str) -> str:
    """Ask for the newest release of a module, as go/`name` gets its modules; raise UnansweredError."""
    # Asked for its newest version, Go fails where no proxy answers; `-u` would be silent where GOPROXY is off.
    text = _tell(["go", "list", "-mod=readonly", "-m", "-json", f"{module}@latest"], GO / name, {"GOFLAGS": ""})
    return str(json.loads(text)["Version"])


def _python_questions() -> list[Question]:
    locked = pins((_PROJECT / "requirements.in").read_text(), (_PROJECT / "requirements.lock").read_text())
    return [Question("Python", name, version, functools.partial(newest_of_pip, name)) for name, version in locked.items()]


def newest_of_pip(name: str) -> str:
    """Ask for the newest release of a Python package that runs on this Python; raise UnansweredError."""
    # A folder of wheels would answer where the index doesn't.
    options = ["--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
    newest = parse_pip(_tell([sys.executable, "-m", "pip", "index", "versions", *options, name], _PROJECT, {"PIP_FIND_LINKS": ""}))
    if newest is None:
        raise UnansweredError("pip names no version")
    return newest


def _npm_question(lock: Lock) -> Question:
    mysql = lock.mysql
    return Question("npm", mysql.package_name, mysql.package_version, functools.partial(newest_of_npm, f"{mysql.package}/latest"))


def newest_of_npm(url: str) -> str:
    """Ask for the version of an npm package that is at `url`; raise UnansweredError."""
    try:
        with urllib.request.urlopen(url, timeout=QUESTION_SECONDS) as response:
            return str(json.load(response)["version"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise UnansweredError(f"{url}: {getattr(error, 'reason', None) or error}") from error


def _tell(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> str:
    """Give what a command prints; raise UnansweredError with its last words if it fails or takes too long."""
    try:
        result = subprocess.run(
            command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=QUESTION_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UnansweredError(f"no answer in {QUESTION_SECONDS:.0f} s") from error
    except OSError as error:
        raise UnansweredError(f"{command[0]}: {error.strerror}") from error
    if result.returncode != 0:
        raise UnansweredError((result.stderr.strip().splitlines() or [f"{command[0]} failed with status {result.returncode}"])[-1])
    return result.stdout


def debian_rows(archives: Sequence[Debian], problems: list[str]) -> list[Row]:
    """Resolve each archive's packages anew and compare; append to `problems` a sentence for each that gives no answer."""
    rows = []
    for archive in archives:
        kind = f"Debian {archive.suite}"
        try:
            with limited(ARCHIVE_SECONDS):
                _, now = debian.resolve(archive)
        except (LabError, TimeoutError, OSError) as error:
            problems.append(f"{kind}: {error}")
            rows.append(Row(kind, f"{len(archive.packages)} packages", archive.timestamp, None, "unknown"))
        else:
            rows += compare_debian(kind, archive.packages, now)
    return rows


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread when the block takes longer; the command that it waits for is ended."""

    def late(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError(f"no answer in {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def table(rows: Sequence[Row], problems: Sequence[str]) -> str:
    """Give the table for people, and a line for each question without an answer."""
    cells = [
        ("", "", "lock", "newest", ""),
        *((row.kind, row.name, row.locked, "?" if row.newest is None else row.newest, row.verdict) for row in rows),
    ]
    widths = [max(len(row[number]) for row in cells) for number in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    if problems:
        lines += ["", "No answer, so nothing is known of:", *(f"  {problem}" for problem in problems)]
    return "\n".join(lines) + "\n"
