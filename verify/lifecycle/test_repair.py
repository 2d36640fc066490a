"""A setting that the control plane doesn't start with is named, and the next run repairs the cluster; what a cluster can never become is refused.

The tests of this file are one story: the fixtures make it happen, each test verifies one statement of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from outlive.base.errors import LabError
from outlive.drill import run
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account, read_rows
from outlive.lab.objects import Pod
from outlive.lab.playbook import play
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

SITE = "playbooks/site.yml"
MANIFESTS = "/etc/kubernetes/manifests"
STRAY = "kube-apiserver.yaml.bak"


@dataclass(frozen=True)
class Repair:
    """What the run with the wrong flag said, and MySQL's pod before."""

    said: str
    mysql: Pod


@pytest.fixture(scope="module")
def repaired(whole_lab: Lab, written: Pod) -> Iterator[Repair]:
    """Give the API server a flag that it doesn't know, then apply the lab's own settings again, whatever happens."""
    wrong = {"control_plane_api_server_extra_args": {"nope": "1"}}
    try:
        with pytest.raises(LabError) as failed:
            play(SITE, "--tags", "control_plane", "-e", json.dumps(wrong))
    finally:
        play(SITE)
        run.await_steady(whole_lab)
    yield Repair(str(failed.value), written)


def test_program_is_named_with_its_last_words(repaired: Repair) -> None:
    """The run with the wrong flag says that the API server doesn't start, and what it said itself."""
    assert "kube-apiserver doesn't run on" in repaired.said
    assert "unknown flag: --nope" in repaired.said


def test_cluster_is_back(repaired: Repair, lab: Inventory, cluster: Cluster) -> None:
    """All nodes are Ready, and the API server doesn't have the flag any more."""
    del repaired
    assert {node.name: node.ready for node in cluster.nodes()} == {host.name: "True" for host in lab.group("cluster")}
    (server,) = [pod for pod in cluster.listing("pods", "kube-system") if pod["metadata"]["name"].startswith("kube-apiserver-")]
    assert "--nope=1" not in server["spec"]["containers"][0]["command"]


def test_mysql_was_not_disturbed(repaired: Repair, cluster: Cluster, account: Account) -> None:
    """MySQL's pod is the one that it was, and the row that was written before is read, once."""
    assert cluster.pod(NAMESPACE, repaired.mysql.name).uid == repaired.mysql.uid
    assert read_rows(cluster, account) == ["111"]


@pytest.mark.usefixtures("repaired")
def test_nothing_has_to_be_repaired_after_the_repair() -> None:
    """playbooks/site.yml, run again, finds nothing to change."""
    played = play(SITE)
    assert played.recap, "the playbook printed no recap"
    assert not played.changed, "\n".join(played.changed)


@pytest.mark.usefixtures("repaired")
@pytest.mark.parametrize(
    ("setting", "value"), [("control_plane_service_subnet", "10.112.0.0/12"), ("control_plane_pod_subnet", "10.245.0.0/16")]
)
def test_another_network_is_refused(setting: str, value: str, lab: Inventory, remote: Remote) -> None:
    """Before anything is written, on any machine: the routes of the nodes are what they were."""
    nodes = [host.name for host in lab.group("cluster")]
    routes = {name: remote.check(name, "ip route show") for name in nodes}
    with pytest.raises(LabError, match=f"{setting} is {value}, and the cluster was made with"):
        play(SITE, "-e", json.dumps({setting: value}))
    assert {name: remote.check(name, "ip route show") for name in nodes} == routes


@pytest.mark.usefixtures("repaired")
def test_second_manifest_is_named(lab: Inventory, remote: Remote) -> None:
    """A file that the kubelet reads as another API server's is refused by its name; an empty one does nothing meanwhile."""
    (control_plane,) = lab.group("control_plane")
    remote.check(control_plane.name, "touch %s", f"{MANIFESTS}/{STRAY}")
    try:
        with pytest.raises(LabError, match=f"has {STRAY} in {MANIFESTS}"):
            play(SITE, "--tags", "control_plane")
    finally:
        remote.check(control_plane.name, "rm -f %s", f"{MANIFESTS}/{STRAY}")
