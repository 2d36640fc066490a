"""The exercises' stages as the cluster would show them: their own objects, with the status that they would have."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.course.exercises import LABEL, Exercise, Stage
from outlive.course.grading import File, Seen
from outlive.lab import inventory
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Output, Remote
from tests import samples
from tests.fake_api import FakeApi, listing

EXPORT = "/export"


class Here(Remote):
    """Machines that are all this one: commands are run in its shell."""

    def __init__(self) -> None:
        """Connect to nothing."""

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Run the command."""
        del name
        line = command % tuple(map(shlex.quote, arguments))
        done = subprocess.run(["sh", "-c", line], capture_output=True, encoding="utf-8", timeout=60, check=False)
        return Output(done.returncode, done.stdout, done.stderr)


def small_inventory() -> Inventory:
    """Return the inventory of a small lab with what the exercises ask it for."""
    listing = deepcopy(samples.INVENTORY)
    listing["_meta"]["hostvars"]["m"] |= {"nfs_server_export": EXPORT, "storage_tutorial_busybox_image": "busybox:9"}
    return inventory.parse(listing, "of the tests")


class FakeRemote(Remote):
    """Machines that remember what they were told, and say what they were prepared to."""

    def __init__(self, answer: Output = Output(0, "", "")) -> None:  # noqa: B008  it is frozen
        """Begin without a command."""
        self.told: list[tuple[str, ...]] = []
        self.answer = answer
        self.folders: dict[str, Output] = {}
        """Other answers, by the command's last argument."""

    def run(self, name: str, command: str, *arguments: str) -> Output:
        """Remember the command."""
        self.told.append((name, command, *arguments))
        return self.folders.get(arguments[-1], self.answer) if arguments else self.answer


def lab(cluster: Cluster, remote: Remote, clock: Clock = HOST_CLOCK) -> Lab:
    """Return a small lab of a cluster and machines."""
    return Lab(small_inventory(), cluster, remote, clock)


def objects(exercise: Exercise) -> list[dict[str, Any]]:
    """Return the objects of a stage, filled in with the small lab's names."""
    stage = Stage(lab(cast(Cluster, None), FakeRemote()))
    return [*yaml.safe_load_all(stage.objects(exercise))]


@dataclass
class Scene:
    """What there is of an exercise, to be changed by a test."""

    exercise: Exercise
    pods: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    volumes: dict[str, Any] = field(default_factory=dict)
    deployments: dict[str, Any] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)

    def seen(self) -> Seen:
        """Return it as the checks take it."""
        folder = f"{EXPORT}/{self.exercise.namespace}"
        return Seen(self.exercise.namespace, folder, self.pods, self.claims, self.volumes, self.deployments, self.files)

    def findings(self) -> list[str]:
        """Return what is still wrong."""
        return self.exercise.check(self.seen())

    def bind(self, claim: str, volume: str) -> None:
        """Bind a claim and a volume."""
        self.claims[claim]["spec"]["volumeName"] = volume
        self.claims[claim]["status"] = {"phase": "Bound"}
        self.volumes[volume]["spec"]["claimRef"] = {"namespace": self.exercise.namespace, "name": claim}
        self.volumes[volume]["status"] = {"phase": "Bound"}

    def claim(self, name: str, volume: str) -> None:
        """Make a claim that has a volume."""
        spec = {"accessModes": ["ReadWriteOnce"]}
        self.claims[name] = {"metadata": {"name": name}, "spec": spec, "status": {}}
        self.bind(name, volume)

    def run(self, *names: str) -> None:
        """Let pods run."""
        for name in names:
            self.pods[name]["spec"]["nodeName"] = "n1"
            self.pods[name]["status"] = {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"state": {"running": {}}}],
            }

    def pod_of(self, deployment: str, name: str) -> None:
        """Let a Deployment have one pod, which runs."""
        data = self.deployments[deployment]
        template = deepcopy(data["spec"]["template"])
        self.pods[name] = {"metadata": {"name": name, "uid": name, **template["metadata"]}, "spec": template["spec"]}
        self.run(name)
        data["metadata"]["generation"] = 3
        data["status"] = {"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}

    def write(self, path: str, text: str, owner: int = 0) -> None:
        """Have a file on the NFS server."""
        self.files[path] = File(owner, 0o644, text)


def scene(exercise: Exercise) -> Scene:
    """Return a stage before the cluster did anything with it."""
    made = Scene(exercise)
    homes = {
        "Pod": made.pods,
        "PersistentVolumeClaim": made.claims,
        "PersistentVolume": made.volumes,
        "Deployment": made.deployments,
    }
    for each in deepcopy(objects(exercise)):
        each["metadata"]["uid"] = each["metadata"]["name"]
        each["status"] = {"phase": "Pending"}
        homes[each["kind"]][each["metadata"]["name"]] = each
    return made


def show(api: FakeApi, server: FakeRemote, *scenes: Scene) -> None:
    """Let the API server and the NFS server show these exercises as they are now, and no other one."""
    namespaces = [{"metadata": {"name": each.exercise.namespace, "labels": {LABEL: "set"}}} for each in scenes]
    api.answers["/api/v1/namespaces"] = [listing({"metadata": {"name": "default"}}, *namespaces)]
    api.answers["/api/v1/persistentvolumes"] = [listing(*(volume for each in scenes for volume in each.volumes.values()))]
    for each in scenes:
        name = each.exercise.namespace
        api.answers[f"/api/v1/namespaces/{name}/pods"] = [listing(*each.pods.values())]
        api.answers[f"/api/v1/namespaces/{name}/persistentvolumeclaims"] = [listing(*each.claims.values())]
        api.answers[f"/apis/apps/v1/namespaces/{name}/deployments"] = [listing(*each.deployments.values())]
        heads = [f"{file.owner} {file.mode:o} {path}" for path, file in each.files.items()]
        bodies = [f"./{path}:{line}" for path, file in each.files.items() for line in file.text.splitlines()]
        server.folders[f"{EXPORT}/{name}"] = Output(0, "\n".join(["0 755 ", *heads, "", *bodies, ""]), "")


def documents(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return the objects that commands give to ``kubectl apply -f -``."""
    bodies = [text.split("<<'END'\n", 1)[1].removesuffix("\nEND") for text in texts if "<<'END'" in text]
    return [each for body in bodies for each in yaml.safe_load_all(body)]
