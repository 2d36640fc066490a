"""Filters of the role storage_tutorial: which objects aren't what they are for yet, and which are still there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


def _place(each: dict[str, Any], namespace: str) -> str:
    """Return an object's namespace and name; a manifest that names no namespace means `namespace`."""
    return f"{each['metadata'].get('namespace', namespace)}/{each['metadata']['name']}"


def _is_ready(each: dict[str, Any]) -> bool:
    """Return whether a claim is bound, a pod Ready or a Deployment available, as the API shows it."""
    status = each.get("status", {})
    conditions = {condition["type"] for condition in status.get("conditions", []) if condition["status"] == "True"}
    return status.get("phase") == "Bound" or not conditions.isdisjoint({"Ready", "Available"})


def not_ready(wanted: list[dict[str, Any]], found: list[dict[str, Any]], namespace: str) -> list[str]:
    """Return kind, namespace and name of each object that is `wanted` and isn't ready in `found`, all that the cluster has of that kind."""
    ready = {_place(each, namespace) for each in found if _is_ready(each)}
    return [f"{each['kind']} {_place(each, namespace)}" for each in wanted if _place(each, namespace) not in ready]


def remaining(found: list[dict[str, Any]], leaving: list[dict[str, Any]]) -> list[str]:
    """Return the names of those in `found` that are to leave, the pods that a Deployment made among them.

    A Deployment with a namespace of its own goes with that, where nobody looks for its pods.
    """
    names = [re.escape(each["metadata"]["name"]) for each in leaving]
    made = [
        rf"{re.escape(each['metadata']['name'])}-[0-9a-z]+-[0-9a-z]{{5}}"
        for each in leaving
        if each["kind"] == "Deployment" and "namespace" not in each["metadata"]
    ]
    leaves = re.compile("|".join([*names, *made]))
    return [each["metadata"]["name"] for each in found if leaves.fullmatch(each["metadata"]["name"])]


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"storage_tutorial_not_ready": not_ready, "storage_tutorial_remaining": remaining}
