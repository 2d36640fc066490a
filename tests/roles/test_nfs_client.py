"""The role nfs_client: a node that the server turns away is refused before it may be given pods whose mounts would hang; a mount by hand goes."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from . import role_tasks
from .conftest import Playbook


@pytest.mark.parametrize("served", [True, False])
def test_node_that_is_turned_away(playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: bool) -> None:
    """It sees the export all the same, since another program tells that."""
    program = tmp_path / "bin" / "showmount"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '/nfsdata 127.0.0.0/8'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if served:
            server.listen()
        port = server.getsockname()[1]
        told = {"nfs_client_server": "127.0.0.1", "nfs_client_export": "/nfsdata", "__nfs_client_port": port, "__nfs_client_seconds": 2}
        result = role_tasks.run(playbook, tmp_path, "nfs_client", role_tasks.read("nfs_client", "verify"), told)
    assert (result.returncode == 0) == served, result.stdout + result.stderr
    if not served:
        assert (
            f"localhost sees the export nfs_client_export /nfsdata, but port {port} of nfs_client_server 127.0.0.1 gives it no answer: "
            "a node that was removed as lost is let in by `ansible-playbook playbooks/remove-node.yml -e node=localhost`"
        ) in " ".join((result.stdout + result.stderr).split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a folder immutable")
@pytest.mark.parametrize(("immutable", "held", "stays"), [(True, False, False), (True, True, True), (False, False, True)])
def test_mount_point_of_a_walk_that_stopped_halfway(playbook: Playbook, tmp_path: Path, immutable: bool, held: bool, stays: bool) -> None:
    """What chapter 7 made immutable can be used and removed again; a folder that is another's stays."""
    export = tmp_path / "nfsdata"
    export.mkdir()
    if held:
        (export / "theirs").touch()
    if immutable and subprocess.run(["chattr", "+i", export], check=False).returncode != 0:
        pytest.skip("this file system has no immutable files")
    try:
        tasks, told = role_tasks.read("nfs_client", "unmount"), {"nfs_client_export": str(export)}
        result = role_tasks.run(playbook, tmp_path, "nfs_client", tasks, told)
        assert result.returncode == 0, result.stdout + result.stderr
        assert export.exists() == stays
        if stays:
            (export / "made").touch()
        again = role_tasks.run(playbook, tmp_path, "nfs_client", tasks, told)
        assert "changed=0" in again.stdout, again.stdout + again.stderr
    finally:
        if export.exists():
            subprocess.run(["chattr", "-i", export], check=False)
