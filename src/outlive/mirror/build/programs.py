"""Build the Go programs of the lock file."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outlive.mirror.lock import Program
from outlive.mirror.paths import GO
from outlive.mirror.store import Artefact, Store, digest_tree
from outlive.mirror.tools import capture, compiler, run

# The linker leaves debugging data out; a compiler that never writes them is a tenth faster (measured).
COMPILE = ("go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-tags=netgo,osusergo", "-gcflags=all=-dwarf=false")

REPORT_EVERY = 5.0
"""Seconds between two lines that say how far a build is."""

_REPLACED = re.compile(r" => (\.\./\S+)")


def linker_flags(program: Program) -> str:
    """Give the flags that strip the programs and write their versions into them."""
    words = ["-s", "-w", *(f"-X {name}={value}" for name, value in program.ldflags.items())]
    if program.cgo:
        words.append("-extldflags=-static")
    return " ".join(words)


def build_programs(store: Store, program: Program, version: str) -> Artefact:
    """Build the programs of go/NAME with the Go of version `version`."""
    module = GO / program.name

    def build(target: Path) -> None:
        name = f"programs-{program.name}"
        flags = ["-v", f"-ldflags={linker_flags(program)}"]  # -v names each package as it is compiled
        with _counted(store, name, module):
            run(
                [*COMPILE, *flags, "-o", f"{target}{os.sep}", "tool"],
                store.log(name),
                cwd=module,
                env={
                    "CGO_ENABLED": "1" if program.cgo else "0",
                    "CC": compiler(store.architecture),
                    "GOOS": "linux",
                    "GOARCH": store.architecture.name,
                },
            )
        for old, new in program.rename.items():
            (target / old).rename(target / new)

    # A go.mod may replace modules that can't be downloaded by ones that lie beside it.
    replaced = _REPLACED.findall((module / "go.mod").read_text())
    sources = digest_tree(module, *(module / path for path in replaced))
    return store.make(
        f"programs-{program.name}",
        [sources, version, list(COMPILE), linker_flags(program), dict(program.rename), program.cgo],
        build,
    )


def packages_of(module: Path) -> int:
    """Give the number of packages that the programs of a module are compiled from; what is in Go's cache is compiled no more."""
    return len(capture(["go", "-C", module, "list", "-mod=readonly", "-tags=netgo,osusergo", "-deps", "tool"]).split())


@contextmanager
def _counted(store: Store, name: str, module: Path) -> Iterator[None]:
    """Report while entered how many packages of a module are compiled."""
    over = threading.Event()
    total = packages_of(module)

    def count() -> None:
        while not over.wait(REPORT_EVERY):
            lines = store.log(name).read_text(errors="replace").splitlines() if store.log(name).exists() else []
            store.report(f"{name}: {sum(not line.startswith(('+ ', 'go: ')) for line in lines)} of {total} packages")

    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    try:
        yield
    finally:
        over.set()
        counter.join()
