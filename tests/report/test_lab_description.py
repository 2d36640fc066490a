"""What a report says about its lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.ssh import Remote
from outlive.report import lab_description
from tests.fake_api import NAMESPACE, FakeApi, listing


def test_lab(small_inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", str(tmp_path))
    (tmp_path / "machines" / "m" / "libvirt").mkdir(parents=True)
    (tmp_path / "machines" / "m" / "libvirt" / "id").write_text("1")
    lab = lab_description.machines(small_inventory)
    assert lab["network"] == "192.0.2.0/24"
    assert [machine["power"] for machine in lab["machines"]] == ["libvirt (qemu)", "its own hardware", "its own hardware"]
    assert lab["machines"][1]["groups"] == ["cluster", "workers"]
    assert lab["host"]["cpus"] >= 1


def test_versions_and_settings(fake_cluster: Cluster, api: FakeApi, small_inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote(small_inventory)
    monkeypatch.setattr(remote, "check", lambda *_: "90\n")
    assert lab_description.versions(fake_cluster)["kubernetes"] == "v9.9.9"
    assert lab_description.settings(fake_cluster, small_inventory, remote) == {
        "node-monitor-grace-period": lab_description.KUBERNETES_DEFAULT,
        "toleration of an unreachable node (s)": "300",
        "NFSv4 lease (s)": "90",
    }
    api.answers[f"{NAMESPACE}/pods"] = [listing()]
    assert lab_description.settings(fake_cluster, small_inventory, remote)["toleration of an unreachable node (s)"] == "unknown"


def test_what_can_not_be_told_fails_no_run() -> None:
    def none() -> dict[str, str]:
        raise LabError("no cluster")

    assert lab_description._facts(none) == {"unknown": "no cluster"}
