"""The lab's kubectl is of its cluster's version; another one on PATH is never used, and where there is none a sentence says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outlive.base import paths
from outlive.base.errors import LabError
from outlive.base.process import run
from outlive.host import reach, settings
from outlive.host.reach import Reached
from outlive.host.settings import Settings

INSTEAD = settings.FILES / "kubectl"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout without a lab, on a host whose own kubectl is of another version; the mirror is built."""
    folder = tmp_path / "a checkout"
    monkeypatch.setattr(paths, "KUBECTL", folder / ".lab/bin/kubectl")
    monkeypatch.setattr(reach, "KUBECTL", folder / ".lab/bin/kubectl")
    monkeypatch.setattr(reach, "KUBECONFIG", folder / ".lab/kubeconfig")
    monkeypatch.setattr(settings, "ROOT", folder)
    monkeypatch.setattr(settings, "BIN", folder / ".lab/bin")
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    program(tmp_path / "host/kubectl", "the host's")
    program(tmp_path / "cache/store/programs-kubernetes/kubectl", "the mirror's")
    monkeypatch.setenv("PATH", f"{tmp_path}/host:/usr/bin:/bin")
    return folder


def program(path: Path, says: str) -> Path:
    """Write a program that says one thing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says!r}\n")
    path.chmod(0o755)
    return path


def lab() -> Reached:
    """Return a lab that needs no namespaces."""
    return Reached(Settings("libvirt", "kvm", "upstream", private=False, why=""), None)


CALLS: list[list[str]] = [["kubectl", "version"], ["bash", "-c", "kubectl version"]]


@pytest.mark.parametrize("command", CALLS, ids=["run", "shell"])
def test_host_s_own_is_never_used(checkout: Path, command: list[str]) -> None:
    """Before a cluster is there, or in a lab of a version that fetched none."""
    with pytest.raises(LabError, match=r"status 2: error: the lab has no kubectl .*: run `outlive provision`, which fetches it from the"):
        lab().output(command)
    program(checkout / ".lab/bin/kubectl", "the cluster's")
    assert lab().output(command) == "the cluster's\n"


def test_shell_that_knew_of_none_finds_the_one_that_came(checkout: Path) -> None:
    """A shell looks for a program once."""
    theirs = program(checkout / "new", "the cluster's")
    text = f"kubectl; mkdir -p .lab/bin; cp '{theirs}' .lab/bin/kubectl; hash -t kubectl; kubectl"
    done = run(["bash", "-c", text], cwd=checkout, env=lab().environment())
    assert done.stdout == f"{INSTEAD}\nthe cluster's\n"


def test_both_say_the_same(checkout: Path) -> None:
    done = run([str(INSTEAD), "get", "nodes"], env={"OUTLIVE_SHELL": str(checkout)})
    with pytest.raises(LabError) as raised:
        paths.kubectl()
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {raised.value}\n")


def test_program_is_the_lab_s(checkout: Path) -> None:
    wanted = program(checkout / ".lab/bin/kubectl", "the cluster's")
    assert paths.kubectl() == wanted
    wanted.chmod(0o644)
    with pytest.raises(LabError, match="no kubectl of its own"):
        paths.kubectl()


def test_mirror_s_is_copied(checkout: Path, tmp_path: Path) -> None:
    """Never linked: what is fetched from the control plane must not go into the store."""
    reach.copy_kubectl()
    copied, built = checkout / ".lab/bin/kubectl", tmp_path / "cache/store/programs-kubernetes/kubectl"
    assert copied.read_bytes() == built.read_bytes()
    assert not copied.is_symlink()
    assert (copied.stat().st_nlink, built.stat().st_nlink, copied.stat().st_mode & 0o777) == (1, 1, 0o755)
    assert [path.name for path in copied.parent.iterdir()] == ["kubectl"]


def _has_one(checkout: Path, _cache: Path) -> None:
    program(checkout / ".lab/bin/kubectl", "the cluster's")


def _has_a_cluster(checkout: Path, _cache: Path) -> None:
    (checkout / ".lab").mkdir(parents=True)
    (checkout / ".lab/kubeconfig").touch()


def _has_no_mirror(_checkout: Path, cache: Path) -> None:
    (cache / "store/programs-kubernetes/kubectl").unlink()


@pytest.mark.parametrize("prepare", [_has_one, _has_a_cluster, _has_no_mirror])
def test_mirror_s_takes_no_other_one_s_place(checkout: Path, tmp_path: Path, prepare: Callable[[Path, Path], None]) -> None:
    """Of a cluster that is there, the mirror doesn't know the version."""
    prepare(checkout, tmp_path / "cache")
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    reach.copy_kubectl()
    assert {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("sources", "mirror", "copied"), [("mirror", "", True), ("mirror", "192.0.2.5", False), ("upstream", "", False)])
def test_mirror_of_this_host_gives_it_to_every_lab(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, sources: settings.Sources, mirror: str, copied: bool
) -> None:
    monkeypatch.setattr(reach, "machine_ids", lambda: {"k8s-master": "1"})
    reach.reach(Settings("libvirt", "kvm", sources, private=False, why="", mirror=mirror))
    assert (checkout / ".lab/bin/kubectl").exists() is copied
