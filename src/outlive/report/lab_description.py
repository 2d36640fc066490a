"""What a report says about the lab that it is about: host, machines, versions and the settings that decide a fail-over's speed."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from outlive.base.errors import LabError, NotFoundError
from outlive.lab import nfs, objects, power
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.mysql import DEPLOYMENT, NAMESPACE
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from outlive.report.model import Run

TOLERATION = "toleration of an unreachable node (s)"
"""What a report calls the time that MySQL's pod may stay with a node that isn't heard of."""
KUBERNETES_DEFAULT = "Kubernetes' default"


def into(run: Run, lab: Lab) -> None:
    """Put the description of a lab into a run, as far as it can be had."""
    run.lab = _facts(lambda: machines(lab.inventory))
    run.versions = _facts(lambda: versions(lab.cluster))
    run.settings = _facts(lambda: settings(lab.cluster, lab.inventory, lab.remote))


def machines(inventory: Inventory) -> dict[str, Any]:
    """Return the host and the machines."""
    return {
        "host": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        },
        "inventory": inventory.source,
        "network": inventory.setting("lab_network"),
        "machines": [
            {
                "name": host.name,
                "address": host.address,
                "memory_mib": host.variables.get("lab_memory"),
                "cpus": host.variables.get("lab_cpus"),
                "groups": [name for name, members in inventory.groups.items() if host.name in members and name != "all"],
                "power": _power(host.name, inventory),
            }
            for host in inventory.hosts.values()
        ],
    }


def versions(cluster: Cluster) -> dict[str, str]:
    """Return the versions that run, as the nodes tell them; several of a kind are joined."""
    nodes = cluster.nodes()
    return {
        "kubernetes": _joined(node.kubelet for node in nodes),
        "container runtime": _joined(node.runtime for node in nodes),
        "system": _joined(node.system for node in nodes),
        "kernel": _joined(node.kernel for node in nodes),
        "MySQL image": _or_unknown(lambda: cluster.deployment(NAMESPACE, DEPLOYMENT).image),
    }


def settings(cluster: Cluster, inventory: Inventory, remote: Remote) -> dict[str, str]:
    """Return the settings that decide how fast a fail-over is."""
    manager = cluster.commands("kube-system", "component=kube-controller-manager")
    server = inventory.group("nfs_servers")[0].name
    return {
        "node-monitor-grace-period": objects.flag(manager, "--node-monitor-grace-period") or KUBERNETES_DEFAULT,
        TOLERATION: _or_unknown(lambda: _toleration(cluster)),
        "NFSv4 lease (s)": _or_unknown(lambda: str(nfs.lease_seconds(remote, server))),
    }


def _toleration(cluster: Cluster) -> str:
    deployment = cluster.deployment(NAMESPACE, DEPLOYMENT)
    for pod in cluster.pods(NAMESPACE, deployment.selector):
        return "for ever" if pod.unreachable_seconds is None else str(pod.unreachable_seconds)
    raise NotFoundError("MySQL has no pod: its tolerations can be read only from one, so run `outlive tutorial apply`.")


def _power(name: str, inventory: Inventory) -> str:
    """Return what the machine is made of; machines that exist without Vagrant have no VM that is known here."""
    try:
        provider = power.find(name).provider
    except LabError:
        return "its own hardware"
    driver = inventory.setting("lab_libvirt_driver")
    return f"{provider} ({driver})" if provider == "libvirt" and driver else provider


def _or_unknown(read: Callable[[], str]) -> str:
    """Return what ``read`` finds, or 'unknown': a description must not fail a run."""
    try:
        return read()
    except LabError:
        return "unknown"


def _joined(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values)) or "unknown"


def _facts(read: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return a description, or the sentence why there is none."""
    try:
        return dict(read())
    except LabError as error:
        return {"unknown": str(error)}
