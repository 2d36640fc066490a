"""The playbooks read like a table of contents: roles, a tag for each, and --limit and --tags do what everybody expects."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from outlive.host.molecule import applied_roles

from .conftest import ROOT, Playbook
from .role_tasks import each, on_this_machine

SITE = ROOT / "playbooks/site.yml"
TUTORIAL = ROOT / "playbooks/tutorial.yml"
VERBS = {
    *("Add", "Apply", "Approve", "Check", "Clear", "Configure", "Copy", "Create", "Delete", "Drain", "Enable", "Ensure", "Export"),
    *("Fail", "Fetch", "Find", "Flush", "Gather", "Generate", "Hold", "Install", "Join", "Load", "Log", "Make", "Mark", "Mask", "Mount"),
    *(
        "Pack",
        "Patch",
        "Read",
        "Record",
        "Refuse",
        "Reload",
        "Remove",
        "Renew",
        "Reset",
        "Restart",
        "Restore",
        "Run",
        "Save",
        "Send",
        "Set",
    ),
    *(
        "Show",
        "Stage",
        "Start",
        "Stop",
        "Taint",
        "Turn",
        "Uncordon",
        "Unmount",
        "Unpack",
        "Update",
        "Upgrade",
        "Validate",
        "Verify",
        "Wait",
    ),
    *("Write", "Annotate", "Bring", "Prepare", "Connect", "Disable", "Download", "Move", "Pin", "Report", "Deploy"),
}
"""The words with which a task's name begins."""


def plays(path: Path) -> list[dict[str, Any]]:
    """Return a playbook's plays, without those that it imports."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [play for play in found if "hosts" in play]


def listed(done: subprocess.CompletedProcess[str]) -> str:
    """Return what ansible-playbook listed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def roles_of(tasks: str) -> set[str]:
    """Return the roles of the tasks that were listed; Ansible validates the variables of each role whatever the tags are."""
    found = re.findall(r"^ +(\w+) : (.+?)\tTAGS", tasks, flags=re.MULTILINE)
    return {role for role, task in found if not task.startswith("Validating arguments")}


@pytest.mark.parametrize("path", [SITE, TUTORIAL], ids=lambda path: path.stem)
def test_each_role_has_a_tag_of_its_name(path: Path) -> None:
    roles = [role for play in plays(path) for role in play.get("roles", [])]
    assert [role["role"] for role in roles if role["role"] not in role["tags"]] == []


def test_readme_names_each_tag() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tags = {tag for path in (SITE, TUTORIAL) for play in plays(path) for role in play.get("roles", []) for tag in role["tags"]}
    assert {tag for tag in tags if f"`{tag}`" not in text} == set()


def test_a_tag_runs_its_role_and_the_check_of_the_inventory(playbook: Playbook) -> None:
    tasks = listed(playbook(SITE, "--tags", "nfs_server", "--list-tasks"))
    assert roles_of(tasks) == {"inventory_check", "nfs_server"}


def test_a_recovery_profile_is_a_tag_of_what_it_sets(playbook: Playbook) -> None:
    tasks = listed(playbook(SITE, "--tags", "recovery_profile", "--list-tasks", str(TUTORIAL)))
    assert roles_of(tasks) == {*("inventory_check", "nfs_server", "control_plane", "worker", "storage_tutorial")}


def test_a_worker_alone_is_checked_joined_and_waited_for(playbook: Playbook) -> None:
    hosts = listed(playbook(SITE, "--limit", "k8s-node1", "--list-hosts"))
    found = {
        name: re.findall(r"^      (\S+)$", block, flags=re.MULTILINE)
        for name, block in re.findall(r"\): (.+?)\tTAGS.*\n((?:    .*\n)*)", hosts)
    }
    assert [name for name, members in found.items() if members == ["k8s-node1"]] == [
        "Check the inventory",
        "Check it where --limit leaves the control plane out",
        "Prepare all machines",
        "Install container runtime and Kubernetes packages",
        "Make the nodes clients of the NFS server",
        "Join the workers",
        "Configure the kubelets of all nodes",
        "Wait for the nodes",
        "Deploy the enforcer of NetworkPolicies",
    ]
    assert [name for name, members in found.items() if members not in ([], ["k8s-node1"])] == []


def test_a_limit_does_not_go_past_what_the_control_plane_refuses(playbook: Playbook, tmp_path: Path) -> None:
    """The machines that are left get routes and names by the same settings."""
    manifests = tmp_path / "kubernetes/manifests"
    for name in ("manifests", "pki"):
        (tmp_path / "kubernetes" / name).mkdir(parents=True)
    (tmp_path / "kubernetes/pki/.initialised").touch()
    flags = ["--service-cluster-ip-range=10.96.0.0/12", "--advertise-address=192.168.56.10"]
    (manifests / "kube-apiserver.yaml").write_text(yaml.safe_dump({"spec": {"containers": [{"command": ["kube-apiserver", *flags]}]}}))
    told = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "__control_plane_folder": str(tmp_path / "kubernetes"),
        "control_plane_service_subnet": "10.112.0.0/12",
    }
    done = playbook(SITE, "--limit", "k8s-node1", "--tags", "node_base", "-e", json.dumps(told), "--check")
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "control_plane_service_subnet is 10.112.0.0/12, and the cluster was made with 10.96.0.0/12, which never changes" in said
    assert "control_plane_address" not in said
    assert "node_base :" not in said


