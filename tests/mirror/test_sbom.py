"""Documents on what images and boxes are made of: which artefacts are read, where they go, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from outlive.cli import main
from outlive.mirror import golang
from outlive.mirror.build import programs
from outlive.mirror.lock import Program
from outlive.mirror.paths import GO
from outlive.mirror.sbom import SYFT
from outlive.mirror.store import Artefact, Store

ALL = {
    "image-etcd": "index.json",
    "image-kube-proxy-earlier": "index.json",
    "root-full": "root.tar",
    "programs-cni": "bridge",
    "root-image-mysql": "root.tar",
    "registry": "blob",
    "programs-etcd": "etcd",
}
"""Artefacts, the first four of which get a document."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A cache in which syft is a program that writes its arguments down as its document."""
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "cache", print)

    def syft(store: Store, program: Program, version: str) -> Artefact:
        def write(target: Path) -> None:
            (target / program.name).write_text('#!/bin/sh\necho "$@" >"${9#cyclonedx-json=}"\n')
            (target / program.name).chmod(0o755)

        return store.make(f"programs-{program.name}", version, write)

    monkeypatch.setattr(programs, "build_programs", syft)
    monkeypatch.setattr(golang, "prepare", lambda: None)
    monkeypatch.setattr(golang, "version", lambda: "1.2.3")
    return store


def fill(store: Store) -> None:
    for name, file in ALL.items():

        def write(target: Path, file: str = file) -> None:
            (target / file).write_text(file)

        store.make(name, 1, write)


def test_each_image_and_root_file_system_gets_a_document(store: Store, tmp_path: Path) -> None:
    fill(store)
    to = tmp_path / "a" / "b"
    assert main(["mirror", "sbom", "--to", str(to)]) == 0
    asked = {file.name.removesuffix(".cdx.json"): file.read_text().split()[-3] for file in to.iterdir()}
    folder = store.path_of("")
    assert asked == {
        "image-etcd": f"oci-dir:{folder}/image-etcd",
        "image-kube-proxy-earlier": f"oci-dir:{folder}/image-kube-proxy-earlier",
        "root-full": f"file:{folder}/root-full/root.tar",
        "programs-cni": f"dir:{folder}/programs-cni",
    }


def test_mirror_that_is_not_built(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", "sbom", "--to", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"error: the mirror in {store.cache} isn't built: run `outlive mirror build`")


def test_damaged_image(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(store)
    (store.path_of("image-etcd") / "index.json").write_text("other")
    assert main(["mirror", "sbom", "--to", str(tmp_path / "out")]) == 2
    said = f"error: image-etcd in {store.cache} is damaged (its file index.json is damaged): run `outlive mirror build`, which builds it anew\n"
    assert capsys.readouterr().err == said


def test_folder_that_cannot_be_written(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(store)
    (tmp_path / "file").touch()
    assert main(["mirror", "sbom", "--to", str(tmp_path / "file/out")]) == 2
    assert (
        capsys.readouterr().err == f"error: the folder {tmp_path}/file/out can't be written (Not a directory): name another one with --to\n"
    )


def test_syft_is_pinned_by_its_module() -> None:
    text = (GO / SYFT.name / "go.mod").read_text()
    assert re.search(rf"^\t{re.escape(SYFT.module)} v[\d.]+ // indirect$", text, re.MULTILINE)
    assert f"tool {SYFT.module}/cmd/syft\n" in text
