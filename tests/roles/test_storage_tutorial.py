"""The role storage_tutorial: no claim gets another volume than its own, and no server other data than its own, without a sentence."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from roles.storage_tutorial.filter_plugins.storage_tutorial import misplaced, other_data, ready, serves, states

from . import role_tasks
from .conftest import ROOT, Playbook
from .test_preflight import sentence

UUID = "5a01-old"


def volume(name: str = "mysql-pv", held: dict[str, str] | None = None, path: str = "/nfsdata/mysql-pv") -> dict[str, Any]:
    """Return a volume as the API or a manifest has it, for a claim."""
    spec: dict[str, Any] = {"nfs": {"server": "192.0.2.10", "path": path}}
    return {"kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec | ({"claimRef": held} if held else {})}


def claim(name: str = "mysql-pvc", volume: str = "", uid: str = "") -> dict[str, Any]:
    """Return a claim as the API or a manifest has it."""
    metadata = {"name": name} | ({"namespace": "default", "uid": uid} if uid else {})
    return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {"volumeName": volume} if volume else {}}


def ref(name: str = "mysql-pvc", uid: str = "") -> dict[str, str]:
    """Return a volume's reference to a claim; with the claim's uid where the two are bound."""
    return {"namespace": "default", "name": name} | ({"uid": uid} if uid else {})


WANTED = [volume(held=ref()), claim(volume="mysql-pv")]


@pytest.mark.parametrize(
    ("volumes", "claims"),
    [
        ([], []),
        ([volume()], []),
        ([volume(held=ref())], [claim(uid="1")]),
        ([volume(held=ref(uid="1"))], [claim(volume="mysql-pv", uid="1")]),
        # Somebody else's.
        ([volume("other", ref("gone", "7"))], [claim("elsewhere", "other", "8")]),
    ],
)
def test_what_comes_together(volumes: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
    """A lab without volumes, one of before they named their claims, one that waits, and one that runs."""
    assert misplaced(WANTED, volumes, claims, "default") == []


@pytest.mark.parametrize(
    ("volumes", "claims", "expected"),
    [
        (
            [volume(held=ref(uid="1"))],
            [],
            [
                "The volume mysql-pv is Released: its claim default/mysql-pvc is gone, and what that claim's pods wrote is still in /nfsdata/mysql-pv. "
                'To use the volume again with this data, run `kubectl patch pv mysql-pv --type=json --patch=\'[{"op": "remove", "path": '
                '"/spec/claimRef/uid"}]\'`, then this again.'
            ],
        ),
        # A claim of the same name is another one.
        ([volume(held=ref(uid="1"))], [claim(volume="mysql-pv", uid="2")], [r"The volume mysql-pv is Released.*"]),
        (
            [volume(held=ref("old", "1"))],
            [],
            [
                r'.*its claim default/old is gone.*"replace", "path": "/spec/claimRef", "value": \{"namespace": "default", "name": "mysql-pvc"\}.*'
            ],
        ),
        ([volume(held=ref("old"))], [], [r".*its claim default/old is gone.*"]),
        (
            [volume(held=ref("mypvc1", "1"))],
            [claim("mypvc1", "mysql-pv", "1")],
            [
                r"The volume mysql-pv is bound to the claim default/mypvc1, and is kept for default/mysql-pvc: delete what uses default/mypvc1, then "
                r"`kubectl -n default delete pvc mypvc1`, and run this again\."
            ],
        ),
        (
            [volume(held=ref(uid="1")), volume("mypv1", ref(uid="2"))],
            [claim(volume="mypv1", uid="2")],
            [
                r"The volume mysql-pv is Released.*",
                r"The claim default/mysql-pvc has the volume mypv1, and its data is in mysql-pv: delete what uses the claim, then "
                r"`kubectl -n default delete pvc mysql-pvc`, and run this again\.",
            ],
        ),
        # Its volume was made anew, or the cure above was run on a volume that was bound.
        (
            [volume(held=ref())],
            [claim(volume="mysql-pv", uid="1") | {"status": {"phase": "Lost"}}],
            [
                r"The claim default/mysql-pvc is Lost, since mysql-pv isn't bound to it any more; what was written is still in that volume's folder: "
                r"delete what uses the claim, then `kubectl -n default delete pvc mysql-pvc`, and run this again\."
            ],
        ),
        (
            [volume(path="/other/mysql-pv")],
            [],
            [r"The volume mysql-pv leads to 192\.0\.2\.10:/other/mysql-pv, and the inventory to 192\.0\.2\.10:/nfsdata/mysql-pv, but .*"],
        ),
    ],
)
def test_what_cannot_come_together(volumes: list[dict[str, Any]], claims: list[dict[str, Any]], expected: list[str]) -> None:
    found = misplaced(WANTED, volumes, claims, "default")
    assert len(found) == len(expected)
    assert [each for each, pattern in zip(found, expected, strict=True) if each != pattern and not re.fullmatch(pattern, each)] == []


def test_data_does_not_move_to_another_storage_by_itself() -> None:
    """Applied all the same, the volume would be refused as immutable, or a new database made beside the old one."""
    disk = {"iscsi": {"iqn": "iqn.2026-11.internal.example:mysql", "lun": 0}}
    there = volume(held=ref(uid="1")) | {"spec": disk | {"claimRef": ref(uid="1")}}
    held = [claim(volume="mysql-pv", uid="1")]
    assert misplaced(WANTED, [there], held, "default") == [
        "The volume mysql-pv is of the kind iscsi, and the inventory's is nfs, but data doesn't move by itself: set storage_tutorial_mysql_storage "
        "back to iscsi, or move the data as docs/storage.md says."
    ]
    wanted = [{**WANTED[0], "spec": disk | {"claimRef": ref()}}, WANTED[1]]
    assert misplaced(wanted, [there], held, "default") == []
    (found,) = misplaced(wanted, [volume(held=ref(uid="1"))], held, "default")
    assert found.startswith("The volume mysql-pv is of the kind nfs, and the inventory's is iscsi")
    other = volume("nfs-pv1", ref())
    hosts = {**other, "spec": {"hostPath": {"path": "/data"}, "claimRef": ref()}}
    (found,) = misplaced([other], [hosts], [], "default")
    assert found.endswith(
        "is of the kind hostPath, and the inventory's is nfs, but data doesn't move by itself: delete what uses it, its claim and "
        "`kubectl delete pv nfs-pv1`, and run this again."
    )
    (released,) = misplaced(wanted, [there], [], "default")
    assert "is still in the disk of iqn.2026-11.internal.example:mysql" in released


@pytest.mark.parametrize(
    ("note", "uuid", "image", "expected"),
    [
        ("", "new", "mysql:9.7", ""),
        (f"{UUID} 5.6.24", UUID, "mysql:5.6", ""),
        (f"{UUID} 5.6.24", "", "mysql:5.6.51", ""),
        (f"{UUID} 9.7.4-2", "", "room:5000/mysql:9.7", ""),
        # Its server says by itself what it can't open.
        (f"{UUID} 5.6.51", "", "harbor.example/lab/mysql:1.0", ""),
        (f"{UUID} 5.6.51", "", "room:5000/mysql:1.0", ""),
        (f"{UUID} 5.6.51", "", "mysql:2024.11-5.6", ""),
        (f"{UUID} 5.6.51", "", "percona:5.7", ""),
        (f"{UUID} 5.6.24", "", "mysql:latest", ""),
        (f"{UUID} 5.6.24", "", "mysql@sha256:9.7", ""),
        (f"{UUID} 5.6.24", "new", "", f"MySQL's folder isn't the one that it had: its server is new, and was {UUID}"),
        (
            f"{UUID} 5.6.24",
            "",
            "mysql:9.7",
            "The image is mysql:9.7, and MySQL's data was made by 5.6.24, whose files no other series opens unchanged",
        ),
        (f"{UUID} 9.7.4-2", "", "room:5000/mysql:5.6", "The image is room:5000/mysql:5.6, and MySQL's data was made by 9.7.4-2, whose"),
        (f"{UUID} 5.6.24", "", "mysql:5.7", "The image is mysql:5.7, and"),
        (f"{UUID} 5.6.24", "", "docker.io/library/mysql:8.4-oracle", "The image is docker.io/library/mysql:8.4-oracle, and"),
    ],
)
def test_other_data(note: str, uuid: str, image: str, expected: str) -> None:
    """A folder that was emptied or exchanged has another server's UUID, and an image of another series is refused before it starts."""
    assert other_data(note, uuid, image).startswith(expected)
    assert bool(other_data(note, uuid, image)) == bool(expected)


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        ({"rc": 0, "stdout": f"{UUID}\t5.6.51\n"}, True),
        ({"rc": 0, "stdout": ""}, False),
        ({"rc": 0, "stdout": UUID[:7]}, False),
        ({"rc": 1, "stdout": f"{UUID} 5.6.51"}, False),
        ({"msg": "no pod"}, False),
    ],
)
def test_half_an_answer_of_mysql_is_none(playbook: Playbook, tmp_path: Path, answer: dict[str, Any], whole: bool) -> None:
    """Neither a raw error nor the note for good."""
    check = role_tasks.task_of(role_tasks.read("storage_tutorial", "wait_mysql"), "Check that the password is right")
    told = {"__storage_tutorial_login": answer, "storage_tutorial_namespace": "outlive"}
    result = role_tasks.run(playbook, tmp_path, "storage_tutorial", [check], told)
    assert (result.returncode == 0) == whole, result.stdout + result.stderr
    if not whole:
        assert "MySQL doesn't answer a query (" in " ".join((result.stdout + result.stderr).split())


