"""The role kubernetes_packages: all follows from the version, only what is missing is installed, and a node of a cluster keeps its version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from . import conftest, role_tasks
from .conftest import Playbook

VERSION = {"kubernetes_packages_version": "1.37.2"}


def facts(**versions: str) -> role_tasks.Task:
    """Return a task that makes the facts of installed packages."""
    packages = {name: [{"name": name, "version": version}] for name, version in versions.items()}
    return {"name": "Make facts", "ansible.builtin.set_fact": {"packages": packages, "cacheable": True}}


def say(expression: str) -> role_tasks.Task:
    """Return a task that shows a value."""
    return {"name": "Say", "ansible.builtin.debug": {"msg": f"it is {{{{ {expression} }}}}."}}


@pytest.mark.parametrize(
    ("told", "url", "key"),
    [
        ({}, "https://pkgs.k8s.io/core:/stable:/v1.37/deb/", "https://pkgs.k8s.io/core:/stable:/v1.37/deb/Release.key"),
        ({"kubernetes_packages_repository": "http://192.0.2.1/"}, "http://192.0.2.1/v1.37/deb/", "http://192.0.2.1/v1.37/deb/Release.key"),
        ({"kubernetes_packages_repository_url": "http://192.0.2.1/x/"}, "http://192.0.2.1/x/", "http://192.0.2.1/x/Release.key"),
        ({"kubernetes_packages_repository_key": "/a/key"}, "https://pkgs.k8s.io/core:/stable:/v1.37/deb/", "/a/key"),
    ],
)
def test_repository_follows_from_the_version(playbook: Playbook, tmp_path: Path, told: dict[str, str], url: str, key: str) -> None:
    """Either can be given by itself, too."""
    expression = "kubernetes_packages_repository_url ~ ' ' ~ kubernetes_packages_repository_key"
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", [say(expression)], {**VERSION, **told})
    assert f"it is {url} {key}." in result.stdout, result.stdout + result.stderr


def test_missing_version_is_named(playbook: Playbook, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the only thing that has to be given; the inventory that all share gives it."""
    monkeypatch.setattr(conftest, "COMMON", inventory)
    path = tmp_path / "playbook.yml"
    path.write_text(yaml.safe_dump([{"name": "Try it", "hosts": "localhost", "connection": "local", "roles": ["kubernetes_packages"]}]))
    result = playbook(path, "--check")
    assert result.returncode != 0
    assert "missing required arguments: kubernetes_packages_version" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ({}, ["kubeadm", "kubelet", "kubectl"]),
        ({"kubeadm": "1.37.2-1.1", "kubelet": "1.37.2-2.1", "kubectl": "1.37.2-1.1", "bash": "5.2"}, []),
        ({"kubeadm": "1.37.2-1.1", "kubelet": "1.37.20-1.1", "kubectl": "1.36.4-1.1"}, ["kubelet", "kubectl"]),
    ],
)
def test_missing_packages(playbook: Playbook, tmp_path: Path, installed: dict[str, str], missing: list[str]) -> None:
    """A package of the version is right whatever its revision; 1.37.20 isn't 1.37.2."""
    tasks = [facts(**installed), say("__kubernetes_packages_missing | join(' ')")]
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", tasks, VERSION)
    assert f"it is {' '.join(missing)}." in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("revision", "missing"), [("1.1", ["kubelet"]), ("2.1", ["kubeadm", "kubectl"]), ("2", ["kubeadm", "kubelet", "kubectl"])]
)
def test_packages_of_a_revision(playbook: Playbook, tmp_path: Path, revision: str, missing: list[str]) -> None:
    """Where one is asked for, the others are missing, and it is what apt is asked for."""
    tasks = [facts(kubeadm="1.37.2-1.1", kubelet="1.37.2-2.1", kubectl="1.37.2-1.1")]
    tasks.append(say("__kubernetes_packages_missing | join(' ') ~ ' ' ~ __kubernetes_packages_version"))
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", tasks, {**VERSION, "kubernetes_packages_revision": revision})
    assert f"it is {' '.join(missing)} 1.37.2-{revision}." in result.stdout, result.stdout + result.stderr


def test_repository_with_a_key_of_this_machine(playbook: Playbook, tmp_path: Path) -> None:
    """The key may lie on the machine that runs Ansible."""
    (tmp_path / "the-key").write_text("a key\n")
    tasks = role_tasks.read("kubernetes_packages", "repository")
    told = {
        "kubernetes_packages_repository_key": str(tmp_path / "the-key"),
        "__kubernetes_packages_keyring": str(tmp_path / "keyring.asc"),
        "__kubernetes_packages_source_file": str(tmp_path / "sources"),
        "__kubernetes_packages_preferences": str(tmp_path / "preferences"),
    }
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", tasks, {**VERSION, **told})
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "keyring.asc").read_text() == "a key\n"
    assert f"Signed-By: {tmp_path}/keyring.asc\n" in (tmp_path / "sources").read_text()
    assert "Package: kubeadm kubelet kubectl\nPin: version 1.37.2-*\nPin-Priority: 1001\n" in (tmp_path / "preferences").read_text()


