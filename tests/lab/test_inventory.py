"""The inventory, and what is wrong with a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from outlive.base.errors import LabError
from outlive.lab import inventory
from outlive.lab.inventory import Inventory
from tests import samples


def test_groups_hold_their_children_s_hosts(small_inventory: Inventory) -> None:
    assert [host.name for host in small_inventory.group("cluster")] == ["m", "n1", "n2"]
    assert small_inventory.host("n1").address == "192.0.2.11"
    assert small_inventory.setting("lab_network") == "192.0.2.0/24"


@pytest.mark.parametrize(
    ("variables", "address", "login"),
    [
        ({"ansible_host": "192.0.2.1", "node_ip": "{{ ansible_host | default('') }}"}, "192.0.2.1", "192.0.2.1"),
        ({"ansible_host": "a.example", "node_ip": "192.0.2.1"}, "192.0.2.1", "a.example"),
        ({"node_ip": "192.0.2.1"}, "192.0.2.1", "n1.example"),
    ],
)
def test_a_node_s_address_and_where_ssh_reaches_it(variables: dict[str, str], address: str, login: str) -> None:
    """Two addresses, or one for both; without an ansible_host, Ansible takes the name."""
    found = inventory.parse({"_meta": {"hostvars": {"n1.example": variables}}, "all": {"hosts": ["n1.example"]}}, "x").host("n1.example")
    assert (found.address, found.login) == (address, login)


def test_templates_are_no_literals(small_inventory: Inventory) -> None:
    assert small_inventory.host("n1").literal("ansible_ssh_private_key_file") is None
    assert small_inventory.host("n2").literal("ansible_port") == "2222"
    assert small_inventory.setting("missing") is None


def test_unknown_host(small_inventory: Inventory) -> None:
    with pytest.raises(LabError, match=r"no host 'n9': it has m, n1, n2; choose one"):
        small_inventory.host("n9")


def test_empty_group(small_inventory: Inventory) -> None:
    with pytest.raises(LabError, match=r"no host in group 'edge': at least one is needed"):
        small_inventory.group("edge")


@pytest.mark.parametrize(
    ("listing", "sentence"),
    [
        ({"_meta": {"hostvars": {}}}, "holds no host: ANSIBLE_INVENTORY has to be"),
        ({"_meta": {"hostvars": {"n1": {}}}, "all": {"hosts": ["n1"]}}, "Host n1 of the inventory x has no ansible_host"),
    ],
)
def test_unusable_listing(listing: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LabError, match=sentence):
        inventory.parse(listing, "x")


def test_the_project_s_inventory_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_INVENTORY", "inventories/common,inventories/lab")
    lab = inventory.load()
    assert len(lab.group("workers")) >= 2
    assert lab.setting("lab_network")


def test_workers_are_where_pods_run(small_inventory: Inventory) -> None:
    assert [host.name for host in small_inventory.workers] == ["n1", "n2"]


@pytest.mark.parametrize("takes_pods", [True, False])
def test_control_plane_alone(takes_pods: bool) -> None:
    """It is where pods run only if it takes them; a lab without workers that doesn't say so is refused by name."""
    listing = {
        "_meta": {"hostvars": {"m": {"ansible_host": "192.0.2.10", "control_plane_takes_pods": takes_pods}}},
        "all": {"children": ["control_plane", "workers"]},
        "control_plane": {"hosts": ["m"]},
    }
    alone = inventory.parse(listing, "x")
    if takes_pods:
        assert [host.name for host in alone.workers] == ["m"]
    else:
        with pytest.raises(LabError, match="no host in group 'workers'"):
            _ = alone.workers


@pytest.mark.parametrize("locale", ["C", "tlh_QO.UTF-8"])
def test_the_inventory_is_read_under_any_locale(monkeypatch: pytest.MonkeyPatch, locale: str) -> None:
    """Ansible refuses one without UTF-8, and one that this host doesn't have."""
    monkeypatch.setenv("LC_ALL", locale)
    monkeypatch.setenv("ANSIBLE_INVENTORY", "inventories/common,inventories/lab")
    assert inventory.load().group("workers")


def test_a_folder_that_isn_t_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_INVENTORY", "inventories/nowhere")
    with pytest.raises(LabError, match="inventories/nowhere"):
        inventory.load()


def test_output_that_is_no_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "ansible-inventory"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LabError, match="gave no JSON"):
        inventory.load()


def test_missing_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"the program no-such-program is missing: .* `outlive doctor`"):
        inventory.ansible_program("no-such-program")


def test_samples_are_what_they_look_like() -> None:
    assert inventory.parse(samples.INVENTORY, "x").groups["workers"] == ("n1", "n2")