def test_states_have_the_last_words() -> None:
    ended = {"terminated": {"message": "The volume holds\nother data.\n"}}
    pods: list[dict[str, Any]] = [
        {"metadata": {"name": "a"}, "status": {"phase": "Running", "containerStatuses": [{"state": {"waiting": {}}, "lastState": ended}]}},
        {"metadata": {"name": "b"}, "status": {"phase": "Pending"}},
    ]
    assert states(pods) == "a Running (The volume holds other data.), b Pending"
    assert states([]) == "none"


WHOLE = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (WHOLE, True),
        (WHOLE | {"availableReplicas": 2}, True),
        (WHOLE | {"observedGeneration": 2}, False),
        (WHOLE | {"updatedReplicas": 1}, False),
        (WHOLE | {"replicas": 3}, False),
        ({each: WHOLE[each] for each in list(WHOLE)[:3]}, False),
        ({}, False),
    ],
)
def test_a_deployment_serves_by_one_of_its_present_pods(status: dict[str, int], expected: bool) -> None:
    assert serves({"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": status}) == expected


def test_who_is_asked_is_ready_and_stays() -> None:
    is_ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    pods: list[dict[str, Any]] = [
        {"metadata": {"name": "goes", "deletionTimestamp": "2026-01-02T03:04:05Z"}, "status": is_ready},
        {"metadata": {"name": "waits"}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}},
        {"metadata": {"name": "serves"}, "status": is_ready},
    ]
    assert ready(pods) == ["serves"]


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ({"storage_tutorial_workers": ["n1", "n2"]}, ""),
        ({"storage_tutorial_workers": ["n1"]}, "storage_tutorial_mysql_storage is nfs and storage_tutorial_workers has n1;"),
        ({"storage_tutorial_mysql_storage": "iscsi"}, "storage_tutorial_mysql_storage is iscsi and storage_tutorial_workers has"),
    ],
)
def test_second_pod_of_mysql_needs_a_folder_and_a_node(playbook: Playbook, tmp_path: Path, given: dict[str, Any], ends: str) -> None:
    check = role_tasks.task_of(role_tasks.read("storage_tutorial", "preflight"), "Check that a second pod of MySQL could wait")
    result = role_tasks.run(playbook, tmp_path, "storage_tutorial", [check], {"storage_tutorial_mysql_standby": True, **given})
    assert (result.returncode == 0) == (not ends), result.stdout + result.stderr
    assert ends in sentence(result.stdout + result.stderr) if ends else True


