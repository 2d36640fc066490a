"""What `outlive mirror` does."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from outlive.base import architecture
from outlive.base.paths import cache
from outlive.base.process import require_root
from outlive.mirror import build as steps
from outlive.mirror import compare, golang, lock, sbom, scanner, upstream
from outlive.mirror import serve as server
from outlive.mirror.build import boxes, debian
from outlive.mirror.paths import LOCK_FILE
from outlive.mirror.store import Store
from outlive.mirror.tools import ended_by_signals

_BEGAN = time.monotonic()


def report(line: str) -> None:
    """Print a line with the seconds since the program's start."""
    print(f"[{time.monotonic() - _BEGAN:5.0f} s] {line}", flush=True)


def _begin() -> Store:
    """Return the cache for the lab's architecture, and let mkfs.ext4 and nginx be found, which lie where an ordinary user's PATH doesn't lead."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return Store(cache(), report, architecture.chosen())


def build(box: str, also: Sequence[str]) -> None:
    """Make packages, images and a box (or ``all``), and the named extras, as far as they aren't there and right."""
    store = _begin()
    require_root("build the mirror's boxes")
    with ended_by_signals(), store.locked():
        golang.prepare()
        names = [name for name in boxes.BOXES if lock.has_box(name, store.architecture)] if box == "all" else [box]
        steps.build(store, lock.load(architecture=store.architecture), names, list(also))


def serve(address: str, apt_port: int, registry_port: int) -> None:
    """Serve what is built, until this process is ended."""
    server.serve(_begin(), address, apt_port, registry_port)


def check(against: Path | None) -> None:
    """Compare every file of the cache with its checksum, and with another cache's."""
    store = _begin()
    compare.check_whole(store)
    report(f"{store.cache}: every checksum is right")
    if against:
        report(compare.check(store, Store(against, report, store.architecture)))


def write_sbom(folder: Path) -> None:
    """Write down what images and boxes are made of, a document each in `folder`."""
    store = _begin()
    with ended_by_signals(), store.locked():
        golang.prepare()
        report(f"{folder}: {len(sbom.write(store, folder))} documents")


def build_scanner() -> None:
    """Make kube-bench, with all that it needs on a machine, where it isn't there."""
    store = _begin()
    with ended_by_signals(), store.locked():
        golang.prepare()
        scanner.build(store)


def lock_anew(also: Sequence[str]) -> None:
    """Resolve the Debian packages of the lock file, or of the named extra images and boxes, and write them into it."""
    made_for = architecture.chosen()
    named = [lock.archive_of(name, made_for) for name in also]
    for given, wanted in named or [(LOCK_FILE, lock.load(architecture=made_for).debian)]:
        file = lock.generated_in(given, made_for)
        timestamp, packages = debian.resolve(wanted)
        lock.write_debian(file, timestamp, packages)
        report(f"{file.name}: {len(packages)} Debian packages as of {timestamp}")


def stand_in(address: str, folder: Path) -> None:
    """Answer under the upstream's own names, until this process is ended."""
    store = _begin()
    upstream.serve(store, lock.load(architecture=store.architecture), address, folder)
