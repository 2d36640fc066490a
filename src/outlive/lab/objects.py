"""The cluster's objects, as far as the verifications look at them; each is made from the API's plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Json = Mapping[str, Any]
TOLERATED_SECONDS = 300
"""For how long a pod that says nothing of it tolerates that its node isn't ready or isn't reached: the API server adds that."""


@dataclass(frozen=True)
class Node:
    """A node with its Ready condition."""

    name: str
    ready: str
    """Ready condition: True, False or Unknown."""
    reason: str
    addresses: tuple[str, ...]
    """Internal addresses."""
    kubelet: str
    runtime: str
    system: str
    kernel: str
    boot: str = ""
    """Id of the machine's present start: another one after each boot."""
    shut: tuple[str, ...] = ()
    """What keeps pods away from it: keys of the taints that do, as a node of its own accord or a watcher gave them."""

    @property
    def state(self) -> str:
        """What ``kubectl get nodes`` calls it, with the reason where it isn't Ready."""
        return "Ready" if self.ready == "True" else f"NotReady ({self.reason or 'no condition'})"


@dataclass(frozen=True)
class Pod:
    """A pod, told apart from a namesake by its uid."""

    uid: str
    name: str
    namespace: str
    node: str
    phase: str
    running: bool
    """Every container runs."""
    ready: bool
    deleted: bool
    """It has a deletion timestamp."""
    reason: str
    """Why a container waits or ended, where one does."""
    restarts: int
    tolerations: tuple[Json, ...] = ()
    owner: str = ""
    """Uid of what made it: the ReplicaSet of a Deployment's pod."""

    @property
    def over(self) -> bool:
        """It has ended for good, and is only a record: a kubelet that was shut down in order leaves such pods."""
        return self.phase in ("Failed", "Succeeded")

    @property
    def unreachable_seconds(self) -> int | None:
        """For how long it tolerates that its node isn't reached, in seconds; None where for ever."""
        for each in self.tolerations:
            if each.get("key") == "node.kubernetes.io/unreachable" and "tolerationSeconds" in each:
                return int(each["tolerationSeconds"])
        return None

    @property
    def state(self) -> str:
        """What ``kubectl get pods`` calls it."""
        return "Terminating" if self.deleted else self.reason or self.phase


@dataclass(frozen=True)
class SecretKey:
    """One key of a Secret, as a container's environment refers to it."""

    name: str
    key: str


@dataclass(frozen=True)
class Deployment:
    """A Deployment with one container that matters."""

    name: str
    wanted: int
    available: int
    image: str
    selector: str
    password: SecretKey | None
    """Where MYSQL_ROOT_PASSWORD comes from."""
    tolerations: tuple[Json, ...] = ()
    """What its pods tolerate."""
    standby: bool = False
    """One of its pods serves, and the others wait for its lock."""

    @property
    def expected(self) -> int:
        """How many pods MySQL's has when all is well: one, and where that is asked for another one that waits."""
        return 2 if self.standby else 1

    def tolerated_seconds(self, condition: str) -> int | None:
        """Return for how long its pods tolerate that their node is ``not-ready`` or ``unreachable``; None where for ever."""
        key = f"node.kubernetes.io/{condition}"
        ours = [each for each in self.tolerations if each.get("key") in (key, None, "") and each.get("effect") in ("NoExecute", None, "")]
        if not ours:
            return TOLERATED_SECONDS
        return min((int(each["tolerationSeconds"]) for each in ours if "tolerationSeconds" in each), default=None)


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume; ``server`` and ``path`` are those of one on NFS, ``target`` that of a disk over iSCSI."""

    name: str
    phase: str
    reclaim: str
    claim: str
    storage_class: str
    capacity: str
    server: str
    path: str
    target: str = ""


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim."""

    name: str
    phase: str
    volume: str