def refused(playbook: Playbook, tmp_path: Path, volumes: list[dict[str, Any]], note: str) -> str:
    """Return the sentence in which the role refuses a cluster that has these volumes and the note."""
    _, _, *checks = role_tasks.read("storage_tutorial", "volumes")
    namespace = {"metadata": {"annotations": {"outlive/mysql-data": note} if note else {}}}
    given = {
        "__storage_tutorial_standing": [],
        "__storage_tutorial_storage": {"results": [{"resources": volumes}, {"resources": []}]},
        "__storage_tutorial_namespace_state": {"resources": [namespace]},
        "storage_tutorial_mysql_image": "mysql:9.7",
    }
    result = role_tasks.run(playbook, tmp_path, "storage_tutorial", checks, given)
    assert result.returncode != 0
    return sentence(result.stdout + result.stderr)


def test_released_volume_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    """Before anything is applied, by a sentence that says how to reuse it."""
    path = "/nfsdata/mysql-pv"
    (address,) = re.findall(r"ansible_host: (\S+)", (ROOT / "inventories/lab/hosts.yml").read_text())[:1]
    found = volume(held=ref(uid="1")) | {"spec": {"nfs": {"server": address, "path": path}, "claimRef": ref(uid="1")}}
    said = refused(playbook, tmp_path, [found], "")
    assert "The volume mysql-pv is Released: its claim default/mysql-pvc is gone" in said
    assert '--patch=\'[{"op": "remove", "path": "/spec/claimRef/uid"}]\'`' in said


