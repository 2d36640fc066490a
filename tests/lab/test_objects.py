"""The cluster's objects."""

from __future__ import annotations

from typing import Any

import pytest

from outlive.lab import objects
from tests import samples


def test_node() -> None:
    node = objects.node(samples.node(ready="Unknown"))
    assert (node.state, node.addresses, node.boot) == ("NotReady (NodeStatusUnknown)", ("192.0.2.11",), "boot-1")
    assert objects.node(samples.node()).state == "Ready"
    assert objects.node({"metadata": {"name": "new"}}).state == "NotReady (no condition)"


def test_pod() -> None:
    pod = objects.pod(samples.pod())
    assert (pod.state, pod.running, pod.ready, pod.owner, pod.restarts) == ("Running", True, True, "replicaset", 1)
    assert objects.pod(samples.pod(deleted=True)).state == "Terminating"
    waiting = objects.pod(samples.pod(running=False, waiting="ImagePullBackOff", phase="Pending"))
    assert (waiting.state, waiting.running) == ("ImagePullBackOff", False)


def test_pod_that_was_only_created() -> None:
    pod = objects.pod({"metadata": {"name": "p", "uid": "u"}, "status": {"phase": "Pending"}})
    assert (pod.node, pod.running, pod.ready, pod.state, pod.owner) == ("", False, False, "Pending", "")


def test_deployment() -> None:
    deployment = objects.deployment(samples.deployment(available=0))
    assert (deployment.available, deployment.wanted, deployment.selector) == (0, 1, "app=mysql")
    assert deployment.password == objects.SecretKey("mysql-root", "password")
    assert objects.deployment(samples.deployment(secret=False)).password is None


@pytest.mark.parametrize(
    ("tolerations", "not_ready", "unreachable"),
    [
        ([], 300, 300),
        (samples.tolerations(10), 10, 10),
        (samples.tolerations(10)[:1], 10, 300),
        ([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}], 300, None),
        ([{"operator": "Exists"}], None, None),
        ([*samples.tolerations(20), {"operator": "Exists"}, *samples.tolerations(5)], 5, 5),
        ([{**samples.tolerations(10)[1], "effect": "NoSchedule"}], 300, 300),
    ],
    ids=["nothing", "both", "one", "one for ever", "everything", "the shortest counts", "of another effect"],
)
def test_for_how_long_a_deployments_pods_tolerate_a_lost_node(
    tolerations: list[dict[str, Any]], not_ready: int | None, unreachable: int | None
) -> None:
    deployment = objects.deployment(samples.deployment(tolerated=tolerations))
    assert (deployment.tolerated_seconds("not-ready"), deployment.tolerated_seconds("unreachable")) == (not_ready, unreachable)


def test_volume_and_claim() -> None:
    volume = objects.volume(samples.volume())
    assert (volume.phase, volume.reclaim, volume.claim, volume.path) == ("Bound", "Retain", "default/mysql-pvc", "/nfsdata/mysql-pv")
    assert objects.volume({"metadata": {"name": "free"}, "spec": {}}).claim == ""
    assert objects.claim(samples.claim()).volume == "mysql-pv"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("kube-controller-manager", "--grace=20s"), "20s"),
        (("kube-controller-manager", "--grace", "20s", "--v=1"), "20s"),
        (("--grace=20s", "--grace=", "--graceful=1s"), ""),
        (("--grace=1s", "--grace=a=b"), "a=b"),
        (("kube-controller-manager", "--graceful=1s"), None),
        ((), None),
    ],
)
def test_flag_of_a_command(words: tuple[str, ...], value: str | None) -> None:
    assert objects.flag(words, "--grace") == value
