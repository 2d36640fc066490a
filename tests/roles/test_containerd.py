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
    write = role_tasks.task_of(role_tasks.read("containerd", "configure"), "Configure the registry mirrors")
    write["ansible.builtin.template"]["dest"] = f"{tmp_path}/{{{{ item.key }}}}.toml"
    result = role_tasks.run(playbook, tmp_path, "containerd", [write], {"containerd_registry_mirrors": {"docker.io": mirrors}})
    assert result.returncode == 0, result.stdout + result.stderr
    data = tomllib.loads((tmp_path / "docker.io.toml").read_text())
    assert data["server"] == mirrors[-1]
    assert data["override_path"] is True
    assert data["host"] == hosts


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
