"""The role nfs_server: what exportfs refuses is taken back, and no data is hidden or destroyed for the export's disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from . import role_tasks
from .conftest import Playbook

# Refuses what it reads where the word stands in it, and notes what it has read.
EXPORTFS = """#!/bin/sh
cat {exports} >> {read} 2>/dev/null || echo none >> {read}
! grep -q bogus {exports} 2>/dev/null || {{ echo "exportfs: {exports}:2: syntax error" >&2; exit 1; }}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for the export and its file, with a stand-in for exportfs on the PATH."""
    program = tmp_path / "bin" / "exportfs"
    program.parent.mkdir()
    program.write_text(EXPORTFS.format(exports=tmp_path / "exports", read=tmp_path / "read"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def variables(folder: Path, options: list[str]) -> dict[str, Any]:
    """Return what the tasks are told, with these options of the export."""
    return {
        "nfs_server_export": str(folder / "data"),
        "nfs_server_clients": ["192.0.2.0/24", "198.51.100.7"],
        "nfs_server_folders": ["pv1", "pv2"],
        "__nfs_server_exports_file": str(folder / "exports"),
        "nfs_server_options": options,
    }


def line(folder: Path, options: str) -> str:
    """Return the file of the exports."""
    clients = f"192.0.2.0/24({options}) 198.51.100.7({options})"
    return f"# Written by Ansible (role nfs_server).\n{folder}/data {clients}\n"


def test_export(playbook: Playbook, folder: Path) -> None:
    """The folders are there and exported, and the exports are read again each time: an earlier run may have ended before that."""
    tasks = role_tasks.read("nfs_server", "exports")
    first = role_tasks.run(playbook, folder, "nfs_server", tasks, variables(folder, ["rw", "sync"]))
    assert "failed=0" in first.stdout, first.stdout + first.stderr
    assert (folder / "exports").read_text() == line(folder, "rw,sync")
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["pv1", "pv2"]
    (folder / "data" / "pv1").chmod(0o700)
    second = role_tasks.run(playbook, folder, "nfs_server", tasks, variables(folder, ["rw", "sync"]))
    assert "changed=0 " in second.stdout, second.stdout + second.stderr
    assert (folder / "read").read_text() == line(folder, "rw,sync") * 2
    assert (folder / "data" / "pv1").stat().st_mode & 0o777 == 0o700, "the mode belongs to whoever uses the folder"


@pytest.mark.parametrize("before", [True, False])
def test_refused_exports_are_taken_back(playbook: Playbook, folder: Path, before: bool) -> None:
    """The exports of before are in force again, or none where there were none; the sentence says so, and what exportfs said."""
    if before:
        (folder / "exports").write_text(line(folder, "rw"))
    told = variables(folder, ["rw", "bogus"])
    result = role_tasks.run(playbook, folder, "nfs_server", role_tasks.read("nfs_server", "exports"), told)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert (
        f"The exports that nfs_server_export {folder}/data, nfs_server_clients 192.0.2.0/24, 198.51.100.7 and nfs_server_options rw,bogus make "
        f"are refused (exportfs: {folder}/exports:2: syntax error), and those of before are in force again: correct the variable, see exports(5)."
    ) in " ".join(output.split())
    if before:
        assert (folder / "exports").read_text() == line(folder, "rw")
    else:
        assert not (folder / "exports").exists()
    assert (folder / "read").read_text() == line(folder, "rw,bogus") + (line(folder, "rw") if before else "none\n")


def test_exports_that_were_refused_before(playbook: Playbook, folder: Path) -> None:
    """Where the exports of before are no better, the sentence doesn't say that they are in force."""
    (folder / "exports").write_text("bogus\n")
    told = variables(folder, ["bogus"])
    result = role_tasks.run(playbook, folder, "nfs_server", role_tasks.read("nfs_server", "exports"), told)
    assert result.returncode != 0
    assert f"and so are those of before (exportfs: {folder}/exports:2: syntax error): correct" in " ".join(
        (result.stdout + result.stderr).split()
    )


