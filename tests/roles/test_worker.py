"""The role worker removes a node: not while its pods are there, and not as a lost one while it answers; a lost one is turned away first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from outlive.fence.actions import EXPIRE, NFT_OBJECTS, NFT_RULES, NFT_SET
from roles.worker.filter_plugins.worker import still_there

from . import role_tasks
from .conftest import ROOT, Playbook
from .test_preflight import Edit, sentence


def pod(name: str, phase: str = "Running", **metadata: object) -> dict[str, Any]:
    """Return a pod as the API shows it."""
    return {"metadata": {"namespace": "default", "name": name} | metadata, "status": {"phase": phase}}


def test_pods_that_have_to_go() -> None:
    """All but those of the node itself, and those that ended; also one that the kubelet doesn't end."""
    pods = [
        pod("mysql-1", deletionTimestamp="2026-01-01T00:00:00Z", ownerReferences=[{"kind": "ReplicaSet"}]),
        pod("own"),
        pod("waits", "Pending"),
        pod("flannel", ownerReferences=[{"kind": "DaemonSet"}]),
        pod("static", annotations={"kubernetes.io/config.mirror": "1"}),
        pod("done", "Succeeded"),
        pod("lost", "Failed"),
    ]
    assert still_there(pods) == ["default/mysql-1 (Terminating)", "default/own (Running)", "default/waits (Pending)"]


@pytest.mark.parametrize(
    ("drain", "pods", "expected"),
    [
        # What the module of kubernetes.core 6.2.0 gives after its time ran out.
        (
            {"changed": True, "result": "1 Pod(s) deleted from node.", "warnings": ["timeout reached while pods were still running."]},
            [pod("mysql-1", deletionTimestamp="2026-01-01T00:00:00Z")],
            "couldn't give its pods away within worker_drain_seconds (300 s): default/mysql-1 (Terminating);",
        ),
        ({"msg": "Failed to delete pod a/b due to: budget"}, [], "(300 s): Failed to delete pod a/b due to: budget"),
        ({"changed": True, "result": "1 Pod(s) deleted from node."}, [pod("done", "Succeeded")], ""),
    ],
)
def test_pods_that_stay_are_named(playbook: Playbook, tmp_path: Path, drain: dict[str, Any], pods: list[Any], expected: str) -> None:
    check = role_tasks.task_of(role_tasks.read("worker", "drain"), "Check that its pods went")
    given = {
        "__worker_drain": drain,
        "__worker_pods": {"resources": pods},
        "worker_kubeconfig": "/nowhere",
        "worker_node_name": "k8s-node1",
    }
    result = role_tasks.run(playbook, tmp_path, "worker", [check], given)
    assert (result.returncode != 0) == bool(expected), result.stdout + result.stderr
    assert expected in " ".join((result.stdout + result.stderr).split())


@pytest.mark.parametrize(("ready", "refused"), [("True", True), ("Unknown", False), ("False", False)])
def test_node_that_answers_is_not_lost(playbook: Playbook, tmp_path: Path, ready: str, refused: bool) -> None:
    check = role_tasks.task_of(role_tasks.read("worker", "check_lost"), "Check that the node is lost")
    conditions = [{"type": "MemoryPressure", "status": "True"}, {"type": "Ready", "status": ready}]
    given = {"__worker_membership": {"resources": [{"status": {"conditions": conditions}}]}, "worker_node_name": "k8s-node1"}
    result = role_tasks.run(playbook, tmp_path, "worker", [check], given)
    assert (result.returncode != 0) == refused, result.stdout + result.stderr
    if refused:
        assert "k8s-node1 is Ready, so it isn't lost: remove it without saying so" in sentence(result.stdout + result.stderr)


def test_pods_go_before_their_node() -> None:
    """The order of the tasks, and that a node is deleted under its pods only where it is lost."""
    names = [task["name"].partition(" | ")[2] for task in role_tasks.read("worker", "remove")]
    assert names == ["Check the cluster", "Drain the node", "Delete the node", "Reset the machine"]
    plays = yaml.safe_load((ROOT / "playbooks/remove-node.yml").read_text(encoding="utf-8"))
    used = [task["ansible.builtin.import_role"]["tasks_from"] for play in plays for task in play.get("tasks", [])]
    assert used == ["check_lost", "fence", "remove", "remove_from_node", "allow"]


def test_fence_is_the_watcher_s(playbook: Playbook, tmp_path: Path) -> None:
    """What the role turns away, `outlive fence release` lets in again, and the other way round."""
    shown = tmp_path / "shown"
    content = "{{ [__nfs_server_fence_set, __nfs_server_fence_objects, __nfs_server_fence_rules] | join('\n') }}"
    show = {"name": "Show", "ansible.builtin.copy": {"dest": str(shown), "content": content, "mode": "0600"}}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", [show], {"nfs_server_export": "/nfsdata"})
    assert result.returncode == 0, result.stdout + result.stderr
    assert shown.read_text() == "\n".join([NFT_SET, NFT_OBJECTS, NFT_RULES])
    text = (ROOT / "roles/nfs_server/tasks/fence.yml").read_text(encoding="utf-8")
    for part in re.findall(r"/proc/\S+|grep -qsF|echo expire", EXPIRE):
        assert part.rstrip(";") in text


@pytest.mark.parametrize("tasks", ["fence", "allow"])
def test_only_an_address_is_turned_away(playbook: Playbook, tmp_path: Path, tasks: str) -> None:
    result = role_tasks.run(playbook, tmp_path, "nfs_server", role_tasks.read("nfs_server", tasks), {"nfs_server_fenced": "any"})
    assert result.returncode != 0
    assert "nfs_server_fenced is 'any', and only an IPv4 address can be" in " ".join(
        (result.stdout + result.stderr).replace("''", "'").split()
    )


@pytest.mark.parametrize(("lost", "allowed"), [("maybe", "true, false"), ("true", "false")])
def test_nfs_server_is_not_lost(playbook: Playbook, edit_hosts: Edit, lost: str, allowed: str) -> None:
    """Nobody could turn it away from itself."""
    if lost == "true":
        edit_hosts(lambda hosts: hosts["children"]["nfs_servers"].update(hosts={"k8s-node1": None}))
    result = playbook(ROOT / "playbooks/remove-node.yml", "-e", "node=k8s-node1", "-e", f"lost={lost}")
    assert result.returncode != 0
    assert f"lost is '{lost}', which isn't known: set it to one of {allowed}." in sentence(result.stdout + result.stderr)
