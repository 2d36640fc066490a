"""Filter of the role worker: which pods a node that is to leave has still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of a pod that its node makes from a file."""


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


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"worker_still_there": still_there}