def test_nothing_is_exported_in_check_mode(playbook: Playbook, folder: Path) -> None:
    """The diff shows the file."""
    (folder / "exports").write_text(line(folder, "rw"))
    told = variables(folder, ["ro"])
    result = role_tasks.run(playbook, folder, "nfs_server", role_tasks.read("nfs_server", "exports"), told, "--check", "--diff")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"+{folder}/data 192.0.2.0/24(ro) 198.51.100.7(ro)" in result.stdout
    assert not (folder / "read").exists()
    assert (folder / "exports").read_text() == line(folder, "rw")


@pytest.mark.parametrize("used", [False, True])
def test_another_folder_is_exported(playbook: Playbook, folder: Path, used: bool) -> None:
    """The old export is closed, unless clients have mounted it: then nothing is changed. What the role didn't write stays."""
    names = {
        "nfsdata.exports": "# Written by Ansible (role nfs_server).\n/nfsdata 192.0.2.0/24(rw)\n",
        "mine.exports": "/mine 192.0.2.0/24(rw)\n",
    }
    for name, text in names.items():
        (folder / "exports.d" / name).parent.mkdir(exist_ok=True)
        (folder / "exports.d" / name).write_text(text)
    (folder / "clients" / "7").mkdir(parents=True) if used else (folder / "clients").mkdir()
    told = {
        **variables(folder, ["rw"]),
        "__nfs_server_exports_file": f"{folder}/exports.d/new.exports",
        "__nfs_server_exports_folder": f"{folder}/exports.d",
        "__nfs_server_known_clients": f"{folder}/clients",
    }
    tasks = [*role_tasks.read("nfs_server", "preflight"), *role_tasks.read("nfs_server", "exports")]
    result = role_tasks.run(playbook, folder, "nfs_server", tasks, told)
    left = sorted(path.name for path in (folder / "exports.d").iterdir())
    if used:
        assert (
            f"nfs_server_export is {folder}/data, and clients have mounted what localhost exports by {folder}/exports.d/nfsdata.exports: take what uses it away"
        ) in " ".join((result.stdout + result.stderr).split())
        assert left == ["mine.exports", "nfsdata.exports"]
        assert not (folder / "data").exists()
    else:
        assert result.returncode == 0, result.stdout + result.stderr
        assert left == ["mine.exports", "new.exports"]
        again = role_tasks.run(playbook, folder, "nfs_server", tasks, told)
        assert "changed=0 " in again.stdout, again.stdout + again.stderr


@pytest.mark.parametrize(
    ("disks", "data", "expected"),
    [
        (["virtio-nfsdata"], ["kept"], "data is a folder that holds data already, which the disk's file system would hide: move"),
        (
            ["virtio-nfsdata", "virtio-nfsdata-part2", "virtio-nfsdata-part1", "virtio-nfsdata2-part1"],
            [],
            "virtio-nfsdata, which has partitions ({0}/virtio-nfsdata-part1, {0}/virtio-nfsdata-part2) that a file system",
        ),
    ],
)
def test_disk_is_refused(playbook: Playbook, tmp_path: Path, disks: list[str], data: list[str], expected: str) -> None:
    """What lies in the folder isn't hidden, and partitions aren't overwritten."""
    for folder, names in (("by-id", disks), ("data", data)):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    told = {"nfs_server_disk": str(tmp_path / "by-id" / "virtio-nfsdata"), "nfs_server_export": str(tmp_path / "data")}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", role_tasks.read("nfs_server", "disk"), told, "--check")
    assert result.returncode != 0
    assert expected.format(tmp_path / "by-id") in " ".join((result.stdout + result.stderr).split())


@pytest.mark.parametrize(("disk", "export"), [("nowhere", "data"), ("disk", "/proc")])
def test_disk_is_left_alone(playbook: Playbook, tmp_path: Path, disk: str, export: str) -> None:
    """Without the disk, and where the export is a file system already, nothing is made: /proc stands for one that holds data."""
    (tmp_path / "disk").touch()
    told = {"nfs_server_disk": str(tmp_path / disk), "nfs_server_export": str(tmp_path / export)}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", role_tasks.read("nfs_server", "disk"), told, "--check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "changed=0 " in result.stdout