def test_another_series_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    said = refused(playbook, tmp_path, [], f"{UUID} 5.6.24")
    assert "storage_tutorial_mysql_image: The image is mysql:9.7, and MySQL's data was made by 5.6.24" in said
    assert "run `kubectl annotate namespace default outlive/mysql-data-`" in said


@pytest.mark.parametrize("script", ["setup", "teardown"])
@pytest.mark.parametrize(("address", "works"), [("192.0.2.10", True), ("192.0.2.11", False)])
def test_provisioner_writes_to_the_server_alone(tmp_path: Path, script: str, address: str, works: bool) -> None:
    """On the server the folder is its own; on a node that hasn't mounted it, the helper pod ends with a word and without a deed."""
    template = ROOT / "roles/storage_tutorial/templates/dynamic-provisioning/provisioner.yml.j2"
    text = template.read_text(encoding="utf-8").replace("{{ storage_tutorial_nfs_server }}", "192.0.2.10")
    config = yaml.safe_load(text.split("---\n")[0])["data"]
    folder = tmp_path / "dynamic" / "pvc-1"
    if script == "teardown":
        folder.mkdir(parents=True)
    done = subprocess.run(
        ["sh", "-c", config[script]],
        env={**os.environ, "VOL_DIR": str(folder), "HOST_IP": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == works
    assert folder.exists() == (works == (script == "setup"))
    if not works:
        assert done.stdout == f"{tmp_path}/dynamic isn't mounted\n"


@pytest.mark.parametrize(("note", "ends"), [("", False), (f"{UUID} 5.6.24", False), ("another 5.6.24", True)])
def test_folder_that_mysql_had(playbook: Playbook, tmp_path: Path, note: str, ends: bool) -> None:
    """A database that was made anew, wherever the old one is, doesn't end green."""
    tasks = role_tasks.read("storage_tutorial", "wait_mysql")
    check = role_tasks.task_of(tasks, "Check that MySQL's folder is the one that it had")
    given = {
        "__storage_tutorial_login": {"stdout": f"{UUID}\t5.6.24\n"},
        "__storage_tutorial_namespace_state": {"resources": [{"metadata": {"annotations": {"outlive/mysql-data": note}} if note else {}}]},
    }
    result = role_tasks.run(playbook, tmp_path, "storage_tutorial", [check], json.loads(json.dumps(given)))
    assert (result.returncode != 0) == ends, result.stdout + result.stderr
    if ends:
        assert f"MySQL's folder isn't the one that it had: its server is {UUID}, and was another: on the server" in sentence(
            result.stdout + result.stderr
        )
