"""The cluster as seen from the host."""

from __future__ import annotations

import stat
from pathlib import Path

from outlive.base.wait import wait_for
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster

SYSTEM_NAMESPACES = ("kube-system", "kube-flannel")
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
"""The taint by which kubeadm keeps pods of users from a control plane."""


def test_kubeconfig_is_private(cluster: Cluster) -> None:
    """The kubeconfig on the host can be read by its owner alone."""
    assert stat.S_IMODE(Path(cluster.kubeconfig).stat().st_mode) == 0o600


def test_api_server_has_its_lab_address(lab: Inventory, cluster: Cluster) -> None:
    """The kubeconfig leads to the control plane's address in the lab's network."""
    assert f"//{lab.group('control_plane')[0].address}:" in cluster.server


def test_control_plane_takes_pods_where_it_is_told_to(lab: Inventory, cluster: Cluster) -> None:
    """The taint that kubeadm sets keeps pods of users from the control plane, unless the inventory lets them in."""
    kept_away = CONTROL_PLANE in cluster.node(lab.group("control_plane")[0].name).shut
    assert kept_away is (lab.setting("control_plane_takes_pods") != str(True))


def test_system_pods_run(cluster: Cluster) -> None:
    """Every pod of the system's namespaces is Ready."""
    wait_for(
        f"pods of {' and '.join(SYSTEM_NAMESPACES)}",
        "all Ready",
        lambda: [pod for pod in cluster.all_pods() if pod.namespace in SYSTEM_NAMESPACES],
        lambda pods: bool(pods) and all(pod.ready and not pod.deleted for pod in pods),
        within=300,
        describe=lambda pods: ", ".join(f"{pod.name} {pod.state}" for pod in pods if not pod.ready) or "no pods",
    )
