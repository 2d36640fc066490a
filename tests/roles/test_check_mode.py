"""`ansible-playbook --check` comes to its end on a machine that has nothing yet: no package, no folder, no service."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from . import role_tasks
from .conftest import Playbook


@pytest.mark.parametrize("role", ["containerd", "kubernetes_packages", "nfs_server", "nfs_client"])
def test_check_mode(playbook: Playbook, tmp_path: Path, role: str) -> None:
    """What isn't there yet is passed over, and what would be written is shown: this machine stands for the empty one."""
    path = role_tasks.on_this_machine(tmp_path, "k8s-master", roles=[role])
    (tmp_path / "key").touch()
    # The names of the lab's disk and export are none of this machine's.
    told = {"kubernetes_packages_repository_key": str(tmp_path / "key"), "nfs_server_disk": "", "nfs_server_export": "/outlive-nowhere"}
    result = playbook(path, "--check", "--diff", "-e", json.dumps(told))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "failed=0" in result.stdout
    if role == "nfs_server":
        assert re.search(r"^\+/outlive-nowhere \S+\(rw,sync,no_subtree_check,no_root_squash\)$", result.stdout, re.MULTILINE), result.stdout