def test_the_key_comes_before_the_source(playbook: Playbook, tmp_path: Path) -> None:
    """A key that can't be had leaves no source behind, without which apt would refuse everything else too."""
    tasks = role_tasks.read("kubernetes_packages", "repository")
    for name, file in (("Configure the repository", "sources"), ("Pin the packages to their version", "preferences")):
        role_tasks.task_of(tasks, name)["ansible.builtin.template"]["dest"] = str(tmp_path / file)
    role_tasks.task_of(tasks, "Download the repository's key")["delay"] = 0
    told = {"kubernetes_packages_repository_key": "http://127.0.0.1:1/key", "__kubernetes_packages_keyring": str(tmp_path / "keyring.asc")}
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", tasks, {**VERSION, **told})
    assert result.returncode != 0
    assert result.stdout.count("FAILED - RETRYING") == 3, result.stdout
    assert not (tmp_path / "sources").exists()


def test_the_key_is_downloaded_by_the_proxy(playbook: Playbook, tmp_path: Path) -> None:
    """What apt has of its own is another thing; the module takes the environment's."""
    tasks = role_tasks.read("kubernetes_packages", "repository")
    assert role_tasks.task_of(tasks, "Download the repository's key")["environment"] == "{{ __kubernetes_packages_proxy }}"
    told = {"kubernetes_packages_proxy": "http://192.0.2.3:3128", "kubernetes_packages_no_proxy": ["a", ".b"]}
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", [say("__kubernetes_packages_proxy | to_json")], {**VERSION, **told})
    expected = '{"http_proxy": "http://192.0.2.3:3128", "https_proxy": "http://192.0.2.3:3128", "no_proxy": "a,.b"}'
    assert f"it is {expected}." in " ".join(result.stdout.split()), result.stdout + result.stderr


@pytest.mark.parametrize(
    ("node", "installed", "told", "refused"),
    [
        (True, "1.36.4-1.1", {}, True),
        (True, "1.36.4-1.1", {"kubernetes_packages_upgrade": True}, False),
        (True, "1.37.2-1.1", {}, False),
        (False, "1.36.4-1.1", {}, False),
        (True, "1.37.2-1.1", {"kubernetes_packages_revision": "2.1"}, False),
    ],
)
def test_a_node_keeps_its_version(
    playbook: Playbook, tmp_path: Path, node: bool, installed: str, told: dict[str, Any], refused: bool
) -> None:
    """Only an upgrade may give a node of a cluster another one; another revision of the package is the same version."""
    conf = tmp_path / "kubelet.conf"
    if node:
        conf.touch()
    (check,) = [task for task in role_tasks.read("kubernetes_packages", "main") if "preflight.yml" in task.values()]
    variables = {**VERSION, **told, "__kubernetes_packages_kubelet_conf": str(conf)}
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", [facts(kubelet=installed), check], variables)
    output = " ".join((result.stdout + result.stderr).split())
    assert (result.returncode != 0) == refused, output
    sentence = "kubernetes_packages_version is 1.37.2, and localhost is a node of a cluster with 1.36.4: run playbooks/upgrade.yml, which"
    assert (sentence in output) == refused


REFUSED: list[tuple[dict[str, Any], dict[str, str], str]] = [
    (
        {"kubernetes_packages_version": "1.37.2-2.1"},
        {},
        "kubernetes_packages_version is '1.37.2-2.1', which is no version of Kubernetes: write three numbers",
    ),
    ({"kubernetes_packages_version": "v1.37.2"}, {}, "which is no version of Kubernetes"),
    (
        {"kubernetes_packages_repository": ""},
        {"kubeadm": "1.37.2-1.1"},
        "localhost needs kubelet, kubectl 1.37.2-*, and kubernetes_packages_repository is empty",
    ),
    (
        {"kubernetes_packages_version": "1.38.0"},
        {"containerd": "1.7.24~ds1-6+b4"},
        "kubernetes_packages_version is 1.38.0, and localhost has containerd 1.7.24: from 1.38 on the kubelet takes containerd 2 and newer only.",
    ),
    ({"kubernetes_packages_version": "1.38.0-rc.1"}, {"containerd.io": "5:1.7.29-1"}, "localhost has containerd 1.7.29"),
    (
        {"kubernetes_packages_version": "1.38.0", "kubernetes_packages_upgrade": True},
        {"containerd": "1.7.24"},
        "localhost has containerd 1.7.24",
    ),
    ({"kubernetes_packages_version": "1.38.0"}, {"containerd": "2.1.4-1"}, ""),
    ({"kubernetes_packages_version": "1.37.9"}, {"containerd": "1.7.24"}, ""),
    ({"kubernetes_packages_repository": ""}, dict.fromkeys(("kubeadm", "kubelet", "kubectl"), "1.37.2-1.1"), ""),
]
"""What the role is told, what is installed, and what it says of it."""


