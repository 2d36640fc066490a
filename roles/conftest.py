"""Fixtures of the roles' scenarios (`outlive molecule`): the machine under test as root, the cluster, and what the role was told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml

from outlive.base.wait import wait_for
from outlive.lab import inventory, kube, nfs
from outlive.lab.inventory import Host, Inventory
from outlive.lab.kube import Cluster
from outlive.lab.objects import Node
from outlive.lab.ssh import Remote

WRITE = """set -e
folder=$(mktemp --directory)
mount -t nfs4 %s "$folder"
trap 'umount "$folder"; rmdir "$folder"' EXIT
echo %s > "$folder/written"
"""

START_SECONDS = 900.0
"""Seconds that an emulated machine has after a start to be a Ready node with its first pods: their images may still have to be pulled."""


@pytest.fixture(scope="session")
def lab() -> Inventory:
    """Return the inventory with the scenario's overlays."""
    return inventory.load()


@pytest.fixture(scope="session")
def remote(lab: Inventory) -> Iterator[Remote]:
    """Return the way to run commands on the machines as root."""
    link = Remote(lab)
    yield link
    link.close()


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the cluster that the scenario's kubeconfig leads to; its API server may still be starting."""
    return kube.connect()


@pytest.fixture(scope="session")
def tested(lab: Inventory) -> Host:
    """Return the machine that the role was applied to: the one in the group `tested` of the scenario's molecule.yml."""
    scenario = yaml.safe_load(Path(os.environ["MOLECULE_FILE"]).read_text(encoding="utf-8"))
    return lab.host(next(platform["name"] for platform in scenario["platforms"] if "tested" in platform["groups"]))


@pytest.fixture
def host(remote: Remote, tested: Host) -> Iterator[testinfra.host.Host]:
    """Return testinfra's look at that machine, with root's eyes."""
    reached = remote.host(tested.name)
    with reached.sudo():
        yield reached


@pytest.fixture(scope="session")
def told(tested: Host) -> Callable[[str], Any]:
    """Return what says which value the role was given for a variable: the inventory's, else the role's default."""
    role = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]).parents[1]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8"))
    return lambda name: {**defaults, **tested.variables}[name]


@pytest.fixture(scope="session")
def start_seconds() -> float:
    """Return the seconds that what runs on a machine has after its start."""
    return START_SECONDS


@pytest.fixture
def ready_node(cluster: Cluster, tested: Host) -> Node:
    """Return that machine's node, Ready and with a new lease: before its kubelet has renewed it the cluster only believes what it last heard."""

    def heartbeat() -> str:
        return cluster.heartbeat(tested.name)

    before = wait_for("the kubelet's lease", "an answer", heartbeat, bool, within=START_SECONDS, every=5)
    wait_for("the kubelet's lease", "renewed", heartbeat, lambda now: now != before, within=START_SECONDS, every=5)
    return wait_for(
        tested.name, "Ready", lambda: cluster.node(tested.name), lambda node: node.state == "Ready", within=START_SECONDS, every=5
    )


@pytest.fixture
def write_through(lab: Inventory, remote: Remote) -> Callable[[str, str], str]:
    """Return what writes a text into a file of the export on a machine that mounts it, and gives the text that the server then has there."""

    def write(client: str, text: str) -> str:
        server, export = nfs.exported(lab)
        remote.check(client, WRITE, f"{server.address}:{export}", text)
        return remote.check(server.name, "cat %s && rm %s", f"{export}/written", f"{export}/written").strip()

    return write
