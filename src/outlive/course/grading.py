"""What is still wrong with an exercise: pure functions of what was seen in the cluster and on the NFS server.

A finding is one sentence: the object, what is seen, what is wanted. It never says how to get there. What wasn't seen is a finding too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from outlive.lab import objects
from outlive.lab.objects import Json

WRITER = 1000
"""The user that exercise 4's pod has to stay."""


@dataclass(frozen=True)
class File:
    """A file or folder of an exercise on the NFS server."""

    owner: int
    mode: int
    """Permissions, as ``chmod`` takes them."""
    text: str = ""


@dataclass(frozen=True)
class Seen:
    """What there is of an exercise, each object by its name."""

    namespace: str
    folder: str
    """The exercise's folder on the NFS server."""
    pods: Mapping[str, Json]
    claims: Mapping[str, Json]
    volumes: Mapping[str, Json]
    deployments: Mapping[str, Json]
    files: Mapping[str, File]
    """By their paths below the folder."""


def no_volume_fits(seen: Seen) -> list[str]:
    """Exercise 1: the claim has the volume, which is as it was."""
    return [
        *_volume(seen, "exercise-1-data", "data", storage_class="exercise-1"),
        *_modes("volume exercise-1-data", seen.volumes.get("exercise-1-data"), "ReadWriteOnce"),
        *_bound(seen, "data", "exercise-1-data"),
        *_uses(seen, "app", "/data", "data"),
        *_runs(seen, "app"),
    ]


def missing_folder(seen: Seen) -> list[str]:
    """Exercise 2: the pod runs, on the volume as it was."""
    return [
        *_volume(seen, "exercise-2-photos", "photos"),
        *_bound(seen, "photos", "exercise-2-photos"),
        *_uses(seen, "album", "/photos", "photos"),
        *_runs(seen, "album"),
    ]


def released_volume(seen: Seen) -> list[str]:
    """Exercise 3: the new claim has the old volume, and the letter is still in it."""
    return [
        *_volume(seen, "exercise-3-letters", "letters"),
        *_bound(seen, "new", "exercise-3-letters"),
        *_uses(seen, "reader", "/letters", "new"),
        *_runs(seen, "reader"),
        *_kept(seen, "letters/letter", "keep me\n"),
    ]


def not_allowed_to_write(seen: Seen) -> list[str]:
    """Exercise 4: the pod's user has written, without more rights than it needs."""
    wrong = [
        *_volume(seen, "exercise-4-reports", "reports"),
        *_bound(seen, "reports", "exercise-4-reports"),
        *_uses(seen, "reporter", "/reports", "reports"),
        *_runs(seen, "reporter"),
    ]
    pod = seen.pods.get("reporter")
    if pod is not None:
        own = pod["spec"]["containers"][0].get("securityContext", {})
        user = own.get("runAsUser", pod["spec"].get("securityContext", {}).get("runAsUser"))
        if user != WRITER:
            wrong.append(
                f"The pod {seen.namespace}/reporter runs as {_or(user, 'the user of its image')}; wanted: user {WRITER}, as it was."
            )
    folder = seen.files.get("reports")
    if folder is not None and folder.mode & 0o002:
        wrong.append(f"The folder {seen.folder}/reports has the mode {folder.mode:o}, so everybody may write; wanted: only who needs to.")
    report = seen.files.get("reports/report")
    if report is None or not report.text:
        wrong.append(f"The folder {seen.folder}/reports on the NFS server has no report; wanted: one, written by the pod.")
    elif report.owner != WRITER:
        wrong.append(f"The file {seen.folder}/reports/report belongs to user {report.owner}; wanted: one written by user {WRITER}.")
    return wrong


def stuck_claim(seen: Seen) -> list[str]:
    """Exercise 5: the claim is gone, nobody writes any more, and the data is there."""
    wrong = []
    claim = seen.claims.get("ledger")
    if claim is not None:
        wrong.append(f"The claim {seen.namespace}/ledger is {_claim_state(claim)}; wanted: gone.")
    wrong += [
        f"The pod {seen.namespace}/{name} is {objects.pod(pod).state} and uses the claim ledger; wanted: no pod that does."
        for name, pod in sorted(seen.pods.items())
        if "ledger" in _claims_of(pod)
    ]
    wrong += _volume(seen, "exercise-5-ledger", "ledger")
    volume = seen.volumes.get("exercise-5-ledger")
    if volume is not None and objects.volume(volume).phase != "Released":
        wrong.append(f"The volume exercise-5-ledger is {_or(objects.volume(volume).phase, 'in no phase')}; wanted: Released.")
    return wrong + _kept(seen, "ledger/book", "balance: 42\n")


