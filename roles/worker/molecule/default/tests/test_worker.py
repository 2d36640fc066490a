"""A node that has joined the cluster, and is back in it after a start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import testinfra

from outlive.base.wait import wait_for
from outlive.lab.inventory import Host
from outlive.lab.kube import Cluster
from outlive.lab.objects import Node


def test_it_is_a_ready_node(ready_node: Node, tested: Host, told: Callable[[str], Any]) -> None:
    assert ready_node.addresses == (tested.address,)
    assert ready_node.kubelet == f"v{told('kubernetes_packages_version')}"


def test_pods_of_every_node_run_on_it(cluster: Cluster, tested: Host, start_seconds: float) -> None:
    def ready() -> set[str]:
        return {pod.name.rpartition("-")[0] for pod in cluster.all_pods() if pod.node == tested.name and pod.ready}

    wait_for(
        "pods on the node", "flannel and kube-proxy ready", ready, {"kube-flannel-ds", "kube-proxy"}.issubset, within=start_seconds, every=5
    )


def test_the_kubelet_starts_with_the_machine(host: testinfra.host.Host) -> None:
    service = host.service("kubelet")
    assert service.is_enabled
    assert service.is_running


def test_its_credentials_are_root_s_alone(host: testinfra.host.Host) -> None:
    assert host.file("/etc/kubernetes/kubelet.conf").mode == 0o600
