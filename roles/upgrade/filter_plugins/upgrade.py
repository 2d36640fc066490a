"""Filter of the role upgrade: which Deployments a node that gives its pods away would have to wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def not_available(deployments: list[dict[str, Any]]) -> list[str]:
    """Return namespace and name of each Deployment that has fewer available pods than it wants."""
    return [
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in deployments
        # The API leaves a field out that is 0.
        if each["spec"]["replicas"] > each.get("status", {}).get("availableReplicas", 0)
    ]


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"upgrade_not_available": not_available}