def node(data: Json) -> Node:
    """Read a node."""
    status = data.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    ready = conditions.get("Ready", {})
    info = status.get("nodeInfo", {})
    return Node(
        name=data["metadata"]["name"],
        ready=ready.get("status", "Unknown"),
        reason=ready.get("reason", ""),
        addresses=tuple(each["address"] for each in status.get("addresses", []) if each["type"] == "InternalIP"),
        kubelet=info.get("kubeletVersion", ""),
        runtime=info.get("containerRuntimeVersion", ""),
        system=info.get("osImage", ""),
        kernel=info.get("kernelVersion", ""),
        boot=info.get("bootID", ""),
        shut=tuple(each["key"] for each in data.get("spec", {}).get("taints", []) if each["effect"] in ("NoSchedule", "NoExecute")),
    )


def pod(data: Json) -> Pod:
    """Read a pod."""
    meta, spec, status = data["metadata"], data.get("spec", {}), data.get("status", {})
    containers = status.get("containerStatuses", [])
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    reasons = [
        detail.get("reason", "")
        for each in containers
        for kind, detail in each.get("state", {}).items()
        if kind in ("waiting", "terminated")
    ]
    return Pod(
        uid=meta["uid"],
        name=meta["name"],
        namespace=meta.get("namespace", ""),
        node=spec.get("nodeName", ""),
        phase=status.get("phase", "Unknown"),
        running=bool(containers) and all("running" in each.get("state", {}) for each in containers),
        ready=conditions.get("Ready") == "True",
        deleted="deletionTimestamp" in meta,
        reason=next((reason for reason in reasons if reason), status.get("reason", "")),
        restarts=sum(each.get("restartCount", 0) for each in containers),
        tolerations=tuple(spec.get("tolerations", [])),
        owner=next((each["uid"] for each in meta.get("ownerReferences", [])), ""),
    )


def deployment(data: Json) -> Deployment:
    """Read a Deployment."""
    container = data["spec"]["template"]["spec"]["containers"][0]
    references = {each["name"]: each.get("valueFrom", {}).get("secretKeyRef") for each in container.get("env", [])}
    reference = references.get("MYSQL_ROOT_PASSWORD")
    return Deployment(
        name=data["metadata"]["name"],
        wanted=data["spec"].get("replicas", 1),
        available=data.get("status", {}).get("availableReplicas", 0),
        image=container["image"],
        selector=",".join(f"{key}={value}" for key, value in data["spec"]["selector"]["matchLabels"].items()),
        password=SecretKey(reference["name"], reference["key"]) if reference else None,
        tolerations=tuple(data["spec"]["template"]["spec"].get("tolerations", [])),
        standby="MYSQL_STANDBY" in references,
    )


def volume(data: Json) -> Volume:
    """Read a PersistentVolume."""
    spec = data["spec"]
    reference = spec.get("claimRef", {})
    share = spec.get("nfs", {})
    return Volume(
        name=data["metadata"]["name"],
        phase=data.get("status", {}).get("phase", ""),
        reclaim=spec.get("persistentVolumeReclaimPolicy", ""),
        claim=f"{reference['namespace']}/{reference['name']}" if reference else "",
        storage_class=spec.get("storageClassName", ""),
        capacity=spec.get("capacity", {}).get("storage", ""),
        server=share.get("server", ""),
        path=share.get("path", ""),
        target=spec.get("iscsi", {}).get("iqn", ""),
    )


def claim(data: Json) -> Claim:
    """Read a PersistentVolumeClaim."""
    return Claim(
        name=data["metadata"]["name"],
        phase=data.get("status", {}).get("phase", ""),
        volume=data.get("spec", {}).get("volumeName", ""),
    )


def flag(command: Sequence[str], name: str) -> str | None:
    """Return the value that a container's command line gives a flag, as ``--name=value`` or ``--name value``: the last one counts. None without it."""
    value = None
    for word, following in pairwise((*command, "")):
        given, equals, text = word.partition("=")
        if given == name:
            value = text if equals else following
    return value