def test_refused(playbook: Playbook, tmp_path: Path) -> None:
    """Before anything is installed."""
    (check,) = [task for task in role_tasks.read("kubernetes_packages", "main") if "preflight.yml" in task.values()]
    tasks: list[role_tasks.Task] = [
        {
            "name": f"Case {number}",
            "vars": {**VERSION, **told},
            "block": [facts(**installed), check, {"name": "Say", "ansible.builtin.debug": {"msg": f"case {number} is fine."}}],
            "rescue": [{"name": "Say", "ansible.builtin.debug": {"msg": f"case {number} says {{{{ ansible_failed_result.msg }}}}"}}],
        }
        for number, (told, installed, _) in enumerate(REFUSED)
    ]
    result = role_tasks.run(
        playbook, tmp_path, "kubernetes_packages", tasks, {"__kubernetes_packages_kubelet_conf": str(tmp_path / "none")}
    )
    output = " ".join((result.stdout + result.stderr).split()).replace("''", "'")
    found = [output.split(f"case {number} ")[1] for number in range(len(REFUSED))]
    assert [
        expected
        for said, (_, _, expected) in zip(found, REFUSED, strict=True)
        if expected not in said or (not expected and "is fine" not in said[:8])
    ] == []


@pytest.mark.parametrize(
    ("before", "repository", "left"),
    [
        ("http://192.0.2.1/", "", False),
        ("http://192.0.2.1/", "http://192.0.2.2/", True),
        ("", "http://192.0.2.2/", False),
    ],
)
def test_repository_of_before(playbook: Playbook, tmp_path: Path, before: str, repository: str, left: bool) -> None:
    """Where nothing is missing, a machine that has none gets none; one that has another one gets the one that is wanted, and none where none is."""
    source, keyring = tmp_path / "kubernetes.sources", tmp_path / "keyring.asc"
    (tmp_path / "key").write_text("a key\n")
    if before:
        source.write_text(f"# Written by Ansible (role kubernetes_packages).\nTypes: deb\nURIs: {before}\n")
        keyring.write_text("the key of before\n")
    tasks = role_tasks.read("kubernetes_packages", "main")
    del tasks[-2:]  # what is installed, and the kubelet's service
    installed = dict.fromkeys(("kubeadm", "kubelet", "kubectl"), "1.37.2-1.1")
    told = {
        "kubernetes_packages_repository": repository,
        "kubernetes_packages_repository_key": str(tmp_path / "key"),
        "__kubernetes_packages_source_file": str(source),
        "__kubernetes_packages_keyring": str(keyring),
        "__kubernetes_packages_preferences": str(tmp_path / "preferences"),
        "__kubernetes_packages_kubelet_conf": str(tmp_path / "none"),
    }
    tasks[0] = facts(**installed)
    tasks.insert(1, role_tasks.task_of(role_tasks.read("kubernetes_packages", "facts"), "Read which repository is configured"))
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", tasks, {**VERSION, **told})
    assert result.returncode == 0, result.stdout + result.stderr
    assert source.exists() == keyring.exists() == left
    if left:
        assert f"URIs: {repository}v1.37/deb/\n" in source.read_text()
        assert keyring.read_text() == "a key\n"


@pytest.mark.parametrize("repository", ["", "http://192.0.2.2/"])
def test_repository_of_somebody_else_stays(playbook: Playbook, tmp_path: Path, repository: str) -> None:
    """It has the role's name, not its words; nothing is asked of any repository where no package is missing."""
    source = tmp_path / "kubernetes.sources"
    source.write_text("Types: deb\nURIs: http://192.0.2.1/\n")
    tasks = role_tasks.read("kubernetes_packages", "main")
    del tasks[-2:]
    told = {
        "kubernetes_packages_repository": repository,
        "kubernetes_packages_repository_key": "http://127.0.0.1:1/key",
        "__kubernetes_packages_source_file": str(source),
        "__kubernetes_packages_keyring": str(tmp_path / "keyring.asc"),
        "__kubernetes_packages_preferences": str(tmp_path / "preferences"),
        "__kubernetes_packages_kubelet_conf": str(tmp_path / "none"),
    }
    tasks[0] = facts(**dict.fromkeys(("kubeadm", "kubelet", "kubectl"), "1.37.2-1.1"))
    tasks.insert(1, role_tasks.task_of(role_tasks.read("kubernetes_packages", "facts"), "Read which repository is configured"))
    result = role_tasks.run(playbook, tmp_path, "kubernetes_packages", tasks, {**VERSION, **told})
    assert result.returncode == 0, result.stdout + result.stderr
    assert source.read_text() == "Types: deb\nURIs: http://192.0.2.1/\n"
