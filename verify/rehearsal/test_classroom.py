"""The class room: a lab takes box, packages and images from a mirror that another host serves, `outlive mirror serve`.

The lab serves no mirror and has none in its cache; its one machine is bare, so that everything on it came through the cable to the other host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from outlive.base.paths import STATE
from outlive.host.private import MIRROR_PORTS
from outlive.host.reach import Reached, build_mirror
from outlive.lab.playbook import Played
from verify.rehearsal import own_machines, teacher

pytestmark = pytest.mark.rehearsal

NODE = "k8s-master"


@dataclass(frozen=True)
class Room:
    """The lab of one node, and what the playbook did."""

    lab: Reached
    packages_before: str
    site: Played


@pytest.fixture(scope="module")
def room(empty: None) -> Iterator[Room]:
    """Make a lab of one bare node that takes everything from the other host, and run site.yml."""
    build_mirror("bare")
    folders = (own_machines.COMMON, own_machines.one_node(STATE / "one-node"), own_machines.OFFLINE, own_machines.of_box("bare"))
    nothing = STATE / "no-cache"
    nothing.mkdir(parents=True)
    lab = own_machines.raise_lab(own_machines.settings(sources="mirror", mirror=teacher.ADDRESS, folders=folders, cache=nothing), [])
    assert lab.init is not None
    with teacher.cable(str(lab.init.pid)) as name, teacher.served(name, "bare", lab.output):
        own_machines.make_machines(lab)
        before = own_machines.on(lab, NODE, "dpkg-query --show --showformat '${Package} '")
        yield Room(lab, before, own_machines.play(lab, "rehearsal cluster", "playbooks/site.yml"))


def test_machine_was_bare(room: Room) -> None:
    assert not {"containerd", "kubelet", "kubeadm", "nfs-kernel-server"} & set(room.packages_before.split())


def test_lab_serves_no_mirror_of_its_own(room: Room) -> None:
    listening = room.lab.output(["ss", "--listening", "--tcp", "--numeric", "--no-header"])
    assert not [line for line in listening.splitlines() if line.split()[3].endswith(tuple(f":{port}" for port in MIRROR_PORTS))]
    assert list((STATE / "no-cache").iterdir()) == []


def test_node_is_ready(room: Room) -> None:
    assert own_machines.ready_nodes(room.lab) == [NODE]


def test_pod_runs(room: Room) -> None:
    own_machines.run_pod(room.lab, "busybox:1.37")


def test_volumes_are_exported(room: Room) -> None:
    assert "/nfsdata" in own_machines.on(room.lab, NODE, "exportfs -s")


def test_every_source_is_the_other_host(room: Room) -> None:
    assert f"{teacher.PACKAGES}/" in own_machines.on(room.lab, NODE, "apt-cache policy kubelet")
    servers = own_machines.on(room.lab, NODE, "grep --no-filename ^server /etc/containerd/certs.d/*/hosts.toml").splitlines()
    assert sorted(servers) == [f'server = "{teacher.IMAGES}/v2/{name}"' for name in ("docker.io", "ghcr.io", "registry.k8s.io")]


def test_second_run_changes_nothing(room: Room) -> None:
    again = own_machines.play(room.lab, "rehearsal cluster again", "playbooks/site.yml")
    assert again.recap
    assert again.changed == ()
