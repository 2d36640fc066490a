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


def test_repository_with_a_key_of_this_machine(playbook: Playbook, tmp_path: Path) -> None:
    """The key may lie on the machine that runs Ansible."""
    (tmp_path / "the-key").write_text("a key\n")
    tasks = role_tasks.read("kubernetes_packages", "repository")
    for name, file in (("Configure the repository", "sources"), ("Pin the packages to their version", "preferences")):
        role_tasks.task_of(tasks, name)["ansible.builtin.template"]["dest"] = str(tmp_path / file)
    told = {"kubernetes_packages_repository_key": str(tmp_path / "the-key"), "__kubernetes_packages_keyring": str(tmp_path / "keyring.asc")}
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
    ],
)
def test_a_node_keeps_its_version(
    playbook: Playbook, tmp_path: Path, node: bool, installed: str, told: dict[str, Any], refused: bool
) -> None:
    """Only an upgrade may give a node of a cluster another one."""
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
