"""The class room: a lab takes box, packages and images from a mirror that another host serves, `outlive mirror serve`.

The other host is a network namespace of its own, joined to the lab's by a pair of interfaces, as two hosts are by a cable. The lab serves
no mirror and has none in its cache; its one machine is bare, so that everything on it came through that cable.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import LOGS, STATE, cache
from outlive.base.process import OUTLIVE, as_root, end, output, start
from outlive.base.wait import wait_for
from outlive.host.private import MIRROR_PORTS
from outlive.host.reach import Reached, build_mirror
from outlive.lab.playbook import Played
from verify.rehearsal import own_machines

pytestmark = pytest.mark.rehearsal

NODE = "k8s-master"
SERVER, STUDENT, PREFIX = "198.18.0.1", "198.18.0.2", 30
"""The two ends of the cable; from the range for tests between networks (RFC 2544)."""
READ = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


@dataclass(frozen=True)
class Room:
    """The lab of one node, and what the playbook did."""

    lab: Reached
    packages_before: str
    site: Played


@contextmanager
def cable(lab: Reached, namespace: str) -> Iterator[None]:
    """Make a network namespace beside the lab's, joined to it."""
    assert lab.init is not None
    output(as_root(["ip", "netns", "add", namespace]))
    try:
        join = ["ip", "link", "add", "lan0", "netns", namespace, "type", "veth", "peer", "name", "lan0", "netns", str(lab.init.pid)]
        output(as_root(join))
        # A host reaches its own addresses through it.
        output(as_root(["ip", "-n", namespace, "link", "set", "lo", "up"]))
        for side, address in ((["ip", "-n", namespace], SERVER), (["nsenter", "--target", str(lab.init.pid), "--net", "ip"], STUDENT)):
            output(as_root([*side, "address", "add", f"{address}/{PREFIX}", "dev", "lan0"]))
            output(as_root([*side, "link", "set", "lan0", "up"]))
        yield
    finally:
        output(as_root(["ip", "netns", "delete", namespace]))


@contextmanager
def served(lab: Reached, namespace: str) -> Iterator[None]:
    """Serve the mirror in the namespace, by the command that a teacher runs; it answers when the block begins."""
    boxes = f"http://{SERVER}:{MIRROR_PORTS[0]}/boxes"
    log = LOGS / "rehearsal-mirror-serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = as_root(["ip", "netns", "exec", namespace, *OUTLIVE, "mirror", "serve", "--address", SERVER])
    with log.open("w", encoding="utf-8") as file:
        process = start(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            text=True,
            env={**os.environ, "OUTLIVE_CACHE": str(cache())},
            process_group=0,
        )
        try:

            def ask() -> str:
                if process.poll() is not None:
                    pytest.fail(f"`outlive mirror serve` ended with status {process.returncode}: {log.read_text(encoding='utf-8')}")
                try:
                    return lab.output(["/usr/bin/python3", "-c", READ, f"{boxes}/bare.json"], timeout=30)
                except LabError as error:
                    raise UnreachableError(str(error)) from error

            wait_for("the mirror", "the box's address", ask, lambda text: f"{boxes}/bare-" in text, within=60)
            yield
        finally:
            end(process)


@pytest.fixture(scope="module")
def room(empty: None) -> Iterator[Room]:
    """Make a lab of one bare node that takes everything from the other host, and run site.yml."""
    build_mirror("bare")
    folders = (own_machines.COMMON, own_machines.one_node(STATE / "one-node"), own_machines.OFFLINE, own_machines.of_box("bare"))
    nothing = STATE / "no-cache"
    nothing.mkdir(parents=True)
    lab = own_machines.raise_lab(own_machines.settings(sources="mirror", mirror=SERVER, folders=folders, cache=nothing), [])
    namespace = f"outlive-{os.getpid()}"
    with cable(lab, namespace), served(lab, namespace):
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
    assert f"http://{SERVER}:{MIRROR_PORTS[0]}/" in own_machines.on(room.lab, NODE, "apt-cache policy kubelet")
    servers = own_machines.on(room.lab, NODE, "grep --no-filename ^server /etc/containerd/certs.d/*/hosts.toml").splitlines()
    assert sorted(servers) == [
        f'server = "http://{SERVER}:{MIRROR_PORTS[1]}/v2/{name}"' for name in ("docker.io", "ghcr.io", "registry.k8s.io")
    ]


def test_second_run_changes_nothing(room: Room) -> None:
    again = own_machines.play(room.lab, "rehearsal cluster again", "playbooks/site.yml")
    assert again.recap
    assert again.changed == ()
