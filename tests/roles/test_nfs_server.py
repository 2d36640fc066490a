"""The role nfs_server: what exportfs refuses is taken back, and no data is hidden or destroyed for the export's disk."""

from __future__ import annotations

import os
import subprocess
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
        "nfs_server_disk": "",
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


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_disk_that_is_not_there(playbook: Playbook, tmp_path: Path, mode: list[str]) -> None:
    """A name that was mistyped, or a disk that is gone, doesn't make the root disk the export."""
    told = {"nfs_server_disk": str(tmp_path / "nfsdatta"), "nfs_server_export": str(tmp_path / "data")}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", role_tasks.read("nfs_server", "disk"), told, *mode)
    assert result.returncode != 0
    assert f"nfs_server_disk is {tmp_path}/nfsdatta, and localhost has no such disk: correct the name" in " ".join(
        (result.stdout + result.stderr).split()
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("mounted", "device", "expected"),
    [
        ("", 0, []),
        ("254:16 /dev/vdb 1900000000 rw,relatime", os.makedev(254, 16), []),
        ("254:16 /dev/vdb 1900000000 rw,relatime,errors=remount-ro", os.makedev(254, 16), []),
        ("0:31 /dev/vdb[/sub] 1900000000 rw", os.makedev(254, 16), []),
        ("254:16 /dev/vdb 1900000000 rw", os.makedev(254, 32), ["is the file system of /dev/vdb"]),
        (
            "254:16 /dev/vdb 1900000000 ro,relatime",
            os.makedev(254, 16),
            ["is mounted read-only, as the kernel does after errors of the disk"],
        ),
        ("254:16 /dev/vdb 0 rw,relatime", os.makedev(254, 16), ["is full"]),
    ],
)
def test_faults_of_the_export_s_file_system(mounted: str, device: int, expected: list[str]) -> None:
    assert role_tasks.plugin("nfs_server", "filter_plugins/nfs_server.py").faults(mounted, device) == expected


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks findmnt of a mount that is full: /proc")
def test_full_file_system_is_refused(playbook: Playbook, tmp_path: Path) -> None:
    """/proc stands for it, which never has room."""
    (tmp_path / "disk").touch()
    told = {"nfs_server_disk": str(tmp_path / "disk"), "nfs_server_export": "/proc"}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", role_tasks.read("nfs_server", "disk"), told, "--check")
    assert result.returncode != 0
    assert "/proc on localhost is full, and it has to be that of nfs_server_disk" in " ".join((result.stdout + result.stderr).split())


@pytest.mark.parametrize(("disk", "expected"), [("", "rw,sync"), ("/dev/disk/by-id/virtio-nfsdata", "rw,sync,mountpoint")])
def test_export_of_a_disk_is_closed_without_its_mount(playbook: Playbook, folder: Path, disk: str, expected: str) -> None:
    told = variables(folder, ["rw", "sync"]) | {"nfs_server_disk": disk}
    result = role_tasks.run(playbook, folder, "nfs_server", role_tasks.read("nfs_server", "exports"), told)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (folder / "exports").read_text() == line(folder, expected)


def test_disk_is_left_alone(playbook: Playbook, tmp_path: Path) -> None:
    """Where the export is a file system already, nothing is made: /dev/shm stands for one that holds data."""
    (tmp_path / "disk").touch()
    told = {"nfs_server_disk": str(tmp_path / "disk"), "nfs_server_export": "/dev/shm"}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", role_tasks.read("nfs_server", "disk"), told, "--check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "changed=0 " in result.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [("defaults", "defaults,nofail"), ("defaults,nofail", "defaults,nofail"), ("defaults,ro", "defaults,ro"), (None, None)],
)
def test_machine_starts_without_its_disk(playbook: Playbook, tmp_path: Path, options: str | None, expected: str | None) -> None:
    """Also one that was made before; what isn't the role's own line stays, and so does a machine without a file."""
    task = role_tasks.task_of(role_tasks.read("nfs_server", "disk"), "Configure the mount so that the machine starts without the disk")
    disk = "/dev/disk/by-id/virtio-nfsdata"
    lines = "UUID=1 / ext4 defaults 0 1\n" + disk + "2 /nfsdata ext4 defaults 0 0\n" + disk + " /nfsdata ext4 {} 0 0\n"
    fstab = tmp_path / "fstab"
    if options is not None:
        fstab.write_text(lines.format(options))
    told = {"nfs_server_disk": disk, "nfs_server_export": "/nfsdata", "__nfs_server_fstab": str(fstab), "__nfs_server_mount": {"rc": 0}}
    result = role_tasks.run(playbook, tmp_path, "nfs_server", [task], told)
    assert f"changed={int(options != expected)} " in result.stdout, result.stdout + result.stderr
    assert "failed=0" in result.stdout
    if expected is not None:
        assert fstab.read_text() == lines.format(expected)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a folder immutable")
def test_nobody_writes_below_the_mount_point(playbook: Playbook, folder: Path) -> None:
    """Not even root, until the folder itself is the export."""
    data = folder / "data"
    keep = role_tasks.task_of(role_tasks.read("nfs_server", "disk"), "Make the mount point immutable")
    told = variables(folder, ["rw"])
    try:
        result = role_tasks.run(playbook, folder, "nfs_server", [keep], told)
        assert result.returncode == 0, result.stdout + result.stderr
        if "i" not in subprocess.run(["lsattr", "-d", data], capture_output=True, text=True, check=True).stdout.split()[0]:
            pytest.skip("this file system has no immutable files")
        with pytest.raises(PermissionError):
            (data / "dynamic").mkdir()
        for changes in (3, 0):
            result = role_tasks.run(playbook, folder, "nfs_server", role_tasks.read("nfs_server", "exports"), told)
            assert f"changed={changes} " in result.stdout, result.stdout + result.stderr
        assert sorted(path.name for path in data.iterdir()) == ["pv1", "pv2"]
    finally:
        subprocess.run(["chattr", "-i", data], check=False)
