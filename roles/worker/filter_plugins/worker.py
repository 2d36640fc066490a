"""Filters of the role worker: whose a machine is by what lies on it, which nodes are Ready, which pods one that is to leave has still, why a kubelet ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of a pod that its node makes from a file."""


def authority(kubeconfig: str) -> str:
    """Return the certificate authority by which a kubeconfig knows its cluster; an empty string where the text has none."""
    try:
        return str(yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["certificate-authority-data"])
    except (yaml.YAMLError, LookupError, TypeError):
        return ""


def ready(nodes: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of the nodes that are Ready."""
    return [
        node["metadata"]["name"]
        for node in nodes
        if ("Ready", "True") in [(each["type"], each["status"]) for each in node.get("status", {}).get("conditions") or []]
    ]


def certificate_name(pem: str) -> str:
    """Return the name of the node by which a kubelet's certificate makes it known; an empty string where there is no certificate of a kubelet."""
    try:
        names = x509.load_pem_x509_certificate(pem.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    kind, _, name = str(names[0].value if names else "").rpartition(":")
    return name if kind == "system:node" else ""


def internal_address(nodes: Iterable[Mapping[str, Any]]) -> str:
    """Return the address that a node has in the cluster; an empty string where there is no node, or its kubelet has told none."""
    found = [each for node in nodes for each in node.get("status", {}).get("addresses") or [] if each["type"] == "InternalIP"]
    return str(found[0]["address"]) if found else ""


def is_machine(nodes: Sequence[Mapping[str, Any]], ids: Iterable[str], address: str) -> bool:
    """Return whether a machine is the one whose kubelet made the node: the same start of it, or the same system on the same board at the same address.

    Args:
        nodes: The node, or none.
        ids: Whatever the machine calls itself by: of its system, of its board, and of this start. Disks that were copied share the first, and boards of
            one kind may share the second.
        address: The address that it has in the cluster.
    """
    own = {each.strip("\0 \n").lower() for each in ids} - {""}
    for node in nodes:
        told = {name: str(value).lower() for name, value in (node.get("status", {}).get("nodeInfo") or {}).items()}
        same_system = {told.get("machineID"), told.get("systemUUID")} <= own and internal_address([node]) == address
        if told.get("bootID") in own or same_system:
            return True
    return False


def health(configuration: str, own: Mapping[str, Any]) -> str:
    """Return where a kubelet says that it is well, by its configuration and the settings over it; an empty string where it tells nobody."""
    told = {"healthzBindAddress": "127.0.0.1", "healthzPort": 10248, **(yaml.safe_load(configuration) or {}), **own}
    host = str(told["healthzBindAddress"])
    where = f"[{host}]" if ":" in host else host
    return f"http://{where}:{told['healthzPort']}/healthz" if int(told["healthzPort"]) > 0 else ""


def still_there(pods: list[dict[str, Any]]) -> list[str]:
    """Return each of a node's pods that would have to go, with its state: all but those that belong to the node, and those that ended."""
    return [
        f"{each['metadata']['namespace']}/{each['metadata']['name']} "
        f"({'Terminating' if 'deletionTimestamp' in each['metadata'] else each['status']['phase']})"
        for each in pods
        if each["status"]["phase"] not in ("Succeeded", "Failed")
        and MIRROR not in each["metadata"].get("annotations", {})
        and not any(owner["kind"] == "DaemonSet" for owner in each["metadata"].get("ownerReferences", []))
    ]


def last_words(lines: Sequence[str]) -> str:
    """Return the line of a kubelet's log that says why it ended, or its last one."""
    told = [" ".join(line.split()) for line in lines if line.strip()]
    ended = [line for line in told if '"command failed"' in line]
    return (ended or told or ["nothing"])[-1][:300]


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "worker_authority": authority,
            "worker_certificate_name": certificate_name,
            "worker_health": health,
            "worker_internal_address": internal_address,
            "worker_is_machine": is_machine,
            "worker_last_words": last_words,
            "worker_ready": ready,
            "worker_still_there": still_there,
        }
