"""The cluster's objects."""

from __future__ import annotations

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


def test_volume_and_claim() -> None:
    volume = objects.volume(samples.volume())
    assert (volume.phase, volume.reclaim, volume.claim, volume.path) == ("Bound", "Retain", "default/mysql-pvc", "/nfsdata/mysql-pv")
    assert objects.volume({"metadata": {"name": "free"}, "spec": {}}).claim == ""
    assert objects.claim(samples.claim()).volume == "mysql-pv"
