"""The role backup on a machine: of what it has mounted, only the volumes of its pods are unmounted, and no empty folder is taken for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from . import role_tasks
from .conftest import ROOT, Playbook
from .test_preflight import sentence

PODS = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~nfs"


@pytest.mark.parametrize(
    ("mounted", "unmounted"),
    [
        (["/home", f"{PODS}/data", "/nfsdata", f"{PODS}/data/sub", "/var/lib/kubelet-of-another/x"], f"-- {PODS}/data/sub {PODS}/data\n"),
        (["/home"], ""),
        ([], ""),
    ],
)
def test_only_the_kubelet_s_mounts_go(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: list[str], unmounted: str
) -> None:
    """A machine of one's own may have its home on NFS, and what is mounted last goes first."""
    programs = tmp_path / "bin"
    programs.mkdir()
    words = "\n".join(mounted)
    (programs / "findmnt").write_text(f"#!/bin/sh\nprintf '%s' '{words}'\n[ -n '{words}' ]\n")
    (programs / "umount").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    tasks = role_tasks.read("backup", "stop_node")
    names = ("Read what is mounted", "Unmount their volumes")
    result = role_tasks.run(playbook, tmp_path, "backup", [role_tasks.task_of(tasks, name) for name in names], {})
    assert result.returncode == 0, result.stdout + result.stderr
    assert ((tmp_path / "said").read_text() if (tmp_path / "said").exists() else "") == unmounted


@pytest.mark.parametrize(("state", "refused"), [("active", False), ("inactive", True), ("failed", True)])
def test_export_without_its_server(playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, refused: bool) -> None:
    """A server whose file system is gone doesn't start, and its empty mount point is neither saved nor filled."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {state}\n[ {state} = active ]\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    result = role_tasks.run(playbook, tmp_path, "backup", role_tasks.read("backup", "check_export"), {"backup_export": "/nfsdata"})
    assert (result.returncode != 0) == refused, result.stdout + result.stderr
    if refused:
        assert f"The NFS server on localhost is {state}, so what is in backup_export /nfsdata may not be the volumes" in " ".join(
            (result.stdout + result.stderr).split()
        )


@pytest.mark.parametrize(("mounted", "is_mount", "refused"), [(False, True, True), (True, True, False), (False, False, False)])
def test_export_without_its_mount(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: bool, is_mount: bool, refused: bool
) -> None:
    """The server runs on where its file system was taken away later."""
    for name, status in (("systemctl", 0), ("findmnt", int(not mounted))):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho active\nexit {status}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    told = {"backup_export": "/nfsdata", "backup_export_is_mount": is_mount}
    result = role_tasks.run(playbook, tmp_path, "backup", role_tasks.read("backup", "check_export"), told)
    assert (result.returncode != 0) == refused, result.stdout + result.stderr
    if refused:
        assert "backup_export /nfsdata on localhost isn't mounted" in " ".join((result.stdout + result.stderr).split())


@pytest.mark.parametrize("tasks", ["save_control_plane", "stage_control_plane"])
@pytest.mark.parametrize("is_mount", [False, True])
def test_nothing_is_unmounted_that_was_not_mounted(
    playbook: Playbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_mount: bool, tasks: str
) -> None:
    """The machine of the volumes may be the control plane's too, and its failure there would be hidden by one of the clean-up."""
    for name in ("systemctl", "findmnt"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\necho active\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    unmount = role_tasks.task_of(role_tasks.read("backup", tasks), "Unmount etcd's programs")
    del unmount["ansible.builtin.include_tasks"]
    unmount["ansible.builtin.command"] = {"argv": ["touch", f"{tmp_path}/unmounted"]}
    told = {"backup_export": "/nfsdata", "backup_export_is_mount": is_mount}
    result = role_tasks.run(playbook, tmp_path, "backup", [*role_tasks.read("backup", "check_export"), unmount], told)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not (tmp_path / "unmounted").exists()


def test_backup_without_mysql_s_data_is_refused(playbook: Playbook) -> None:
    """Before there is a folder that looks like a backup."""
    result = playbook(ROOT / "playbooks/backup.yml", "-e", "storage_tutorial_mysql_storage=iscsi")
    assert result.returncode != 0
    assert (
        "storage_tutorial_mysql_storage is iscsi, and a backup has what the NFS server exports, not MySQL's data: move the data"
        in sentence(result.stdout + result.stderr)
    )
    assert "create_folder" not in result.stdout
