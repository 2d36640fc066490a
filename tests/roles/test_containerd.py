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
    assert cri["image_pull_with_sync_fs"] is True
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True, **options}


@pytest.mark.parametrize(
    ("told", "environment"),
    [
        ({}, []),
        (
            {"containerd_proxy": "http://me:a%40b@192.0.2.3:3128", "containerd_no_proxy": ["192.0.2.0/24", ".svc"]},
            [
                'Environment="HTTP_PROXY=http://me:a%%40b@192.0.2.3:3128"',
                'Environment="HTTPS_PROXY=http://me:a%%40b@192.0.2.3:3128"',
                'Environment="NO_PROXY=192.0.2.0/24,.svc"',
            ],
        ),
    ],
)
def test_proxy(playbook: Playbook, tmp_path: Path, told: dict[str, Any], environment: list[str]) -> None:
    """By systemd, to which a per cent sign means something; a password is root's alone."""
    write = role_tasks.task_of(role_tasks.read("containerd", "configure"), "Configure the limit of open files and the proxy")
    write["ansible.builtin.template"]["dest"] = str(tmp_path / "unit.conf")
    del write["notify"]
    result = role_tasks.run(playbook, tmp_path, "containerd", [write], told)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "unit.conf").read_text().splitlines()[3:] == environment
    assert (tmp_path / "unit.conf").stat().st_mode & 0o777 == (0o600 if told else 0o644)


APT = """Reading package lists...
The following packages will be REMOVED:
  containerd.io docker-ce
  docker-ce-cli
The following NEW packages will be installed:
  containerd runc
E: Packages need to be removed but remove is disabled.
"""


@pytest.mark.parametrize(("printed", "named"), [(APT, "containerd.io docker-ce docker-ce-cli"), ("", "")])
def test_what_apt_would_remove(playbook: Playbook, tmp_path: Path, printed: str, named: str) -> None:
    """It is named, and nothing is removed."""
    tasks = role_tasks.read("containerd", "install")
    install, check = (role_tasks.task_of(tasks, name) for name in ("Install containerd", "Check that nothing is in the way"))
    assert install["ansible.builtin.apt"]["fail_on_autoremove"] is True
    result = role_tasks.run(playbook, tmp_path, "containerd", [check], {"__containerd_installed": {"stdout": printed}})
    assert (result.returncode != 0) == bool(named), result.stdout + result.stderr
    sentence = f"apt would remove {', '.join(named.split())}, which this role doesn't do: name another machine"
    assert (sentence in " ".join((result.stdout + result.stderr).split())) == bool(named)
