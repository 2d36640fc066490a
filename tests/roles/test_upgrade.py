"""The role that brings a cluster to another version: what it waits for, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from roles.upgrade.filter_plugins.upgrade import not_available

from . import role_tasks
from .conftest import ROOT, Playbook
from .test_preflight import sentence


def deployment(name: str, wanted: int, status: dict[str, Any]) -> dict[str, Any]:
    """Return a Deployment as the API shows it."""
    return {"metadata": {"namespace": "kube-system", "name": name}, "spec": {"replicas": wanted}, "status": status}


@pytest.mark.parametrize(
    ("wanted", "status", "named"),
    [
        (2, {"availableReplicas": 2}, False),
        (2, {"availableReplicas": 1, "replicas": 2}, True),
        # A field that is 0 isn't shown.
        (1, {"unavailableReplicas": 1}, True),
        (1, {}, True),
        (0, {}, False),
    ],
)
def test_deployments_that_lack_a_pod(wanted: int, status: dict[str, Any], named: bool) -> None:
    found = not_available([deployment("fine", 1, {"availableReplicas": 1}), deployment("coredns", wanted, status)])
    assert found == (["kube-system/coredns"] if named else [])


@pytest.mark.parametrize(("available", "named"), [(1, False), (0, True)])
def test_deployment_of_which_a_pod_stands_by(available: int, named: bool) -> None:
    """It says in an annotation how many are available when all is well."""
    found = deployment("mysql", 2, {"availableReplicas": available, "replicas": 2})
    found["metadata"]["annotations"] = {"outlive/available": "1"}
    assert not_available([found]) == (["kube-system/mysql"] if named else [])


def test_the_role_knows_its_filter(playbook: Playbook, tmp_path: Path) -> None:
    """Where a Deployment never becomes available, the sentence names it."""
    check = yaml.safe_load((ROOT / "roles/upgrade/tasks/wait_deployments.yml").read_text())[1]
    variables = {
        "__upgrade_deployments": {"failed": True, "resources": [deployment("coredns", 1, {})]},
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    # The role is known to a play from its beginning, whatever of it is used.
    never = {"name": "Never", "ansible.builtin.import_role": {"name": "upgrade", "tasks_from": "check"}, "when": False}
    play = {"name": "Try it", "hosts": "k8s-master", "connection": "local", "vars": variables, "tasks": [never, check]}
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play]))
    result = playbook(tmp_path / "playbook.yml")
    assert result.returncode != 0
    assert "Not available within upgrade_timeout (600 s): kube-system/coredns; k8s-master keeps its pods" in sentence(
        result.stdout + result.stderr
    )


def run(playbook: Playbook, tmp_path: Path, use: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    """Use the role on this machine in place of the control plane."""
    play = {
        "name": "Try the role on this machine",
        "hosts": "k8s-master",
        "connection": "local",
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": [{"name": "Use it", "ansible.builtin.import_role": {"name": "upgrade"} | use}],
    }
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play]))
    return playbook(tmp_path / "playbook.yml", *options)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ({}, "give tasks_from one of check, control_plane, node."),
        ({"tasks_from": "check"}, "k8s-master has no control plane that could be upgraded"),
    ],
)
def test_refused(playbook: Playbook, tmp_path: Path, use: dict[str, Any], expected: str) -> None:
    """Before anything is changed, and so in check mode too."""
    result = run(playbook, tmp_path, use, "--check")
    assert result.returncode != 0
    assert expected in sentence(result.stdout + result.stderr)


@pytest.mark.parametrize("name", ["control_plane", "node"])
def test_check_mode_takes_no_step(playbook: Playbook, tmp_path: Path, name: str) -> None:
    result = run(playbook, tmp_path, {"tasks_from": name}, "--check")
    assert result.returncode == 0, result.stdout + result.stderr
    # What isn't skipped is the check of the options.
    assert "ok=1 " in result.stdout


def test_each_entry_point_is_named() -> None:
    specs = yaml.safe_load((ROOT / "roles/upgrade/meta/argument_specs.yml").read_text())["argument_specs"]
    variables = yaml.safe_load((ROOT / "roles/upgrade/vars/main.yml").read_text())
    assert [name for name in specs if name != "main"] == variables["__upgrade_entry_points"]


@pytest.mark.parametrize(
    ("version", "containerd", "refused"), [("1.38.0", "1.7.24", True), ("1.38.0", "2.1.4", False), ("1.37.3", "1.7.24", False)]
)
def test_old_containerd_is_refused_before_the_control_plane_s_turn(
    playbook: Playbook, tmp_path: Path, version: str, containerd: str, refused: bool
) -> None:
    task = role_tasks.task_of(role_tasks.read("upgrade", "check"), "Check that all of them have a containerd for the version")
    runtimes = {"k8s-master": "2.1.4", "k8s-node2": containerd}
    nodes = [
        {"metadata": {"name": name}, "status": {"nodeInfo": {"containerRuntimeVersion": f"containerd://{each}"}}}
        for name, each in runtimes.items()
    ]
    result = role_tasks.run(playbook, tmp_path, "upgrade", [task], {"upgrade_version": version, "__upgrade_nodes": {"resources": nodes}})
    assert (result.returncode != 0) == refused, result.stdout + result.stderr
    if refused:
        assert "kubernetes_packages_version is 1.38.0, and k8s-node2 has containerd 1: from 1.38 on" in sentence(
            result.stdout + result.stderr
        )
