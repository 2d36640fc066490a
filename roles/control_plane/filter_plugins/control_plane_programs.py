"""Filters that say which of the control plane's programs the kubelet hasn't started anew yet, after kubeadm wrote their manifests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

HASH = "kubernetes.io/config.hash"
"""What the kubelet notes on a static pod: a hash of the manifest that it was made from."""


def changed_programs(after: Iterable[dict[str, Any]], before: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of the programs whose manifests aren't what they were.

    Args:
        after: Files of the folder of manifests, as ``ansible.builtin.find`` gives them with their checksums.
        before: The same from before.
    """
    known = {(file["path"], file["checksum"]) for file in before}
    return sorted(PurePosixPath(file["path"]).stem for file in after if (file["path"], file["checksum"]) not in known)


def unstarted_programs(
    pods: Iterable[dict[str, Any]], before: Iterable[dict[str, Any]], programs: Iterable[str], changed: Iterable[str]
) -> list[str]:
    """Return which of the programs aren't Ready, or still run as their manifests were before.

    Args:
        pods: The programs' pods, as the API gives them.
        before: The same from before kubeadm wrote the manifests.
        programs: Names of the programs that must be there, the pods' label ``component``.
        changed: Names of those whose manifests differ: the pod of such a program is another one than before.
    """
    old = {_program(pod): _hash(pod) for pod in before}
    now = {_program(pod): pod for pod in pods}
    outdated = {name for name in changed if name in now and _hash(now[name]) == old.get(name)}
    return [name for name in programs if name not in now or name in outdated or not _ready(now[name])]


def _program(pod: dict[str, Any]) -> str:
    return str(pod["metadata"].get("labels", {}).get("component", ""))


def _hash(pod: dict[str, Any]) -> str:
    return str(pod["metadata"].get("annotations", {}).get(HASH, ""))


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return [each["status"] for each in conditions if each["type"] == "Ready"] == ["True"]


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters by their names."""
        return {"control_plane_changed_programs": changed_programs, "control_plane_unstarted_programs": unstarted_programs}
