"""Pods that have an address each, on a node that is Ready for it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

import testinfra

from outlive.base.wait import wait_for
from outlive.lab.inventory import Host
from outlive.lab.kube import Cluster
from outlive.lab.objects import Node


def test_the_node_is_ready(ready_node: Node) -> None:
    """Without a pod network it is not: the role is what made it so."""
    assert ready_node.ready == "True"


def test_flannel_runs_on_it(cluster: Cluster, tested: Host, start_seconds: float) -> None:
    wait_for(
        "pods of flannel",
        f"one on {tested.name}, ready",
        lambda: [(pod.node, pod.ready) for pod in cluster.pods("kube-flannel")],
        lambda pods: pods == [(tested.name, True)],
        within=start_seconds,
        every=5,
    )


def test_pods_are_reached_by_addresses_of_the_pod_network(
    cluster: Cluster, tested: Host, host: testinfra.host.Host, told: Callable[[str], Any], start_seconds: float
) -> None:
    """The cluster's DNS is the first that needs an address: each pod of it that is ready is asked there, from the node.

    One of its two pods may find no room on a single node (an emulated control plane asks for most of the processors).
    """
    wait_for(
        "pods of CoreDNS",
        "one of them ready",
        lambda: [pod.ready for pod in cluster.pods("kube-system", "k8s-app=kube-dns")],
        any,
        within=start_seconds,
        every=5,
    )
    kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace kube-system get pods --selector k8s-app=kube-dns"
    addresses = host.check_output(
        f"{kubectl} --output %s", "jsonpath={.items[?(@.status.containerStatuses[0].ready==true)].status.podIP}"
    ).split()
    assert addresses
    for address in addresses:
        assert ip_address(address) in ip_network(told("control_plane_pod_subnet"))
        assert host.check_output("curl --silent --show-error --fail http://%s:8080/health", address) == "OK"
