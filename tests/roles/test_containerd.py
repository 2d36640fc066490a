"""What the role containerd tells containerd about mirrors is what containerd 1.7 takes."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Playbook

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
    copy = Path(
        shutil.copytree(ROOT / "roles/containerd", tmp_path / "roles/containerd", ignore=shutil.ignore_patterns("argument_specs.yml"))
    )
    write = {
        "name": "Write",
        "ansible.builtin.copy": {
            "dest": f"{tmp_path}/hosts.toml",
            "content": "{{ __containerd_registry_files[0].content }}",
            "mode": "0600",
        },
    }
    (copy / "tasks/main.yml").write_text(yaml.safe_dump([write]))
    play = tmp_path / "playbook.yml"
    play.write_text(yaml.safe_dump([{"name": "Write it", "hosts": "localhost", "connection": "local", "roles": ["containerd"]}]))
    result = playbook(play, "-e", json.dumps({"containerd_registry_mirrors": {"docker.io": mirrors}}))
    assert result.returncode == 0, result.stdout + result.stderr
    data = tomllib.loads((tmp_path / "hosts.toml").read_text())
    assert data["server"] == mirrors[-1]
    assert data["override_path"] is True
    assert data["host"] == hosts
