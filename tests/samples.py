"""Objects as the API gives them, and a clock that only moves when it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from outlive.base.clock import Clock, Instant

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def instant(seconds: float) -> Instant:
    """Return the moment that many seconds after a fixed one."""
    return Instant(1000.0 + seconds, BEGAN + timedelta(seconds=seconds))


class ManualClock(Clock):
    """A clock whose time passes only while somebody rests."""

    def __init__(self) -> None:
        """Begin at second 0."""
        self.seconds = 0.0

    def now(self) -> Instant:
        """Return the present moment."""
        return instant(self.seconds)

    def rest(self, seconds: float) -> None:
        """Let time pass at once."""
        self.seconds += seconds


def node(name: str = "n1", ready: str = "True", address: str = "192.0.2.11", boot: str = "boot-1") -> dict[str, Any]:
    """Return a node's JSON."""
    return {
        "metadata": {"name": name, "resourceVersion": "7"},
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady" if ready == "True" else "NodeStatusUnknown"}],
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "kubeletVersion": "v9.9.9",
                "containerRuntimeVersion": "containerd://9.9",
                "osImage": "Debian",
                "kernelVersion": "9.9",
                "bootID": boot,
            },
        },
    }


def lease(renewed: str) -> dict[str, Any]:
    """Return the JSON of a node's lease."""
    return {"spec": {"renewTime": renewed}}


def pod(uid: str = "u1", node: str = "n1", **status: Any) -> dict[str, Any]:  # noqa: ANN401  the API's JSON
    """Return the JSON of a pod of MySQL; ``deleted``, ``phase``, ``running``, ``ready`` and ``waiting`` say in which state."""
    state: dict[str, Any] = {"running": {}} if status.get("running", True) else {"waiting": {"reason": status.get("waiting", "Pending")}}
    meta: dict[str, Any] = {
        "name": f"mysql-{uid}",
        "uid": uid,
        "namespace": "default",
        "resourceVersion": "8",
        "ownerReferences": [{"uid": "replicaset"}],
    }
    if status.get("deleted"):
        meta["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return {
        "metadata": meta,
        "spec": {
            "nodeName": node,
            "containers": [{"command": ["mysqld"], "args": ["--flag=1"]}],
            "tolerations": [{"key": "node.kubernetes.io/unreachable", "tolerationSeconds": 300}],
        },
        "status": {
            "phase": status.get("phase", "Running"),
            "conditions": [{"type": "Ready", "status": str(status.get("ready", True))}],
            "containerStatuses": [{"state": state, "restartCount": 1}],
        },
    }


def tolerations(seconds: int) -> list[dict[str, Any]]:
    """Return what MySQL's Deployment has its pods tolerate, for that many seconds."""
    return [
        {"key": f"node.kubernetes.io/{condition}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
        for condition in ("not-ready", "unreachable")
    ]


def deployment(
    available: int = 1, wanted: int = 1, secret: bool = True, tolerated: Sequence[dict[str, Any]] = (), standby: bool = False
) -> dict[str, Any]:
    """Return the JSON of MySQL's Deployment."""
    reference = {"name": "MYSQL_ROOT_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "mysql-root", "key": "password"}}}
    container = {"image": "mysql:5.6", "env": [reference] * secret + [{"name": "MYSQL_STANDBY", "value": "true"}] * standby}
    return {
        "metadata": {"name": "mysql"},
        "spec": {
            "replicas": wanted,
            "selector": {"matchLabels": {"app": "mysql"}},
            "template": {"spec": {"containers": [container]} | ({"tolerations": list(tolerated)} if tolerated else {})},
        },
        "status": {"availableReplicas": available} if available else {},
    }


def volume() -> dict[str, Any]:
    """Return the JSON of MySQL's volume."""
    return {
        "metadata": {"name": "mysql-pv"},
        "spec": {
            "claimRef": {"namespace": "default", "name": "mysql-pvc"},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "nfs",
            "capacity": {"storage": "1Gi"},
            "nfs": {"server": "192.0.2.10", "path": "/nfsdata/mysql-pv"},
        },
        "status": {"phase": "Bound"},
    }


def claim() -> dict[str, Any]:
    """Return the JSON of MySQL's claim."""
    return {"metadata": {"name": "mysql-pvc"}, "spec": {"volumeName": "mysql-pv"}, "status": {"phase": "Bound"}}


INVENTORY: dict[str, Any] = {
    "_meta": {
        "hostvars": {
            "m": {
                "ansible_host": "192.0.2.10",
                "lab_network": "192.0.2.0/24",
                "lab_memory": 2048,
                "lab_cpus": 2,
                "lab_libvirt_driver": "qemu",
            },
            "n1": {"ansible_host": "192.0.2.11", "ansible_ssh_private_key_file": "{{ lookup('file', 'x') }}"},
            "n2": {"ansible_host": "192.0.2.12", "ansible_user": "admin", "ansible_port": 2222, "ansible_ssh_private_key_file": "/key"},
        }
    },
    "all": {"children": ["ungrouped", "cluster", "nfs_servers"]},
    "cluster": {"children": ["control_plane", "workers"]},
    "control_plane": {"hosts": ["m"]},
    "workers": {"hosts": ["n1", "n2"]},
    "nfs_servers": {"hosts": ["m"]},
}
"""What ``ansible-inventory --list`` prints for a small lab."""
