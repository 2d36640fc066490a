"""Fixtures of the tests without VMs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base import paths
from outlive.host import private, storage
from outlive.lab import inventory
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from tests import samples
from tests.fake_api import FakeApi, serve, small_lab
from tests.samples import ManualClock

pytest_plugins = ["pytester"]

if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    # Under nohup. A function ignores it too, but isn't handed on to the programs that tests start, which have to heed it.
    signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # In the background of a shell without job control. Tests interrupt themselves, and the programs that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's proxy, reports and shell of a lab out of the tests."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("OUTLIVE_REPORTS", "OUTLIVE_SHELL", "OUTLIVE_CALLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_libvirt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a test that meant to stop before from starting a libvirt in this checkout."""
    monkeypatch.setattr(private, "ensure", lambda **_: pytest.fail("a unit test began to start a libvirt"))


@pytest.fixture(autouse=True)
def _no_other_storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the storage of this checkout's lab, which a lab beside the tests may get meanwhile, out of the tests."""
    monkeypatch.setattr(storage, "NOTED", tmp_path / "noted-storage")
    monkeypatch.setattr(storage, "FRESH", tmp_path / "noted-storage-fresh")


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that moves only while somebody rests."""
    return ManualClock()


@pytest.fixture
def api() -> FakeApi:
    """Return the prepared answers of a lab in which all is well."""
    return small_lab()


@pytest.fixture
def kubectl(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the lab's kubectl: a program of the test's own, which fails until it is written anew."""
    program = tmp_path_factory.mktemp("bin") / "kubectl"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(paths, "KUBECTL", program)
    return program


@pytest.fixture
def fake_cluster(api: FakeApi, tmp_path: Path, kubectl: Path) -> Iterator[Cluster]:
    """Return the real client of an API server that gives the prepared answers."""
    del kubectl
    with serve(api, tmp_path) as cluster:
        yield cluster


@pytest.fixture
def small_inventory() -> Inventory:
    """Return the inventory of a small lab."""
    return inventory.parse(samples.INVENTORY, "of the tests")
