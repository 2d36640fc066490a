"""Filters of the role network_policy: which manifests are no NetworkPolicies, which policies nobody wants any more, and where the enforcer isn't yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Manifest = Mapping[str, Any]


def unusable(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return the manifests that are no NetworkPolicy with a name, a namespace and a specification."""
    return [each for each in manifests if each.get("kind") != "NetworkPolicy" or not all(_key(each)) or not each.get("spec")]


def obsolete(found: Iterable[Manifest], wanted: Iterable[Manifest]) -> list[dict[str, str]]:
    """Return namespace and name of each policy of the role's that is there and isn't wanted."""
    keys = {_key(each) for each in wanted}
    return [{"namespace": namespace, "name": name} for namespace, name in map(_key, found) if (namespace, name) not in keys]


def waiting(daemons: Iterable[Manifest]) -> str:
    """Return in words what is missing until a DaemonSet's pods run on all nodes as it is described now; empty where they do."""
    for daemon in daemons:
        status, wanted = daemon.get("status", {}), daemon.get("status", {}).get("desiredNumberScheduled", 0)
        if status.get("observedGeneration") != daemon["metadata"]["generation"] or not wanted:
            return "no pod of it was made yet"
        ready = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0))
        return f"{ready} of {wanted} nodes have it" if ready < wanted else ""
    return "it isn't in the cluster"


def _key(manifest: Manifest) -> tuple[str, str]:
    metadata = manifest.get("metadata", {})
    return metadata.get("namespace", ""), metadata.get("name", "")


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"network_policy_unusable": unusable, "network_policy_obsolete": obsolete, "network_policy_waiting": waiting}
