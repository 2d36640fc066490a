"""Build kube-bench, by which `outlive cis` holds a lab against the CIS Kubernetes Benchmark, and pack it for the machines."""

import json
from pathlib import Path

from outlive.base.errors import LabError
from outlive.mirror import golang
from outlive.mirror.build import programs
from outlive.mirror.lock import Program
from outlive.mirror.paths import GO
from outlive.mirror.store import Artefact, Store
from outlive.mirror.tools import capture, run

MODULE = "github.com/aquasecurity/kube-bench"
KUBE_BENCH = Program(name="kube-bench", module=MODULE, version="", cgo=False, ldflags={}, rename={"gojq": "jq"})
"""Its version stands in go/kube-bench/go.mod alone; `outlive mirror build` doesn't build it. Its checks call jq, which no machine of a lab has."""
NAME = "scanner"
ARCHIVE = "kube-bench.tar.gz"
"""The artefact and its one file: the programs, and in cfg/ the benchmarks that they know."""


def build(store: Store) -> Artefact:
    """Give the archive with kube-bench, jq and the benchmarks, built where it isn't there, outdated or damaged.

    Raises:
        LabError: Go can't build it or get its module.
    """
    built = programs.build_programs(store, KUBE_BENCH, golang.version())

    def pack(target: Path) -> None:
        tar: list[str | Path] = ["tar", "--create", "--gzip", "--file", target / ARCHIVE, "--owner=0", "--group=0"]
        run([*tar, "--directory", built.path, "kube-bench", "jq", "--directory", _module(), "cfg"], store.log(NAME))

    return store.make(NAME, built.key, pack)


def _module() -> Path:
    """Give the folder of the module, which has the benchmarks beside the program."""
    said = capture(["go", "-C", GO / KUBE_BENCH.name, "mod", "download", "-json", MODULE])
    try:
        return Path(json.loads(said)["Dir"])
    except (ValueError, KeyError) as error:
        raise LabError(f"`go mod download -json {MODULE}` doesn't say where the module lies: run the command again") from error
