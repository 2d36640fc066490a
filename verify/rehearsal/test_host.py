"""A user's own host, at this host's speed: an ordinary user of a Debian 12 that has nothing makes a lab of one node by the system's libvirt.

All but the accelerator is what a user with KVM has: libvirt as Debian installs it, sudo, no kubectl on PATH, box, packages and images from a mirror that
another host serves. The machine is emulated, so the settings of inventories/emulated and Mitogen are with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base.paths import LOGS, cache
from outlive.base.process import as_root, output
from outlive.host.reach import build_mirror
from verify.rehearsal import clean_debian, own_machines, teacher

pytestmark = pytest.mark.rehearsal

FILES = Path(__file__).parent / "files"
NODE = "k8s-master"
FOLDER = "outlive"
SETUP, WAY = 1200.0, 2400.0
"""Seconds that `make setup` and all else may take, on a busy host too."""
CHOSEN = {
    "OUTLIVE_PROVIDER": "libvirt",
    "OUTLIVE_DRIVER": "qemu",
    "OUTLIVE_LIBVIRT": "system",
    "OUTLIVE_MIRROR": teacher.ADDRESS,
}
"""What the student sets; only the driver isn't what a user with KVM has."""

Parts = dict[str, list[str]]


@pytest.fixture(scope="module", autouse=True)
def empty() -> None:
    """Take no look at this checkout's place for machines, as the others do: none is made in it."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """Return the lines that each part of the student's way printed; its last one is the status."""
    build_mirror("full")
    changed = tmp_path_factory.mktemp("changed")
    own_machines.one_node(changed / "inventories/lab")
    logs = {name: LOGS / f"rehearsal-host-{name}.log" for name in ("debian", "setup", "way")}
    LOGS.mkdir(parents=True, exist_ok=True)
    found: Parts = {}
    with clean_debian.machine(logs["debian"]) as machine, teacher.namespace("student") as student, teacher.cable(student) as name:
        machine.put_checkout(FOLDER, clean_debian.USER, changed)
        folders = {clean_debian.USER: FOLDER}
        machine.run(FILES / "setup.sh", folders, logs["setup"], SETUP, variables=CHOSEN)
        enter = ["nsenter", f"--net=/run/netns/{student}"]
        with teacher.served(name, "full", lambda argv: output(as_root([*enter, *argv]))):
            machine.run(FILES / "student.sh", folders, logs["way"], WAY, variables=CHOSEN, network=student)
        for log in (logs["setup"], logs["way"]):
            found |= clean_debian.parts(log.read_text(encoding="utf-8", errors="replace"))
    yield found
    assert [path.name for path in (cache() / "clean-debian").glob("root*")] == []
    assert str(os.getpid()) not in output(["ip", "netns", "list"])


def said(parts: Parts, name: str) -> str:
    """Return what a part printed, whose status has to be 0."""
    *lines, status = parts[name]
    assert status == "status 0", "\n".join([*lines, status])
    return "\n".join(lines)


def test_no_kubectl_is_on_path(parts: Parts) -> None:
    assert parts["kubectl"] == ["status 1"]


def test_setup(parts: Parts) -> None:
    assert "WRONG" not in said(parts, "setup")


def test_member_of_nothing_is_told_what_to_join(parts: Parts) -> None:
    assert "libvirt" not in said(parts, "groups")
    *lines, status = parts["no member"]
    assert 'join its group (`sudo usermod -aG libvirt "$USER"`' in lines[-1]
    assert status == "status 2"
    doctor = "\n".join(parts["no member's doctor"])
    assert 'join its group (`sudo usermod -aG libvirt "$USER"`' in doctor
    assert "AUTHENTICATING" not in doctor  # polkit's, for an administrator's password


def test_doctor_finds_nothing_wrong(parts: Parts) -> None:
    assert "libvirt" in said(parts, "groups again")
    assert "nothing was found that would break the lab" in said(parts, "doctor")


def test_machine_and_cluster(parts: Parts) -> None:
    said(parts, "up")
    said(parts, "provision")


@pytest.mark.parametrize("way", ["run", "shell", "run again"])
def test_node_is_ready(parts: Parts, way: str) -> None:
    assert f"{NODE} Ready" in " ".join(said(parts, way).split())


def test_reset(parts: Parts) -> None:
    said(parts, "snapshot")
    assert said(parts, "reset").endswith("all nodes are Ready: the cluster is as playbooks/site.yml left it")


def test_all_files_are_the_user_s(parts: Parts) -> None:
    assert said(parts, "foreign") == ""


def test_nothing_is_left(parts: Parts) -> None:
    said(parts, "destroy")
    assert [line for line in said(parts, "left").splitlines() if line and "_vagrant_box_image_" not in line] == []
