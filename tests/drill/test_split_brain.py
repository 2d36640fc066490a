"""The writers of the split-brain proof, on this machine's own files: what they tell, and that the later bytes win."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from outlive.base.wait import wait_for
from outlive.drill import fsync_writer
from outlive.drill.fsync_writer import record
from outlive.drill.split_brain import Share, Writer
from outlive.lab.inventory import Inventory
from tests.drill.test_fault_commands import Shell


def run(folder: Path, name: str, lock: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, fsync_writer.__file__, str(folder / "file"), name, lock, str(folder / f"{name}.log")])


def log(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}.log"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def await_line(folder: Path, name: str, line: str) -> None:
    wait_for(f"log of {name}", line, lambda: log(folder, name), lambda lines: line in lines, within=60, every=0.1)


def test_records_stand_at_their_places(tmp_path: Path) -> None:
    writer = run(tmp_path, "old", "lock")
    try:
        await_line(tmp_path, "old", "ok 2")
    finally:
        writer.kill()
        writer.wait()
    data = (tmp_path / "file").read_bytes()
    assert data.startswith(record("old", 1))
    assert data[fsync_writer.PAGE :].startswith(record("old", 2))


def test_a_second_writer_waits_for_the_lock(tmp_path: Path) -> None:
    first = run(tmp_path, "old", "lock")
    second = None
    try:
        await_line(tmp_path, "old", "ok 1")
        second = run(tmp_path, "new", "lock")
        await_line(tmp_path, "old", "ok 4")
        assert log(tmp_path, "new") == []
        first.kill()
        await_line(tmp_path, "new", "ok 1")
    finally:
        for each in (first, second):
            if each is not None:
                each.kill()
                each.wait()


def test_an_error_is_told_and_ends_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, fsync_writer.__file__, "/dev/full", "old", "nolock", str(tmp_path / "old.log")], check=True, timeout=60
    )
    assert done.returncode == 0
    assert log(tmp_path, "old") == ["begun", "error 1 No space left on device"]


@pytest.mark.parametrize(("told", "written"), [("", 0), ("begun\nok 1\nok 2\nerror 3 x", 2)])
def test_what_a_writer_on_a_node_wrote(small_inventory: Inventory, told: str, written: int) -> None:
    shell = Shell(small_inventory, {"cat ": [told], "nohup": ["41"]})
    with Writer(shell, Share("m", "192.0.2.10", "/nfsdata"), "n1", "old", lock=True) as writer:
        assert writer.written() == written
    assert any("mount -t nfs4 192.0.2.10:/nfsdata/outlive-writer /run/outlive-writer" in command for command in shell.commands)
    assert "kill -KILL 41" in shell.commands[-2]
    assert shell.commands[-1] == "m: rm -rf /nfsdata/outlive-writer"
