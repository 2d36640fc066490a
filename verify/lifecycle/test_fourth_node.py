"""The lab grows by one worker, as one more entry of the inventory makes it; its machine is destroyed and made anew; and the lab shrinks again.

The tests of this file are one story: the fixtures make it happen, each test verifies one statement of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlive.base.paths import ROOT
from outlive.base.wait import wait_for
from outlive.drill import run
from outlive.lab import additional_worker, inventory, nfs
from outlive.lab.inventory import Host, Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account, read_rows
from outlive.lab.objects import Json, Pod
from outlive.lab.playbook import play
from outlive.lab.power import vagrant, vagrant_folder
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

FOLDER = ROOT / ".lab" / "grown"
"""The inventory with the fourth node, beside which Ansible finds Vagrant's keys as beside the lab's own."""
VAGRANT_WITHIN = 1800.0
PROBE = "lifecycle-fourth"
PROBE_SECONDS = 600.0
SHARED = "rwx"
"""The volume's folder that the pod on the new node writes into."""


@dataclass(frozen=True)
class Growth:
    """The new node, and the lab before it came: its inventories, its nodes, and MySQL's pod."""

    node: Host
    inventories: str
    before: frozenset[str]
    mysql: Pod


@pytest.fixture(scope="module")
def grown_lab(whole_lab: Lab, written: Pod) -> Iterator[Growth]:
    """Add a worker to the inventory, make its machine and join it; whatever happens, neither is left."""
    inventories = os.environ.get("ANSIBLE_INVENTORY") or ",".join(str(ROOT / "inventories" / name) for name in ("common", "lab"))
    folders = [Path(folder) for folder in inventories.split(",")]
    shutil.rmtree(FOLDER, ignore_errors=True)
    machines = additional_worker.with_machines(folders)
    name = additional_worker.write(FOLDER, machines)
    nodes = frozenset(node.name for node in whole_lab.cluster.nodes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSIBLE_INVENTORY", ",".join(str(FOLDER if folder == machines else folder) for folder in folders))
        try:
            vagrant("up", name, within=VAGRANT_WITHIN)
            play("playbooks/site.yml")
            yield Growth(inventory.load().host(name), inventories, nodes, written)
        finally:
            take_away(whole_lab.cluster, name)
            shutil.rmtree(FOLDER)


def take_away(cluster: Cluster, name: str) -> None:
    """Take the node out of the cluster and remove its machine, as far as either is there."""
    if name in {node.name for node in cluster.nodes()}:
        play("playbooks/remove-node.yml", "-e", f"node={name}")
    if any(vagrant_folder(name).glob("*/id")):
        vagrant("destroy", name, within=VAGRANT_WITHIN)


@pytest.fixture(scope="module")
def made_anew(grown_lab: Growth) -> Growth:
    """Destroy the new node's machine and make it again, as a user does with one that is broken; its Node is still in the cluster."""
    name = grown_lab.node.name
    vagrant("destroy", name, within=VAGRANT_WITHIN)
    vagrant("up", name, within=VAGRANT_WITHIN)
    play("playbooks/site.yml")
    return grown_lab


@pytest.fixture(scope="module")
def shrunk(whole_lab: Lab, made_anew: Growth) -> Iterator[Growth]:
    """Take the new node away again, and bring the others back to the lab's own inventory."""
    take_away(whole_lab.cluster, made_anew.node.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSIBLE_INVENTORY", made_anew.inventories)
        play("playbooks/site.yml")
        run.await_steady(whole_lab)
        yield made_anew


def probe(lab: Inventory, node: str) -> Json:
    """Return the manifest of a pod that writes its node's name into a volume's folder on the NFS server."""
    server, export = nfs.exported(lab)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": PROBE},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": PROBE,
                    "image": lab.setting("storage_tutorial_busybox_image"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", f"echo {node} > /shared/{PROBE}"],
                    "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
                }
            ],
            "volumes": [{"name": "shared", "nfs": {"server": server.address, "path": f"{export}/{SHARED}"}}],
        },
    }


def test_node_joined(grown_lab: Growth, cluster: Cluster) -> None:
    """The new node is in the cluster beside those that were there, Ready, at the address that the inventory gives it."""
    assert {node.name for node in cluster.nodes()} == grown_lab.before | {grown_lab.node.name}
    node = cluster.node(grown_lab.node.name)
    assert (node.ready, node.addresses, node.shut) == ("True", (grown_lab.node.address,), ())


def test_a_pod_on_it_writes_to_the_nfs_server(grown_lab: Growth, lab: Inventory, cluster: Cluster, remote: Remote) -> None:
    """A pod on the new node mounts a volume of the NFS server, and what it writes is there."""
    server, export = nfs.exported(lab)
    file = f"{export}/{SHARED}/{PROBE}"
    cluster.create_pod(NAMESPACE, probe(lab, grown_lab.node.name))
    try:
        wait_for(
            f"pod {PROBE} on {grown_lab.node.name}",
            "Succeeded",
            lambda: cluster.pod(NAMESPACE, PROBE),
            lambda pod: pod.phase == "Succeeded",
            within=PROBE_SECONDS,
            describe=lambda pod: pod.state,
        )
        assert remote.check(server.name, "cat %s", file).strip() == grown_lab.node.name
    finally:
        cluster.delete_pod(NAMESPACE, PROBE)
        remote.run(server.name, "rm -f %s", file)


def test_mysql_did_not_notice(grown_lab: Growth, cluster: Cluster) -> None:
    """MySQL's pod is the one that it was, and wasn't started again."""
    now = cluster.pod(NAMESPACE, grown_lab.mysql.name)
    assert (now.uid, now.restarts) == (grown_lab.mysql.uid, grown_lab.mysql.restarts)


def test_machine_that_was_made_anew_joined(made_anew: Growth, cluster: Cluster) -> None:
    """The node is Ready, and it is the new machine: one of the cluster's name alone would have no kubelet's settings, and another boot."""
    node = cluster.node(made_anew.node.name)
    assert (node.ready, node.shut) == ("True", ())
    # The lab's own inventory, by which the session reaches the machines, doesn't have it.
    with closing(Remote(inventory.load())) as remote:
        assert node.boot == remote.check(node.name, "cat /proc/sys/kernel/random/boot_id").strip()
        assert remote.run(node.name, "test -s /etc/kubernetes/kubelet.conf").status == 0


def test_node_left(shrunk: Growth, cluster: Cluster) -> None:
    """The cluster has the nodes that it had, and no machine of the new one is left."""
    assert {node.name: node.ready for node in cluster.nodes()} == dict.fromkeys(shrunk.before, "True")
    assert list(vagrant_folder(shrunk.node.name).glob("*/id")) == []


@pytest.mark.usefixtures("shrunk")
def test_row_is_there_after_both(cluster: Cluster, account: Account) -> None:
    """The row that was written before is read, once."""
    assert read_rows(cluster, account) == ["111"]


@pytest.mark.usefixtures("shrunk")
def test_nothing_has_to_be_repaired_after_both() -> None:
    """playbooks/site.yml of the lab's own inventory, run again, finds nothing to change."""
    played = play("playbooks/site.yml")
    assert played.recap, "the playbook printed no recap"
    assert not played.changed, "\n".join(played.changed)
