"""Storage that a lab may have beside NFS: which ones it has, and that a reset goes back to those of the snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from outlive.base.paths import ROOT
from outlive.cli import main
from outlive.host import steps, storage
from outlive.host.settings import decide

SYSTEM = {"OUTLIVE_PROVIDER": "libvirt", "OUTLIVE_DRIVER": "qemu", "OUTLIVE_LIBVIRT": "system", "OUTLIVE_MIRROR": "10.77.0.1"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is noted in a folder of the test."""
    folder = tmp_path / ".lab"
    monkeypatch.setattr(storage, "STATE", folder)
    monkeypatch.setattr(storage, "NOTED", folder / "storage")
    monkeypatch.setattr(storage, "FRESH", folder / "storage-fresh")
    return folder


def test_each_kind_is_an_overlay_and_a_tag_of_site() -> None:
    site = (ROOT / "playbooks/site.yml").read_text(encoding="utf-8")
    for name in storage.KINDS:
        assert (ROOT / "inventories" / name / "hosts.yml").is_file()
        assert f", {name}]" in site
        assert {name, "nfs_server"} == set(storage.KINDS[name].tags.split(",")), "a lost node is turned away by the NFS server's role"


def test_lab_has_none_unless_it_is_asked_for() -> None:
    assert storage.chosen() == ()
    assert decide(SYSTEM).inventories == ["inventories/common", "inventories/lab", "inventories/offline", "inventories/emulated"]


def test_lab_that_was_given_one_has_its_overlay_right_behind_its_machines() -> None:
    storage.choose("iscsi")
    storage.choose("iscsi")
    assert storage.chosen() == ("iscsi",)
    assert decide(SYSTEM).inventories[:3] == ["inventories/common", "inventories/lab", "inventories/iscsi"]


def test_role_s_scenarios_have_all_of_them() -> None:
    assert "inventories/iscsi" in replace(decide(SYSTEM), scenarios=True).inventories


def test_what_this_version_doesnt_know_is_passed_over(state: Path) -> None:
    state.mkdir()
    (state / "storage").write_text("floppy\niscsi\n")
    assert storage.chosen() == ("iscsi",)


def test_reset_goes_back_to_those_of_the_snapshot() -> None:
    """One that came later is gone with it, and named; one that was there before stays."""
    storage.choose("iscsi")
    storage.keep()
    assert storage.go_back() == ()
    assert storage.chosen() == ("iscsi",)
    storage.NOTED.unlink()
    storage.keep()
    storage.choose("iscsi")
    assert storage.go_back() == ("iscsi",)
    assert storage.chosen() == ()


def test_reset_of_a_lab_whose_snapshot_noted_nothing() -> None:
    storage.choose("iscsi")
    assert storage.go_back() == ("iscsi",)
    assert storage.chosen() == ()


def test_add_says_what_it_takes_first_and_is_noted_for_a_lab_to_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "machine_ids", dict)
    steps.add_storage("iscsi")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("iscsi: disks over iSCSI, each for one node at a time; takes some megabytes of memory")
    assert said[1] == "there is no lab yet: `make lab`, or `outlive up` and `outlive provision`, make one with it"
    assert storage.chosen() == ("iscsi",)


def test_unknown_storage_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["storage", "add", "floppy"]) == 2
    assert "'floppy' isn't known: choose one of iscsi" in capsys.readouterr().err
