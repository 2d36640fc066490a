"""What the role containerd tells containerd about mirrors is what containerd 1.7 takes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from . import role_tasks
from .conftest import Playbook

ONE = "http://192.0.2.1:8481/v2/docker.io"
TWO = "https://mirror.example"


@pytest.mark.parametrize(
    ("mirrors", "hosts"),
    [
        ([ONE], {ONE: {"capabilities": ["pull", "resolve"], "override_path": True}}),
        ([TWO, ONE], {TWO: {"capabilities": ["pull", "resolve"]}}),
    ],
)
def test_file_of_a_registry(playbook: Playbook, tmp_path: Path, mirrors: list[str], hosts: dict[str, Any]) -> None:
    """The last mirror takes the upstream's place, and there is always a host: a file without one is passed over, and the upstream asked."""
    (tmp_path / "docker.io").mkdir()
    write = role_tasks.task_of(role_tasks.read("containerd", "configure"), "Configure the registry mirrors")
    told = {"containerd_registry_mirrors": {"docker.io": mirrors}, "__containerd_registries_folder": str(tmp_path)}
    result = role_tasks.run(playbook, tmp_path, "containerd", [write], told)
    assert result.returncode == 0, result.stdout + result.stderr
    data = tomllib.loads((tmp_path / "docker.io/hosts.toml").read_text())
    assert data["server"] == mirrors[-1]
    assert data["override_path"] is True
    assert data["host"] == hosts


@pytest.mark.parametrize("mirrors", [{}, {"ghcr.io": [ONE]}])
def test_mirror_that_is_no_longer_wanted_goes(playbook: Playbook, tmp_path: Path, mirrors: dict[str, list[str]]) -> None:
    """What an administrator wrote stays, and so does what lies beside a file of the role's."""
    for name, text in (
        ("docker.io", "# Written by Ansible (role containerd).\n"),
        ("ghcr.io", "# Written by Ansible (role containerd).\n"),
        ("quay.io", "# mine\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hosts.toml").write_text(text + 'server = "http://192.0.2.1"\n')
    (tmp_path / "docker.io/ca.crt").touch()
    tasks = role_tasks.read("containerd", "configure")
    told = {"containerd_registry_mirrors": mirrors, "__containerd_registries_folder": str(tmp_path)}
    wanted = ("Configure the registry mirrors", "Find registries that have no mirror any more", "Remove their mirrors")
    result = role_tasks.run(playbook, tmp_path, "containerd", [role_tasks.task_of(tasks, name) for name in wanted], told)
    assert result.returncode == 0, result.stdout + result.stderr
    left = {str(path.relative_to(tmp_path)) for name in ("docker.io", "ghcr.io", "quay.io") for path in (tmp_path / name).iterdir()}
    assert left == {"docker.io/ca.crt", "quay.io/hosts.toml", *(f"{name}/hosts.toml" for name in mirrors)}


@pytest.mark.parametrize(("runtime", "options"), [("runc", {}), ("crun", {"BinaryName": "/usr/bin/crun"})])
def test_configuration(playbook: Playbook, tmp_path: Path, runtime: str, options: dict[str, str]) -> None:
    """The runtime is named only where it is another one than containerd's own."""
    write = role_tasks.task_of(role_tasks.read("containerd", "configure"), "Configure containerd")
    write["ansible.builtin.template"] |= {"dest": f"{tmp_path}/config.toml", "validate": "grep sandbox_image %s"}
    del write["notify"]
    variables = {"containerd_runtime": runtime, "containerd_sandbox_image": "registry.example/pause:1"}
    result = role_tasks.run(playbook, tmp_path, "containerd", [write], variables)
    assert result.returncode == 0, result.stdout + result.stderr
    cri = tomllib.loads((tmp_path / "config.toml").read_text())["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "registry.example/pause:1"
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True, **options}
