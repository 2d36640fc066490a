"""The host was restarted: all machines were off, `vagrant up` starts them, and the cluster comes back by itself with its data.

The tests of this file are one story: the fixture makes it happen, each test verifies one statement of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import pytest

from outlive.base.errors import UnreachableError
from outlive.base.wait import wait_for
from outlive.drill import run
from outlive.lab import nfs, power
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import Account, read_rows
from outlive.lab.objects import Pod
from outlive.lab.playbook import play
from outlive.lab.power import Machine, vagrant
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

UP_WITHIN = 1800.0
"""Seconds for `vagrant up` of all machines; three emulated ones need two minutes, on a busy host several times that."""
READY_WITHIN = 900.0
HALF_WRITTEN = "/var/lib/cni/flannel/half-written"
"""A note of the pod network as a power cut may leave it: without content. flannel's plug-in would never end its pod."""


@pytest.fixture(scope="module")
def boots(whole_lab: Lab, written: Pod) -> Mapping[str, str]:
    """Shut all machines down and start them again whatever happens; return the nodes' earlier boots.

    The NFS server goes first: with it away, what hangs on its volumes holds a node's shutdown up for as long as roles/node_base lets it.
    """
    del written
    lab, cluster, remote = whole_lab.inventory, whole_lab.cluster, whole_lab.remote
    before = {node.name: node.boot for node in cluster.nodes()}
    below = {name: power.find(name) for name in (*(host.name for host in lab.group("control_plane")), *whole_lab.workers)}
    try:
        for name in whole_lab.workers:
            remote.check(name, "touch %s", HALF_WRITTEN)
        for name, machine in below.items():
            shut_down(remote, name, machine)
    finally:
        vagrant("up", within=UP_WITHIN)
    wait_for(
        "nodes",
        "Ready after their new start",
        cluster.nodes,
        lambda nodes: all(node.ready == "True" and node.boot != before[node.name] for node in nodes),
        within=READY_WITHIN,
        every=2.0,
        describe=lambda nodes: ", ".join(f"{node.name} {node.state}" for node in nodes),
    )
    run.await_steady(whole_lab)
    return before


def shut_down(remote: Remote, name: str, machine: Machine) -> None:
    """Shut a machine down in order, as a host that goes down does, and see its process gone."""
    with suppress(UnreachableError):  # sshd may be gone before it told ssh so
        remote.run(name, "systemctl poweroff")
    remote.forget(name)
    machine.wait_until_off()


def test_every_node_is_back_by_itself(boots: Mapping[str, str], cluster: Cluster) -> None:
    """Every node that was there is Ready, and has really been started anew."""
    assert {node.name: (node.ready, node.boot != boots[node.name]) for node in cluster.nodes()} == dict.fromkeys(boots, ("True", True))


@pytest.mark.usefixtures("boots")
def test_row_outlived_the_lab_s_restart(cluster: Cluster, account: Account) -> None:
    """The row that was written before is read, once."""
    assert read_rows(cluster, account) == ["111"]


@pytest.mark.usefixtures("boots")
def test_exports_are_back(lab: Inventory, remote: Remote) -> None:
    """The NFS server exports the volumes' folder again, to the lab's network."""
    server, folder = nfs.exported(lab)
    assert [each.client for each in nfs.exports(remote, server.name) if each.path == folder] == [lab.setting("lab_network")]


@pytest.mark.usefixtures("boots")
def test_no_note_without_content_is_left(lab: Inventory, remote: Remote) -> None:
    """What the pod network had begun to write down when the power went is gone, so that it keeps no pod from coming back."""
    left = {host.name: remote.run(host.name, "test -e %s", HALF_WRITTEN).status == 0 for host in lab.workers}
    assert left == dict.fromkeys(left, False)


def test_swap_stays_off(boots: Mapping[str, str], remote: Remote) -> None:
    """No node swaps after its new start."""
    assert {name: remote.check(name, "swapon --show --noheadings").strip() for name in boots} == dict.fromkeys(boots, "")


@pytest.mark.usefixtures("boots")
def test_nothing_has_to_be_repaired() -> None:
    """playbooks/site.yml, run again, finds nothing to change."""
    played = play("playbooks/site.yml")
    assert played.recap, "the playbook printed no recap"
    assert not played.changed, "\n".join(played.changed)