def test_a_wrong_inventory_is_refused_under_limit(playbook: Playbook) -> None:
    done = playbook(SITE, "--limit", "k8s-node1", "-e", "lab_network=somewhere")
    assert done.returncode != 0
    assert "lab_network is 'somewhere', which is no IPv4 network" in done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_each_playbook_begins_with_the_check_of_the_inventory(path: Path) -> None:
    first, *_ = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem not in ("check", "wait"):  # what the others import
        assert first["ansible.builtin.import_playbook"] == "check.yml"


@pytest.mark.parametrize("limit", ["k8s-master", "workers"])
@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_a_part_of_the_machines_is_refused(playbook: Playbook, path: Path, limit: str) -> None:
    """What a play needs of another one would be left out without a word: a restore would empty the export under a server that runs."""
    if path.stem in ("site", "wait"):
        pytest.skip("it takes a part of the machines")
    done = playbook(path, "--limit", limit, "--check", "-e", "backup=/nowhere", "-e", "node=k8s-node1")
    assert done.returncode != 0
    assert f"--limit is '{limit}', which would leave out steps on other machines" in " ".join(
        (done.stdout + done.stderr).replace("''", "'").split()
    )
    assert "TASK [backup" not in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_each_play_keeps_a_proxy_away_from_the_lab(path: Path) -> None:
    if path.stem != "check":  # which asks nobody
        assert {play.get("environment") for play in plays(path)} <= {"{{ lab_environment }}"}


@pytest.mark.parametrize(
    ("here", "told", "expected"),
    [
        ({}, {}, "192.168.56.11"),
        ({"HTTPS_PROXY": "http://192.0.2.3:3128", "no_proxy": "a.example, localhost"}, {}, "a.example"),
        ({}, {"lab_proxy": "http://192.0.2.3:3128"}, "192.168.56.12"),
    ],
)
def test_what_no_proxy_is_asked_for(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: dict[str, str], told: dict[str, str], expected: str
) -> None:
    """The lab's addresses, one by one and as networks, the mirror's, and what the user said; always, as a machine may know of a proxy by itself."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    written = tmp_path / "environment"
    write = {"name": "Write", "ansible.builtin.copy": {"dest": str(written), "content": "{{ lab_environment | to_json }}", "mode": "0600"}}
    path = on_this_machine(tmp_path, "localhost", tasks=[write])
    result = playbook(path, "-e", json.dumps({"mirror_address": "192.0.2.9", **told}))
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(written.read_text())
    assert found.keys() == {"no_proxy", "NO_PROXY"}
    hosts = found["no_proxy"].split(",")
    assert {"localhost", "192.168.56.0/24", "192.168.56.10", "10.96.0.0/12", "192.0.2.9", expected} <= set(hosts)
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize("role", ["control_plane", "upgrade", "worker"])
def test_kubeadm_is_told_of_no_proxy(playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """Neither of the machine's, by which it would ask for the API server, nor of the caller's exceptions: it would write them into the static pods."""
    mine = f"{{{{ __{role}_kubeadm_environment }}}}"
    tasks = [
        task for file in (ROOT / "roles" / role / "tasks").glob("*.yml") for task in each(yaml.safe_load(file.read_text(encoding="utf-8")))
    ]
    called = [task for task in tasks if "kubeadm" in re.findall(r"\w+", str(task.get("ansible.builtin.command", {}).get("argv", ""))[:12])]
    called += [task for task in tasks if str(task.get("ansible.builtin.command", {}).get("cmd", "")).startswith("kubeadm")]
    assert called
    assert [task["name"] for task in called if task.get("environment") != mine] == []
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.3:3128")
    written = tmp_path / "environment"
    write = {"name": "Write", "ansible.builtin.shell": f"env > {written}", "environment": mine}
    path = on_this_machine(
        tmp_path, "localhost", environment="{{ lab_environment }}", vars_files=[str(ROOT / "roles" / role / "vars/main.yml")], tasks=[write]
    )
    result = playbook(path)
    assert result.returncode == 0, result.stdout + result.stderr
    told = dict(line.split("=", 1) for line in written.read_text().splitlines() if "=" in line)
    assert [name for name, value in told.items() if name.lower().endswith("_proxy") and value] == []


def test_no_role_is_applied_twice() -> None:
    roles = applied_roles(SITE)
    assert sorted(roles) == sorted(set(roles))


def test_task_names_begin_with_the_field_s_verbs() -> None:
    files = [*(ROOT / "roles").glob("*/tasks/*.yml"), *(ROOT / "roles").glob("*/handlers/*.yml"), *(ROOT / "playbooks").glob("*.yml")]
    names = [
        (path, name) for path in files for name in re.findall(r"^ *- name: (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    assert names
    odd = [f"{path.relative_to(ROOT)}: {name}" for path, name in names if name.strip("\"'").rpartition(" | ")[2].split()[0] not in VERBS]
    assert odd == []


def test_task_names_of_a_file_begin_with_its_name() -> None:
    odd = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "roles").glob("*/tasks/*.yml")
        if path.stem != "main"
        for name in re.findall(r"^ *- name: (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if not name.strip("\"'").startswith(f"{path.stem} | ")
    ]
    assert odd == []