def lost_with_the_pod(seen: Seen) -> list[str]:
    """Exercise 6: what one pod wrote is there for the next one."""
    wrong = []
    deployment = seen.deployments.get("diary")
    if deployment is None:
        wrong.append(f"The deployment {seen.namespace}/diary isn't there; wanted: the one that was.")
        running = []
    else:
        template = deployment["spec"]["template"]["spec"]
        claims = [name for name in _claims_of({"spec": template}, "/diary") if name]
        if not claims:
            kind = _kind(template, "/diary")
            wrong.append(f"The deployment {seen.namespace}/diary has at /diary {kind}; wanted: storage that outlives its pods.")
        for claim in claims:
            wrong += _bound(seen, claim, "exercise-6-diary")
        labels = deployment["spec"]["selector"]["matchLabels"].items()
        running = [name for name, pod in seen.pods.items() if labels <= pod["metadata"].get("labels", {}).items() and _is_up(pod)]
        if not running or not _complete(deployment):
            wrong.append(f"The deployment {seen.namespace}/diary has {_rollout(deployment)}; wanted: its one pod, of its present template.")
    wrong += _volume(seen, "exercise-6-diary", "diary")
    diary = seen.files.get("diary/pods")
    written = set(diary.text.split()) if diary is not None else set()
    if not written & set(running):
        wrong.append(f"The volume's file {seen.folder}/diary/pods doesn't name the pod that runs; wanted: each pod's name.")
    if not written - set(seen.pods):
        wrong.append(f"The volume's file {seen.folder}/diary/pods names no pod that is gone; wanted: the line of one that was deleted.")
    return wrong


def pinned_to_a_node(seen: Seen) -> list[str]:
    """Exercise 7: the pod may run anywhere, and the orders are where it finds them."""
    wrong = []
    pod = seen.pods.get("shop")
    if pod is not None:
        if pod["spec"].get("nodeSelector") or pod["spec"].get("affinity", {}).get("nodeAffinity"):
            wrong.append(f"The pod {seen.namespace}/shop is held on a node by its spec; wanted: one that every worker may run.")
        claims = _claims_of(pod, "/orders")
        if not claims:
            wrong.append(f"The pod {seen.namespace}/shop has at /orders {_kind(pod['spec'], '/orders')}; wanted: storage of no node.")
        for claim in claims:
            wrong += _bound(seen, claim, "exercise-7-orders")
    return [
        *wrong,
        *_runs(seen, "shop"),
        *_volume(seen, "exercise-7-orders", "orders"),
        *_kept(seen, "orders/list", "order 1: paid\norder 2: sent\norder 3: new\n"),
    ]


def two_writers(seen: Seen) -> list[str]:
    """Exercise 8: both pods are wanted, and the cluster lets one of them run."""
    wrong = [
        *_volume(seen, "exercise-8-journal", "journal"),
        *_bound(seen, "journal", "exercise-8-journal"),
        *_modes("volume exercise-8-journal", seen.volumes.get("exercise-8-journal"), "ReadWriteOncePod", "for one pod at a time"),
        *_modes(f"claim {seen.namespace}/journal", seen.claims.get("journal"), "ReadWriteOncePod", "for one pod at a time"),
    ]
    names = ("writer-1", "writer-2")
    for name in names:
        wrong += _uses(seen, name, "/journal", "journal")
        pod = seen.pods.get(name)
        if pod is not None and not pod["spec"].get("nodeSelector"):
            wrong.append(f"The pod {seen.namespace}/{name} has no nodeSelector; wanted: the one that it had.")
    there = {name: objects.pod(seen.pods[name]) for name in names if name in seen.pods}
    running = [name for name, pod in there.items() if _is_up(seen.pods[name])]
    waiting = [name for name, pod in there.items() if not pod.node and pod.phase == "Pending" and not pod.deleted]
    if len(there) == len(names) and (len(running), len(waiting)) != (1, 1):
        states = " and ".join(f"{name} is {pod.state}{f' on {pod.node}' if pod.node else ''}" for name, pod in there.items())
        wrong.append(f"Of the pods in {seen.namespace}, {states}; wanted: one runs, the other gets no node.")
    return wrong + _kept(seen, "journal/pages", "page 1\n")


