"""Filters of the role storage_tutorial: which objects aren't what they are for, which are still there, and whose data a volume has."""

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
    """Return the names of those in `found` that are to leave, the pods that a Deployment or a StatefulSet made among them.

    A Deployment with a namespace of its own goes with that, where nobody looks for its pods.
    """
    names = [re.escape(each["metadata"]["name"]) for each in leaving]
    made = [
        rf"{re.escape(each['metadata']['name'])}-[0-9a-z]+-[0-9a-z]{{5}}"
        for each in leaving
        if each["kind"] == "Deployment" and "namespace" not in each["metadata"]
    ]
    made += [rf"{re.escape(each['metadata']['name'])}-[0-9]+" for each in leaving if each["kind"] == "StatefulSet"]
    leaves = re.compile("|".join([*names, *made]))
    return [each["metadata"]["name"] for each in found if leaves.fullmatch(each["metadata"]["name"])]


def misplaced(wanted: list[dict[str, Any]], volumes: list[dict[str, Any]], claims: list[dict[str, Any]], namespace: str) -> list[str]:
    """Return a sentence for each volume and claim in `wanted` that can't come together, as `volumes` and `claims` of the cluster are now.

    Applied all the same, the claim would wait for ever, or what is immutable would be refused.
    """
    there = {each["metadata"]["name"]: each for each in volumes}
    live = {_place(each, namespace): each for each in claims}
    found = []
    for each in wanted:
        name = each["metadata"]["name"]
        if each["kind"] == "PersistentVolume" and name in there:
            found += _misplaced_volume(each["spec"], name, there[name]["spec"], live)
        elif each["kind"] == "PersistentVolumeClaim" and "volumeName" in each["spec"]:
            claim = live.get(_place(each, namespace), {})
            has = claim.get("spec", {}).get("volumeName") or each["spec"]["volumeName"]
            what = ""
            if has != each["spec"]["volumeName"]:
                what = f"has the volume {has}, and its data is in {each['spec']['volumeName']}"
            elif claim.get("status", {}).get("phase") == "Lost":
                # Kubernetes never binds it again, whatever becomes of the volume.
                what = f"is Lost, since {has} isn't bound to it any more; what was written is still in that volume's folder"
            if what:
                found.append(
                    f"The claim {_place(each, namespace)} {what}: delete what uses the claim, then "
                    f"`kubectl -n {_place(each, namespace).replace('/', ' delete pvc ')}`, and run this again."
                )
    return found


KINDS = ("nfs", "iscsi", "local", "hostPath")
"""What a PersistentVolume of the tutorial may lead to, by its field."""


def _misplaced_volume(wanted: dict[str, Any], name: str, there: dict[str, Any], live: dict[str, dict[str, Any]]) -> list[str]:
    """Return why a volume that is there can't be for the claim that it is wanted for, or nothing."""
    kinds = [next((each for each in KINDS if each in spec), "unknown") for spec in (there, wanted)]
    if kinds[0] != kinds[1]:
        cure = f"delete what uses it, its claim and `kubectl delete pv {name}`, and run this again."
        if name == "mysql-pv" and kinds[0] in ("nfs", "iscsi"):
            cure = f"set storage_tutorial_mysql_storage back to {kinds[0]}, or move the data as docs/storage.md says."
        return [f"The volume {name} is of the kind {kinds[0]}, and the inventory's is {kinds[1]}, but data doesn't move by itself: {cure}"]
    if "nfs" in wanted and there.get("nfs", {}) | wanted["nfs"] != there.get("nfs", {}):
        places = [f"{nfs.get('server')}:{nfs.get('path')}" for nfs in (there.get("nfs", {}), wanted["nfs"])]
        return [
            f"The volume {name} leads to {places[0]}, and the inventory to {places[1]}, but a volume's place can't be changed: put the inventory "
            f"back, or move the data on the server, delete what uses the volume, its claim and `kubectl delete pv {name}`, and run this again."
        ]
    reference, held = wanted.get("claimRef"), there.get("claimRef", {})
    if reference is None or not held:
        return []
    holder, claim = f"{held['namespace']}/{held['name']}", f"{reference['namespace']}/{reference['name']}"
    bound = live.get(holder, {}).get("metadata", {}).get("uid") == held["uid"] if "uid" in held else holder == claim
    if bound and holder == claim:
        return []
    if bound:
        return [
            f"The volume {name} is bound to the claim {holder}, and is kept for {claim}: delete what uses {holder}, then "
            f"`kubectl -n {holder.replace('/', ' delete pvc ')}`, and run this again."
        ]
    patch = '{"op": "remove", "path": "/spec/claimRef/uid"}'
    if holder != claim:
        value = f'{{"namespace": "{reference["namespace"]}", "name": "{reference["name"]}"}}'
        patch = f'{{"op": "replace", "path": "/spec/claimRef", "value": {value}}}'
    return [
        f"The volume {name} is Released: its claim {holder} is gone, and what that claim's pods wrote is still in {_folder(there)}. "
        f"To use the volume again with this data, run `kubectl patch pv {name} --type=json --patch='[{patch}]'`, then this again."
    ]


