"""A control plane that answers this machine, and does so again after a start."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import testinfra

from outlive.base.paths import kubectl
from outlive.base.process import output
from outlive.base.wait import wait_for
from outlive.lab.inventory import Host
from outlive.lab.kube import Cluster

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def test_the_node_is_in_the_cluster(cluster: Cluster, tested: Host, told: Callable[[str], Any], start_seconds: float) -> None:
    nodes = wait_for("the cluster", "an answer with its nodes", cluster.nodes, bool, within=start_seconds, every=5)
    assert [(node.name, node.addresses) for node in nodes] == [(tested.name, (tested.address,))]
    assert nodes[0].kubelet == f"v{told('kubernetes_packages_version')}"


def test_it_takes_no_pods_of_users(cluster: Cluster, tested: Host, start_seconds: float) -> None:
    """Unless it is told to: the scenario's isn't."""
    wait_for(
        f"node {tested.name}",
        "kubeadm's taint",
        lambda: cluster.node(tested.name).shut,
        lambda taints: "node-role.kubernetes.io/control-plane" in taints,
        within=start_seconds,
        every=5,
    )


def test_its_programs_run(cluster: Cluster, tested: Host, start_seconds: float) -> None:
    wanted = {f"{program}-{tested.name}" for program in PROGRAMS}
    wait_for(
        "pods of the control plane",
        "ready",
        lambda: {pod.name for pod in cluster.pods("kube-system") if pod.ready},
        lambda ready: wanted <= ready,
        within=start_seconds,
        every=5,
    )


def test_kubectl_was_fetched(told: Callable[[str], Any]) -> None:
    assert f"v{told('kubernetes_packages_version')}" in output([str(kubectl()), "version", "--client"])


def test_images_came_from_where_containerd_was_told(host: testinfra.host.Host, told: Callable[[str], Any]) -> None:
    pulled = host.check_output("ctr --namespace k8s.io images list --quiet").splitlines()
    assert f"registry.k8s.io/kube-apiserver:v{told('kubernetes_packages_version')}" in pulled
    assert told("containerd_sandbox_image") in pulled


def test_credentials_are_their_owner_s_alone(host: testinfra.host.Host) -> None:
    assert host.file("/etc/kubernetes/admin.conf").mode == 0o600
    assert Path(os.environ["KUBECONFIG"]).stat().st_mode & 0o777 == 0o600
