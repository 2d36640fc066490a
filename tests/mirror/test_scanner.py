"""The archive that `outlive cis` hands to a machine: what is in it, when it's made anew, and what is refused."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.mirror import golang, scanner
from outlive.mirror.build import programs
from outlive.mirror.lock import Program
from outlive.mirror.paths import GO
from outlive.mirror.store import Artefact, Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A cache in which Go's programs are small files, and the module a folder of this test's."""
    (tmp_path / "module/cfg/cis-1.10").mkdir(parents=True)
    (tmp_path / "module/cfg/config.yaml").write_text("version_mapping: {}\n")
    (tmp_path / "module/go.mod").touch()

    def build(store: Store, program: Program, version: str) -> Artefact:
        def write(target: Path) -> None:
            for name in ("kube-bench", *program.rename.values()):
                (target / name).write_text(name)

        return store.make(f"programs-{program.name}", version, write)

    monkeypatch.setattr(programs, "build_programs", build)
    monkeypatch.setattr(golang, "version", lambda: "1.26.8")
    monkeypatch.setattr(scanner, "capture", lambda _command: json.dumps({"Dir": str(tmp_path / "module")}))
    return Store(tmp_path / "cache", print)


def test_archive_has_the_programs_and_the_benchmarks(store: Store) -> None:
    made = scanner.build(store)
    with tarfile.open(made.path / scanner.ARCHIVE) as archive:
        names = {name for name in archive.getnames() if not name.endswith("cis-1.10")}
    assert names == {"kube-bench", "jq", "cfg", "cfg/config.yaml"}


def test_archive_is_made_once_for_the_same_programs(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = scanner.build(store)
    capsys.readouterr()
    assert scanner.build(store) == first
    assert capsys.readouterr().out == "programs-kube-bench: ready\nscanner: ready\n"
    monkeypatch.setattr(golang, "version", lambda: "1.27.3")
    assert scanner.build(store).key != first.key


def test_go_that_does_not_say_where_the_module_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "capture", lambda _command: "{}")
    with pytest.raises(LabError, match=r"`go mod download -json github.com/aquasecurity/kube-bench` doesn't say where the module lies"):
        scanner.build(store)
    assert not store.path_of(scanner.NAME).exists()


def test_scanner_is_pinned_by_its_modules() -> None:
    text = (GO / scanner.KUBE_BENCH.name / "go.mod").read_text()
    for module, tool in ((scanner.MODULE, scanner.MODULE), ("github.com/itchyny/gojq", "github.com/itchyny/gojq/cmd/gojq")):
        assert re.search(rf"^\t{re.escape(module)} v[\d.]+ // indirect$", text, re.MULTILINE)
        assert f"\t{tool}\n" in text