def rollout_that_hangs(seen: Seen) -> list[str]:
    """Exercise 9: the new version serves, and no two pods can ever have the files."""
    wrong = [*_volume(seen, "exercise-9-db", "db"), *_bound(seen, "db", "exercise-9-db")]
    deployment = seen.deployments.get("db")
    if deployment is None:
        return [*wrong, f"The deployment {seen.namespace}/db isn't there; wanted: the one that was."]
    spec = deployment["spec"]
    strategy = spec.get("strategy", {}).get("type", "RollingUpdate")
    if strategy != "Recreate":
        wrong.append(
            f"The deployment {seen.namespace}/db has the strategy {strategy}; wanted: one that begins no pod before the one before it is gone."
        )
    if spec.get("replicas") != 1:
        wrong.append(f"The deployment {seen.namespace}/db wants {spec.get('replicas')} pods; wanted: 1.")
    template = spec["template"]["spec"]
    if "db" not in _claims_of({"spec": template}, "/db"):
        wrong.append(f"The deployment {seen.namespace}/db has at /db {_kind(template, '/db')}; wanted: the claim db.")
    version = {each["name"]: each.get("value") for each in template["containers"][0].get("env", [])}.get("VERSION")
    if version != "2":
        wrong.append(f"The deployment {seen.namespace}/db is for version {_or(version, 'unknown')}; wanted: version 2.")
    if not _complete(deployment):
        wrong.append(f"The deployment {seen.namespace}/db has {_rollout(deployment)}; wanted: one pod, of the new version, available.")
    if len(seen.pods) != 1:
        pods = ", ".join(f"{name} ({objects.pod(pod).state})" for name, pod in sorted(seen.pods.items()))
        wrong.append(f"The namespace {seen.namespace} has the pods {_or(pods, 'none')}; wanted: exactly one.")
    if "db/lock" not in seen.files:
        wrong.append(f"The folder {seen.folder}/db has no lock; wanted: that of the pod that serves.")
    return wrong


def _volume(seen: Seen, name: str, path: str, storage_class: str | None = None) -> list[str]:
    """Hold that a volume is there and leads to its folder as before; ``path`` is below the exercise's folder."""
    data = seen.volumes.get(name)
    if data is None:
        return [f"The volume {name} isn't there; wanted: the one that was."]
    volume = objects.volume(data)
    wanted = f"{seen.folder}/{path}"
    wrong = [] if volume.path == wanted else [f"The volume {name} leads to {_or(volume.path, 'no NFS server')}; wanted: {wanted}."]
    if volume.reclaim != "Retain":
        wrong.append(f"The volume {name} has the reclaim policy {_or(volume.reclaim, 'unknown')}; wanted: Retain, as it was.")
    if storage_class is not None and (volume.storage_class, volume.capacity) != (storage_class, "1Gi"):
        wrong.append(f"The volume {name} has the class {volume.storage_class!r} and {volume.capacity}; wanted: {storage_class!r} and 1Gi.")
    return wrong


def _modes(subject: str, data: Json | None, wanted: str, meaning: str = "") -> list[str]:
    """Hold that a volume or claim has one access mode; one that isn't there is another finding's. ``meaning`` stands for its name."""
    modes = [] if data is None else data["spec"].get("accessModes", [])
    if data is None or modes == [wanted]:
        return []
    return [f"The {subject} has the access modes {_or(', '.join(modes), 'none')}; wanted: {_or(meaning, wanted)}."]


