"""Machines that exist already: inventories/metal, with addresses, a user and a key put in, and nothing that Vagrant knows.

The machines are VMs that were only booted. Ansible knows them by the example's names, which they don't have yet.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlive.base.paths import KUBECONFIG, ROOT, STATE
from outlive.host import reach
from outlive.host.doctor import checklist
from outlive.host.reach import Reached
from outlive.host.steps import task_of, vagrant_line
from outlive.lab.inventory import Inventory
from outlive.lab.playbook import Played
from verify.rehearsal import own_machines

pytestmark = pytest.mark.rehearsal

NAMES = ["alpha", "beta", "gamma"]


@dataclass(frozen=True)
class Machines:
    """The machines, and what the playbook said it would do with them, and then did."""

    lab: Reached
    foretold: Played
    site: Played


@pytest.fixture(scope="module")
def machines(empty: None) -> Iterator[Machines]:
    """Boot three machines; run site.yml on them, first in check mode."""
    reach.build_mirror("full")
    booted = reach.reach()
    described = checklist.load_inventory(booted.settings)
    booted.step("rehearsal machines", ["vagrant", "up", "--no-tty"], vagrant_line)
    lab = Reached(own_machines.settings(folders=(own_machines.COMMON, write_metal(booted, described))), booted.init)
    lab.step("rehearsal inventory", ["ansible-playbook", "playbooks/check.yml"], task_of)
    foretold = own_machines.play(lab, "rehearsal check mode", "playbooks/site.yml", "--check")
    assert not KUBECONFIG.exists()
    yield Machines(lab, foretold, own_machines.play(lab, "rehearsal cluster", "playbooks/site.yml"))


def write_metal(booted: Reached, described: Inventory) -> Path:
    """Write the inventory, and elsewhere what a user has at home: a key for each machine, and the machines' own keys as known hosts."""
    # Not in the inventory's folder, of which Ansible reads every file.
    keys = STATE / "home"
    keys.mkdir(parents=True, mode=0o700)
    known = keys / "known_hosts"
    known.write_text(
        booted.output(["ssh-keyscan", "-T", "60", "-t", "ed25519", *(host.address for host in described.hosts.values())]), encoding="utf-8"
    )
    machines = []
    for name, host in zip(NAMES, described.hosts.values(), strict=True):
        shutil.copy(ROOT / f".vagrant/machines/{host.name}/libvirt/private_key", keys / name)
        (keys / name).chmod(0o600)
        machines.append({"ansible_host": host.address, "ansible_ssh_private_key_file": str(keys / name)})
    login = {"ansible_user": "vagrant", "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o IdentitiesOnly=yes"}
    return own_machines.metal(STATE / "metal", str(described.setting("lab_network")), machines, login)


def test_inventory_knows_nothing_of_vagrant(machines: Machines) -> None:
    written = "".join(file.read_text(encoding="utf-8") for file in (STATE / "metal").rglob("*.yml"))
    assert ".vagrant" not in (STATE / "metal/hosts.yml").read_text(encoding="utf-8")
    assert "mirror" not in written


def test_check_mode_foretells_changes_of_every_machine(machines: Machines) -> None:
    changed = {host: sums["changed"] for host, sums in machines.foretold.recap.items() if host in NAMES}
    assert sorted(changed) == NAMES
    assert all(changed.values())


def test_nodes_have_the_names_of_the_inventory(machines: Machines) -> None:
    assert own_machines.ready_nodes(machines.lab) == NAMES
    assert [own_machines.on(machines.lab, name, "hostname") for name in NAMES] == NAMES


def test_volumes_are_exported(machines: Machines) -> None:
    assert "/nfsdata" in own_machines.on(machines.lab, "alpha", "exportfs -s")


def test_second_run_changes_nothing(machines: Machines) -> None:
    again = own_machines.play(machines.lab, "rehearsal cluster again", "playbooks/site.yml")
    assert sorted(name for name in again.recap if name != "localhost") == NAMES
    assert again.changed == ()
