"""An inventory with one worker more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.lab import additional_worker

HOSTS: dict[str, Any] = {
    "all": {
        "vars": {"lab_network": "192.0.2.0/28"},
        "children": {
            "control_plane": {"hosts": {"m": {"ansible_host": "192.0.2.1"}}},
            "workers": {"hosts": {"n1": {"ansible_host": "192.0.2.3"}, "n3": {"ansible_host": "192.0.2.2", "lab_memory": 7}}},
            "nfs_servers": {"hosts": {"m": None}},
            "cluster": {"children": {"control_plane": None, "workers": None}},
        },
    }
}


def test_next_name_and_address() -> None:
    hosts, name = additional_worker.with_worker(HOSTS)
    assert name == "n2"
    assert hosts["all"]["children"]["workers"]["hosts"]["n2"] == {"ansible_host": "192.0.2.4", "lab_memory": 7}
    assert "n2" not in HOSTS["all"]["children"]["workers"]["hosts"]


def test_no_address_left() -> None:
    full = {"all": {**HOSTS["all"], "vars": {"lab_network": "192.0.2.0/30"}}}
    with pytest.raises(LabError, match=r"lab_network 192\.0\.2\.0/30 has no address above 192\.0\.2\.3"):
        additional_worker.with_worker(full)


def test_the_lab_s_own_inventory(tmp_path: Path) -> None:
    """All but one entry of hosts.yml is the lab's."""
    lab = ROOT / "inventories" / "lab"
    name = additional_worker.write(tmp_path / "grown", lab)
    before, after = (yaml.safe_load((folder / "hosts.yml").read_text()) for folder in (lab, tmp_path / "grown"))
    del after["all"]["children"]["workers"]["hosts"][name]
    assert after == before
    assert (tmp_path / "grown/group_vars/all/vagrant.yml").is_file()


def test_the_inventory_with_machines_is_found_among_the_others() -> None:
    inventories = ROOT / "inventories"
    assert additional_worker.with_machines(inventories / name for name in ("common", "lab", "emulated")) == inventories / "lab"
    with pytest.raises(LabError, match=r"None of the inventories .*common, .*emulated names a machine"):
        additional_worker.with_machines([inventories / "common", inventories / "emulated"])
