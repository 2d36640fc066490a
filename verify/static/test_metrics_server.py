"""`kubectl top` shows what nodes and pods use, by kubelets whose certificates are the cluster's.

Only where the lab has metrics-server (role metrics_server).
"""

from __future__ import annotations

import json
from collections.abc import Collection

import pytest

from outlive.base.wait import wait_for
from outlive.course.walk import on_host
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from verify.stories import LeftOutError

NAMESPACE, SERVER = "kube-system", "metrics-server"
KNOWN_WITHIN = 300.0
TRUSTED = "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"


@pytest.fixture(scope="module", autouse=True)
def there(lab: Inventory, cluster: Cluster) -> None:
    """Leave all of this out in a lab that isn't meant to have it."""
    if lab.setting("metrics_server_enabled") != str(True) and not cluster.pods(NAMESPACE, f"k8s-app={SERVER}"):
        raise LeftOutError(
            "this lab has no metrics-server: set metrics_server_enabled to true in a file of its inventory, and run `outlive provision`"
        )


def rows(cluster: Cluster, command: str, wanted: Collection[str]) -> list[list[str]]:
    """Return the lines of a command's table, in words, once all that is wanted has one: of what it saw only once it knows nothing yet."""
    done = wait_for(
        f"`{command}`",
        f"lines of {', '.join(wanted)}",
        lambda: on_host(command, cluster.environment),
        lambda ran: (
            ran.status == 0 and all(any(line.startswith(f"{name} ") and "<unknown>" not in line for line in ran.lines) for name in wanted)
        ),
        within=KNOWN_WITHIN,
        every=5,
        describe=lambda ran: "; ".join(ran.lines) or "nothing",
    )
    return [line.split() for line in done.lines]


def test_top_shows_every_node(cluster: Cluster, nodes: tuple[str, ...]) -> None:
    """`kubectl top nodes` has processor and memory of each node, more than nothing."""
    shown = {name: (cpu, memory) for name, cpu, _, memory, *_ in rows(cluster, "kubectl top nodes --no-headers", nodes)}
    assert set(shown) == set(nodes)
    assert [
        name for name, used in shown.items() if not all(each.rstrip("mKMGi").isdecimal() for each in used) or used[1].startswith("0")
    ] == []


def test_top_shows_pods(cluster: Cluster) -> None:
    """`kubectl top pods` has the control plane's own, with memory, more than nothing."""
    servers = [pod.name for pod in cluster.pods(NAMESPACE, "component=kube-apiserver")]
    assert servers
    shown = {name: memory for name, _, memory in rows(cluster, f"kubectl --namespace {NAMESPACE} top pods --no-headers", servers)}
    assert [name for name in servers if shown[name].startswith("0")] == []


def test_kubelets_are_believed_by_the_cluster_s_word_alone(cluster: Cluster) -> None:
    """It is told which authority signs the kubelets' certificates, and not to do without."""
    done = on_host(f"kubectl --namespace {NAMESPACE} get deployment {SERVER} --output json", cluster.environment)
    (container,) = json.loads("\n".join(done.lines))["spec"]["template"]["spec"]["containers"]
    assert TRUSTED in container["args"]
    assert not any("insecure" in each for each in container["args"])