def _bound(seen: Seen, name: str, volume: str) -> list[str]:
    """Hold that a claim is bound to a volume, and the volume to it."""
    data = seen.claims.get(name)
    if data is None:
        return [f"The claim {seen.namespace}/{name} isn't there; wanted: bound to {volume}."]
    claim = objects.claim(data)
    bound = claim.phase == "Bound" and claim.volume == volume and "deletionTimestamp" not in data["metadata"]
    if not bound:
        seen_volume = f" with {claim.volume}" if claim.volume not in ("", volume) else ""
        return [f"The claim {seen.namespace}/{name} is {_claim_state(data)}{seen_volume}; wanted: bound to {volume}."]
    owner = objects.volume(seen.volumes[volume]).claim if volume in seen.volumes else ""
    if owner != f"{seen.namespace}/{name}":
        return [f"The volume {volume} is for {_or(owner, 'no claim')}; wanted: for {seen.namespace}/{name}."]
    return []


def _uses(seen: Seen, pod: str, place: str, claim: str) -> list[str]:
    """Hold that a pod, where it is there, has a claim at a place."""
    data = seen.pods.get(pod)
    if data is None:
        return [f"The pod {seen.namespace}/{pod} isn't there; wanted: one that uses the claim {claim}."]
    if claim in _claims_of(data, place):
        return []
    return [f"The pod {seen.namespace}/{pod} has at {place} {_kind(data['spec'], place)}; wanted: the claim {claim}."]


def _runs(seen: Seen, name: str) -> list[str]:
    """Hold that a pod runs; one that isn't there is named too."""
    data = seen.pods.get(name)
    if data is not None and _is_up(data):
        return []
    state = "isn't there" if data is None else f"is {_waits(data)}"
    return [f"The pod {seen.namespace}/{name} {state}; wanted: Running."]


def _kept(seen: Seen, path: str, text: str) -> list[str]:
    """Hold that a file on the NFS server is there and begins with what was in it."""
    file = seen.files.get(path)
    if file is not None and file.text.startswith(text):
        return []
    state = "isn't there" if file is None else "has other content"
    return [f"The file {seen.folder}/{path} on the NFS server {state}; wanted: what was written at the beginning."]


def _is_up(data: Json) -> bool:
    pod = objects.pod(data)
    return pod.running and pod.ready and not pod.deleted and pod.phase == "Running"


def _waits(data: Json) -> str:
    """Return a pod's state, and whether it has a node."""
    pod = objects.pod(data)
    return pod.state if pod.node else f"{pod.state}, on no node"


def _claim_state(data: Json) -> str:
    """Return what ``kubectl get pvc`` calls a claim's state."""
    return "Terminating" if "deletionTimestamp" in data["metadata"] else objects.claim(data).phase or "in no phase"


def _volumes_at(spec: Json, place: str) -> Iterable[Json]:
    """Return the volumes that a pod's containers have at a place."""
    mounted = {
        mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", []) if mount["mountPath"] == place
    }
    return (each for each in spec.get("volumes", []) if each["name"] in mounted)


def _claims_of(pod: Json, place: str | None = None) -> list[str]:
    """Return the claims among a pod's volumes: all, or those that are mounted at a place."""
    volumes = pod["spec"].get("volumes", []) if place is None else _volumes_at(pod["spec"], place)
    return [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]


def _kind(spec: Json, place: str) -> str:
    """Return what kind of volume a pod has at a place, in words."""
    kinds = [key for each in _volumes_at(spec, place) for key in each if key != "name"]
    return f"a volume of the kind {kinds[0]}" if kinds else "no volume"


def _complete(deployment: Json) -> bool:
    """Say whether a Deployment's one pod is available and of its present template, as ``kubectl rollout status`` has it."""
    observed = deployment.get("status", {}).get("observedGeneration")
    return observed == deployment["metadata"].get("generation") and _counts(deployment) == [1, 1, 1]


def _rollout(deployment: Json) -> str:
    """Return how far a Deployment's rollout is, in words."""
    total, updated, available = _counts(deployment)
    return f"pods: {total}, of its present template: {updated}, available: {available}"


def _counts(deployment: Json) -> list[int]:
    """Return how many pods a Deployment has, how many of them are of its present template, and how many are available."""
    return [deployment.get("status", {}).get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]


def _or(value: object, otherwise: str) -> str:
    return str(value) if value not in (None, "") else otherwise
