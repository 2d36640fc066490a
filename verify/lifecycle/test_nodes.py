"""MySQL's node is taken out of the cluster and joins it again: the pod moves in order, and the row is still there.

The tests of this file are one story: the fixtures make it happen, each test verifies one statement of it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from outlive.base.errors import LabError
from outlive.base.wait import wait_for
from outlive.course.walk import on_host
from outlive.drill import run
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import NAMESPACE, Account, await_elsewhere, read_rows
from outlive.lab.objects import Json, Pod
from outlive.lab.playbook import play
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

SERVICE = "mysql"
MOVED_WITHIN = 600.0
PROBE = "lifecycle-probe"
PROBE_SECONDS = 300.0
HOLDS = "lifecycle-holds"
LEFTOVERS = (
    "/etc/kubernetes/kubelet.conf",
    "/etc/cni/net.d/10-flannel.conflist",
    "/run/flannel/subnet.env",
    "/sys/class/net/cni0",
    "/sys/class/net/flannel.1",
)
"""What a node that left must not have any more."""


@pytest.fixture(scope="module")
def removed(whole_lab: Lab, written: Pod) -> Iterator[Pod]:
    """Take the node of MySQL's pod out of the cluster, and put it back whatever happens; return the pod as it was."""
    try:
        play("playbooks/remove-node.yml", "-e", f"node={written.node}")
        yield written
    finally:
        if written.node not in {node.name for node in whole_lab.cluster.nodes()}:
            play("playbooks/site.yml")


@pytest.fixture(scope="module")
def back(whole_lab: Lab, removed: Pod) -> Pod:
    """Join the node again, as a user does, and wait until the lab is steady."""
    play("playbooks/site.yml")
    run.await_steady(whole_lab)
    return removed


def test_node_is_gone_and_left_nothing(removed: Pod, cluster: Cluster, remote: Remote) -> None:
    """The cluster has no such node any more, and the machine keeps nothing of the cluster."""
    assert removed.node not in {node.name for node in cluster.nodes()}
    left = [path for path in LEFTOVERS if remote.run(removed.node, "test -e %s", path).status == 0]
    assert left == [], f"on {removed.node}"


def test_mysql_moved_with_its_row(removed: Pod, cluster: Cluster, account: Account) -> None:
    """MySQL runs on another node, and the row that was written before is read there."""
    await_elsewhere(cluster, removed.node, MOVED_WITHIN)
    assert read_rows(cluster, account) == ["111"]


def test_node_is_back(back: Pod, cluster: Cluster) -> None:
    """Joined again, the node is Ready and takes pods."""
    node = cluster.node(back.node)
    assert (node.ready, node.shut) == ("True", ())


def test_a_pod_on_it_reaches_the_others(back: Pod, lab: Inventory, cluster: Cluster) -> None:
    """A pod on the node that came back finds MySQL's Service by its name, so pod network, DNS and kube-proxy work there."""
    overrides = json.dumps({"spec": {"nodeName": back.node}})
    look = f"until nslookup {SERVICE}.{NAMESPACE}.svc.cluster.local; do sleep 2; done"  # kube-proxy may be a moment later than the node
    ran = on_host(
        f"kubectl run {PROBE} --namespace {NAMESPACE} --image={lab.setting('storage_tutorial_busybox_image')} --restart=Never --rm --attach --quiet "
        f"--overrides={shlex.quote(overrides)} -- sh -c {shlex.quote(look)}",
        cluster.environment,
        PROBE_SECONDS,
    )
    assert cluster.service_address(NAMESPACE, SERVICE) in "\n".join(ran.lines), f"asked on {back.node}"


def holding(node: str) -> Json:
    """Return a pod that doesn't end when it is told to."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": HOLDS},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 900,
            "containers": [
                {
                    "name": HOLDS,
                    "image": "busybox:1.37",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
                }
            ],
        },
    }


def test_a_node_stays_while_its_pods_do(back: Pod, cluster: Cluster) -> None:
    """A drain whose time runs out ends the removal, by a sentence that names the pod, and the node is there with it."""
    cluster.create_pod(NAMESPACE, holding(back.node))
    try:
        wait_for(
            f"pod {HOLDS}",
            "Running",
            lambda: cluster.pod(NAMESPACE, HOLDS),
            lambda pod: pod.running,
            within=PROBE_SECONDS,
            describe=lambda pod: pod.state,
        )
        with pytest.raises(LabError, match=rf"couldn't give its pods away .*{NAMESPACE}/{HOLDS} \(Terminating\)"):
            play("playbooks/remove-node.yml", "-e", f"node={back.node}", "-e", "worker_drain_seconds=20")
        assert back.node in {node.name for node in cluster.nodes()}
        assert cluster.pod(NAMESPACE, HOLDS).running
    finally:
        for command in (f"kubectl delete pod {HOLDS} --namespace {NAMESPACE} --grace-period=0 --force", f"kubectl uncordon {back.node}"):
            on_host(command, cluster.environment, PROBE_SECONDS)


@pytest.mark.usefixtures("back")
def test_row_outlived_the_return(cluster: Cluster, account: Account) -> None:
    """After the node's return the row is still there, once."""
    assert read_rows(cluster, account) == ["111"]
