"""An image was pulled, and within moments the node's power went: it is whole afterwards, or it is gone and pulled anew.

A program that was written and not yet on the disk has no content after a power cut, and the node would take the image for one that it has, for ever.
The tests of this file are one story, three times: the fixture makes it happen, each test verifies one statement of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from outlive.base.wait import wait_for
from outlive.drill import run
from outlive.drill.faults import shielded
from outlive.lab import power
from outlive.lab.kube import Cluster
from outlive.lab.mysql import DEPLOYMENT, NAMESPACE, Account, read_rows, wait_for_pod_gone
from outlive.lab.objects import Json, Pod
from outlive.lab.power import Machine
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

CUTS = 3
"""Power cuts, since one may come at a lucky moment."""
READY_WITHIN = 900.0
RUN_WITHIN = 600.0
POD = "lifecycle-image"
FORGET = """\
images=$(ctr --namespace k8s.io images list)
digest=$(echo "$images" | awk -v image=%s '$1 == image || substr($1, length($1) - length(image)) == "/" image { print $3 }' | sort -u | head -n 1)
[ -n "$digest" ] || { echo "the node hasn't the image" >&2; exit 1; }
echo "$images" | awk -v digest="$digest" '$3 == digest { print $1 }' | xargs ctr --namespace k8s.io images rm --sync && sync"""
"""Removes an image by all its names, and waits until its content is gone: what is pulled isn't to be found there already."""
LOOK = "find /usr -xdev -type f -exec sha256sum {} + | sort | sha256sum; mysqld --version"
"""Names and contents of the image's files as one number, and a program of it that runs."""


@dataclass(frozen=True)
class Pulled:
    """What the image is where it was pulled, and where it has been for long."""

    before: str
    """What is seen on the node that kept its power."""
    after: str


@pytest.fixture(scope="module", params=range(1, CUTS + 1))
def pulled(request: pytest.FixtureRequest, whole_lab: Lab, written: Pod) -> Iterator[Pulled]:
    """Pull MySQL's image on a node without MySQL, and cut that node's power the moment it has it."""
    del request
    cluster, remote = whole_lab.cluster, whole_lab.remote
    image = cluster.deployment(NAMESPACE, DEPLOYMENT).image
    name = next(worker for worker in whole_lab.workers if worker != written.node)
    machine = power.find(name)
    before = look(cluster, image, written.node)
    try:
        remote.check(name, FORGET, image)
        with pod_of(cluster, image, name, "Always", "sleep 3600", lambda pod: pod.running):
            cut(cluster, remote, machine)
        yield Pulled(before, look(cluster, image, name))
    finally:
        shielded(lambda: pull_again(cluster, remote, image, name))
        run.await_steady(whole_lab)


def pull_again(cluster: Cluster, remote: Remote, image: str, name: str) -> None:
    """Leave the node with a whole image, whatever became of the one that it had: MySQL may have to run there."""
    remote.run(name, FORGET, image)
    with pod_of(cluster, image, name, "Always", "true", lambda pod: pod.over):
        pass


def cut(cluster: Cluster, remote: Remote, machine: Machine) -> None:
    """Cut a node's power, and wait until it is Ready after its new start."""
    name = machine.name
    boot = cluster.node(name).boot
    machine.cut()
    try:
        remote.forget(name)
        machine.wait_until_off()
    finally:
        machine.start()
    wait_for(
        f"node {name}",
        "Ready after its new start",
        lambda: cluster.node(name),
        lambda node: node.ready == "True" and node.boot != boot,
        within=READY_WITHIN,
        every=2.0,
        describe=lambda node: node.state,
    )


def look(cluster: Cluster, image: str, node: str) -> str:
    """Return what a pod of an image sees in it on a node. One whose pull the cut undid altogether is pulled anew, as for any pod."""
    with pod_of(cluster, image, node, "IfNotPresent", LOOK, lambda pod: pod.over):
        return cluster.log(NAMESPACE, POD, 10)


@contextmanager
def pod_of(cluster: Cluster, image: str, node: str, policy: str, command: str, done: Callable[[Pod], bool]) -> Iterator[None]:
    """Run a shell command in an image on a node until it is seen to have done what it is for; delete the pod afterwards."""
    try:
        cluster.create_pod(NAMESPACE, manifest(image, node, policy, command))
        wait_for(
            f"pod {POD} on {node}",
            "what it is for",
            lambda: cluster.pod(NAMESPACE, POD),
            done,
            within=RUN_WITHIN,
            every=0.5,
            describe=lambda pod: pod.state,
        )
        yield
    finally:
        cluster.delete_pod(NAMESPACE, POD)
        wait_for_pod_gone(cluster, POD)


def manifest(image: str, node: str, policy: str, command: str) -> Json:
    """Return the manifest of a pod that runs a shell command."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": POD, "image": image, "imagePullPolicy": policy, "command": ["bash", "-c", command]}],
        },
    }


def test_image_is_whole(pulled: Pulled) -> None:
    """Its files have the names and the contents that they have elsewhere, and its program starts."""
    assert "Ver " in pulled.before
    assert pulled.after == pulled.before


@pytest.mark.usefixtures("pulled")
def test_row_outlived_the_cut(cluster: Cluster, account: Account) -> None:
    """The row that was written before is read, once."""
    assert read_rows(cluster, account) == ["111"]
