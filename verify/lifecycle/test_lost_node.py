"""MySQL's node doesn't answer any more, and is removed as lost: it is turned away first, MySQL comes back elsewhere, and so does the node in the end.

The node is frozen, not off: what ran there goes on when it is let go, as that of a machine behind a broken switch would.
The tests of this file are one story: the fixtures make it happen, each test verifies one statement of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.drill import run
from outlive.fence.actions import NfsServer
from outlive.lab import nfs, power
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account, await_elsewhere, read_rows
from outlive.lab.objects import Pod
from outlive.lab.playbook import play
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

NOT_READY_WITHIN = 300.0
MOVED_WITHIN = 900.0
BACK_WITHIN = 300.0


def remove(node: str, *options: str) -> None:
    """Remove a node as a user does."""
    play("playbooks/remove-node.yml", "-e", f"node={node}", *options)


@pytest.fixture(scope="module")
def lost(whole_lab: Lab, written: Pod) -> Iterator[Pod]:
    """Freeze the node of MySQL's pod and remove it as lost; let it go and put it back whatever happens; return the pod as it was."""
    cluster, machine = whole_lab.cluster, power.find(written.node)
    machine.suspend()
    try:
        wait_for(
            f"node {written.node}",
            "not Ready",
            lambda: cluster.node(written.node),
            lambda node: node.ready != "True",
            within=NOT_READY_WITHIN,
            describe=lambda node: node.state,
        )
        remove(written.node, "-e", "lost=true")
        yield written
    finally:
        machine.resume()
        whole_lab.remote.forget(written.node)
        wait_for(
            f"ssh to {written.node}",
            "an answer",
            lambda: whole_lab.remote.check(written.node, "hostname"),
            lambda _: True,
            within=BACK_WITHIN,
            every=5.0,
        )
        remove(written.node)
        play("playbooks/site.yml")
        run.await_steady(whole_lab)


def test_a_node_that_answers_is_not_lost(written: Pod, cluster: Cluster) -> None:
    """Said of a node that is Ready, it is refused, and nothing is turned away."""
    with pytest.raises(LabError, match="is Ready, so it isn't lost"):
        remove(written.node, "-e", "lost=true")
    assert cluster.node(written.node).ready == "True"
    assert cluster.pod(NAMESPACE, written.name).ready


def test_it_is_turned_away(lost: Pod, lab: Inventory, remote: Remote) -> None:
    """The NFS server serves nothing to its address, and keeps no lock and no session of it."""
    server, _ = nfs.exported(lab)
    (address,) = [host.address for host in lab.group("workers") if host.name == lost.node]
    storage = NfsServer(remote, server.name)
    assert address in storage.lost()
    assert storage.left(address) == 0


def test_its_node_is_gone(lost: Pod, cluster: Cluster) -> None:
    """The cluster has no such node any more."""
    assert lost.node not in {node.name for node in cluster.nodes()}


def test_mysql_came_back_with_its_row(lost: Pod, cluster: Cluster, account: Account) -> None:
    """MySQL runs on another node, and the row that was written before is read there."""
    await_elsewhere(cluster, lost.node, MOVED_WITHIN)
    assert read_rows(cluster, account) == ["111"]
