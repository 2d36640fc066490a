"""Lock files: one holder at a time, whatever became of the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.locks import alone, exclusive
from outlive.base.wait import wait_for

WAITER = """
import sys
from pathlib import Path
from outlive.base.locks import exclusive
print("waits", flush=True)
with exclusive(Path(sys.argv[1])):
    print("holds", flush=True)
    sys.stdin.readline()
"""


def waits(pid: int) -> bool:
    """Say whether a process waits for a lock."""
    return any("->" in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


def test_second_command_is_refused_in_one_sentence(tmp_path: Path) -> None:
    lock = tmp_path / ".lab/lab.lock"
    with alone(lock), pytest.raises(LabError, match=r"another command works on this lab \(it holds .*lab.lock\): wait until"), alone(lock):
        pass
    with alone(lock):
        pass


def test_who_waited_for_a_lock_that_was_removed_holds_the_new_one(tmp_path: Path) -> None:
    """As `outlive destroy` removes it: two commands would each hold a file of their own."""
    lock = tmp_path / "lock"
    with exclusive(lock):
        process = subprocess.Popen([sys.executable, "-c", WAITER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        wait_for("the other one", "waiting", lambda: waits(process.pid), bool, within=60, every=0.05)
        lock.unlink()
    assert process.stdout.readline() == "holds\n"
    with pytest.raises(LabError, match=f"{process.pid}"), exclusive(lock, lambda holder: holder):
        pass
    process.communicate("\n", timeout=60)
    with exclusive(lock, lambda holder: holder):
        pass
