"""Filter of the role upgrade: which Deployments a node that gives its pods away would have to wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

AVAILABLE = "outlive/available"


def not_available(deployments: list[dict[str, Any]]) -> list[str]:
    """Return namespace and name of each Deployment that has fewer available pods than it wants.

    One of whose pods some only stand by says in the annotation outlive/available how many are available when all is well.
    """
    return [
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in deployments
        # The API leaves a field out that is 0.
        if int(each["metadata"].get("annotations", {}).get(AVAILABLE, each["spec"]["replicas"]))
        > each.get("status", {}).get("availableReplicas", 0)
    ]


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"upgrade_not_available": not_available}
