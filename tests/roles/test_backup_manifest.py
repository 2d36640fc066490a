"""The module that closes a backup, and refuses one that is damaged or of another lab."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Playbook
from .test_preflight import sentence

MODULE = ROOT / "roles" / "backup" / "library" / "backup_manifest.py"
ABOUT = {"kubernetes": "1.2.3", "nodes": {"one": "192.0.2.1", "two": "192.0.2.2"}}


def run(folder: Path | str, state: str, about: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Run the module and return its result."""
    arguments = {"folder": str(folder), "state": state, "about": about, "_ansible_check_mode": check}
    given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
    finished = subprocess.run([sys.executable, str(MODULE)], input=given, capture_output=True, text=True, check=False)
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Return a complete backup of two files."""
    for name in ("etcd.db", "volumes.tar.gz"):
        (tmp_path / name).write_text(f"content of {name}")
        (tmp_path / name).chmod(0o644)
    assert run(tmp_path, "written", ABOUT)["changed"] is True
    return tmp_path


def test_written(backup: Path) -> None:
    """Each file is its owner's alone, and its checksum is noted."""
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in backup.iterdir()} == dict.fromkeys(
        ("backup.json", "etcd.db", "volumes.tar.gz"), "0o600"
    )
    noted = json.loads((backup / "backup.json").read_text())
    assert noted["about"] == ABOUT
    assert noted["files"]["etcd.db"] == hashlib.sha256(b"content of etcd.db").hexdigest()


def test_whole_and_of_this_lab(backup: Path) -> None:
    """What only one side names isn't compared: the cluster is known later than the inventory."""
    result = run(backup, "verified", {"kubernetes": "1.2.3", "new": "since"})
    assert (result["changed"], result["about"]) == (False, ABOUT)


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "etcd.db").write_text("content")
    assert run(tmp_path, "written", ABOUT, check=True)["changed"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["etcd.db"]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "etcd.db").unlink(), "is damaged (etcd.db isn't there): take another one."),
        (
            lambda folder: (folder / "etcd.db").write_text("content of etcd_db"),
            "is damaged (etcd.db isn't what backup.json has the checksum of)",
        ),
        (lambda folder: (folder / "backup.json").write_text('{"about": {'), "is damaged (backup.json can't be read: "),
        (
            lambda folder: (folder / "backup.json").write_text('{"about": {}, "files": {}}'),
            "is damaged (backup.json can't be read: it names no file)",
        ),
        (lambda folder: (folder / "backup.json").unlink(), "which is no folder of a complete backup (backup.json isn't there)"),
    ],
)
def test_damaged(backup: Path, spoil: Callable[[Path], object], expected: str) -> None:
    spoil(backup)
    assert expected in run(backup, "verified", ABOUT)["msg"]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({"kubernetes": "1.2.4"}, "is of another lab (kubernetes: 1.2.3 there, 1.2.4 here): take one of this lab"),
        ({"nodes": {"one": "192.0.2.1"}}, "is of another lab (nodes: one 192.0.2.1, two 192.0.2.2 there, one 192.0.2.1 here)"),
    ],
)
def test_of_another_lab(backup: Path, about: dict[str, Any], expected: str) -> None:
    assert expected in run(backup, "verified", about)["msg"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "No backup is named: give its folder, as in -e backup=.lab/backups/"),
        (["-e", "backup=/nowhere/20260131T120000Z"], "backup is '/nowhere/20260131T120000Z', which is no folder of a complete backup"),
    ],
)
def test_restore_without_a_backup(playbook: Playbook, options: list[str], expected: str) -> None:
    """The playbook refuses before it reaches a machine."""
    result = playbook(ROOT / "playbooks" / "restore.yml", *options)
    assert result.returncode != 0
    assert expected in sentence(result.stdout + result.stderr)


def test_restore_of_another_lab(playbook: Playbook, tmp_path: Path) -> None:
    """A backup of other nodes is refused, with theirs and ours."""
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / "etcd.db").write_text("content")
    run(folder, "written", {"nodes": {"one": "192.0.2.1"}})
    result = playbook(ROOT / "playbooks" / "restore.yml", "-e", f"backup={folder}")
    assert result.returncode != 0
    assert "is of another lab (nodes: one 192.0.2.1 there, k8s-master " in sentence(result.stdout + result.stderr)


def entry_points() -> list[str]:
    """Return what a playbook can name, as described."""
    specs = yaml.safe_load((ROOT / "roles/backup/meta/argument_specs.yml").read_text())["argument_specs"]
    return [name for name in specs if name != "main"]


def test_each_entry_point_is_named_and_there(playbook: Playbook, tmp_path: Path) -> None:
    """A play that names the role alone is told what it can choose, before anything is done."""
    play = {"name": "Choose nothing", "hosts": "localhost", "connection": "local", "roles": ["backup"]}
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play]))
    result = playbook(tmp_path / "playbook.yml")
    assert result.returncode != 0
    assert f"give tasks_from one of {', '.join(entry_points())}." in sentence(result.stdout + result.stderr)
    assert [each for each in entry_points() if not (ROOT / f"roles/backup/tasks/{each}.yml").is_file()] == []


def test_check_mode_takes_no_step(playbook: Playbook, tmp_path: Path) -> None:
    """Each step needs what the one before it made, so in check mode none but the check of a backup does anything."""
    steps = [each for each in entry_points() if each != "verify"]
    tasks = [{"name": step, "ansible.builtin.import_role": {"name": "backup", "tasks_from": step}} for step in steps]
    play = {"name": "Try it on this machine", "hosts": "k8s-master", "connection": "local", "tasks": tasks}
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump([play]))
    result = playbook(tmp_path / "playbook.yml", "--check", "-e", f"backup_parent={tmp_path}/backups")
    assert result.returncode == 0, result.stdout + result.stderr
    # What isn't skipped are the checks of the options.
    assert f"ok={len(steps)} " in result.stdout
    assert not (tmp_path / "backups").exists()
