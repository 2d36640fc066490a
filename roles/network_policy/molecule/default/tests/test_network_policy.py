"""A node on which the first packet of a connection waits for what the NetworkPolicies say, and does so again after a start."""

from __future__ import annotations

import testinfra

from outlive.base.wait import wait_for
from outlive.lab.inventory import Host
from outlive.lab.kube import Cluster

NAME = "kube-network-policies"


def test_the_enforcer_runs(cluster: Cluster, tested: Host, start_seconds: float) -> None:
    wait_for(
        "pods of the enforcer",
        f"one on {tested.name}, ready",
        lambda: [(pod.node, pod.ready) for pod in cluster.pods("kube-system", f"app={NAME}")],
        lambda pods: pods == [(tested.name, True)],
        within=start_seconds,
        every=5,
    )


def test_the_kernel_asks_it(host: testinfra.host.Host, start_seconds: float) -> None:
    """The kernel has the modules, took the rules, and somebody listens at their queue."""
    wait_for(
        "rules of the packet filter",
        "a queue",
        lambda: host.run(f"nft list table inet {NAME}").stdout,
        lambda rules: "@podips-v4" in rules and "queue" in rules and "98" in rules,
        within=start_seconds,
        every=5,
    )
    assert [line.split()[0] for line in host.check_output("cat /proc/net/netfilter/nfnetlink_queue").splitlines()] == ["98"]


def test_the_policy_is_there(cluster: Cluster) -> None:
    assert [each["metadata"]["name"] for each in cluster.listing("networkpolicies", "default")] == ["mysql"]