def _folder(volume: dict[str, Any]) -> str:
    """Return where a volume's data lies."""
    return str(volume.get("nfs", {}).get("path") or f"the disk of {volume.get('iscsi', {}).get('iqn')}")


OFFICIAL = re.compile(r"(?:[^/]*[.:][^/]*/|localhost/)?(?:library/)?mysql:(?P<series>(?:[5-9]|[1-9]\d)\.\d+)(?:[.-].*)?")
"""MySQL's own image by a tag with a version, the oldest of which is 5.5: at Docker Hub, or by that name in another registry."""


def other_data(note: str, uuid: str, image: str) -> str:
    """Return why MySQL's data isn't what was noted of it, or nothing.

    Args:
        note: UUID and version of the server when its data was first seen, parted by a space; empty where it never was.
        uuid: The server's UUID now, which lies in its data folder; empty where the server wasn't asked yet.
        image: The server's image; the tag of MySQL's own image names its version, from whatever registry, and that of another one anything.
    """
    noted, _, version = note.partition(" ")
    if not note:
        return ""
    if uuid and uuid != noted:
        return f"MySQL's folder isn't the one that it had: its server is {uuid}, and was {noted}"
    tag = OFFICIAL.fullmatch(image.partition("@")[0])
    if tag and tag.group("series") != ".".join(version.split(".")[:2]):
        return f"The image is {image}, and MySQL's data was made by {version}, whose files no other series opens unchanged"
    return ""


def serves(deployment: dict[str, Any]) -> bool:
    """Return whether all pods of a Deployment are of its present generation and one of them serves at least: others may wait for that one."""
    wanted, status = deployment["spec"]["replicas"], deployment.get("status", {})
    return bool(
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) > 0
    )


def ready(pods: list[dict[str, Any]]) -> list[str]:
    """Return the names of the pods that are Ready and stay."""
    return [each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"] and _is_ready(each)]


def states(pods: list[dict[str, Any]]) -> str:
    """Return the pods' names and phases, and the last words of each container that ended."""
    found = []
    for pod in pods:
        ended = [
            state["terminated"]
            for container in pod.get("status", {}).get("containerStatuses", [])
            for state in (container.get("state", {}), container.get("lastState", {}))
            if state.get("terminated", {}).get("message")
        ]
        words = f" ({' '.join(ended[0]['message'].split())})" if ended else ""
        found.append(f"{pod['metadata']['name']} {pod.get('status', {}).get('phase', 'unknown')}{words}")
    return ", ".join(found) or "none"


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {
            "storage_tutorial_misplaced": misplaced,
            "storage_tutorial_not_ready": not_ready,
            "storage_tutorial_other_data": other_data,
            "storage_tutorial_ready": ready,
            "storage_tutorial_remaining": remaining,
            "storage_tutorial_serves": serves,
            "storage_tutorial_states": states,
        }
