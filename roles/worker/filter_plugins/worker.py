"""Filters of the role worker: which cluster a kubeconfig is of, which nodes are Ready, which pods one that is to leave has still, why a kubelet ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import yaml

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
            "worker_last_words": last_words,
            "worker_ready": ready,
            "worker_still_there": still_there,
        }
