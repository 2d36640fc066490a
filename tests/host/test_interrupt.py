"""An interrupted command ends what it started, says one sentence, and can be run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from outlive.base.paths import ROOT

# The lab itself is replaced by one long step; its program has a child of its own that would stay if only the step's program ended.
PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from host import __main__, lab
    from outlive.base.process import logged

    def step():
        script = "tail -f /dev/null & echo $$ $! > pids; wait"
        logged("a step", ["sh", "-c", script], Path("step.log"))

    lab.make = step
    sys.exit(__main__.main(["lab"]))
    """
)


# As nsenter(1), through which a drill runs: its child goes on where it dies.
HEALING = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from host import __main__, access, private

    heals = "trap 'sleep 1; touch healed; exit' INT; echo $$ > pids; while :; do read -r _ < never; done"
    access.Lab.argv = lambda _, command: [sys.executable, "-c", "import os; os.fork() and os.wait() or os.execvp('sh', ['sh', '-c', " + repr(heals) + "])"]
    access.Lab.environment = lambda _: None
    private.inside = lambda: False
    access.reach = lambda: access.Lab(None, None)
    sys.exit(__main__.main(["run", "drill"]))
    """
)


def gone(pid: int) -> bool:
    """Say whether a process has ended; one that nobody waited for yet (a zombie) has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


@pytest.mark.parametrize("way", ["ctrl-c", "kill", "background"])
def test_interrupted_lab(tmp_path: Path, way: str) -> None:
    os.mkfifo(tmp_path / "pids")
    # A shell starts what runs in the background with SIGINT ignored.
    start = f"trap '' INT; exec {sys.executable} -c \"$0\"" if way == "background" else f'exec {sys.executable} -c "$0"'
    process = subprocess.Popen(
        ["sh", "-c", start, PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = [int(word) for word in (tmp_path / "pids").read_text(encoding="ascii").split()]
    if way == "kill":
        process.send_signal(signal.SIGTERM)
    else:
        # The terminal gives a Ctrl-C to all processes in its foreground.
        os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said == "interrupted: nothing is lost; run the command again, it goes on from the last finished step\n"
    assert [pid for pid in children if not gone(pid)] == []


def test_command_ends_no_sooner_than_what_heals(tmp_path: Path) -> None:
    """Else the next command, `outlive destroy` say, meets a lab that is being healed."""
    for pipe in ("pids", "never"):
        os.mkfifo(tmp_path / pipe)
    process = subprocess.Popen(
        [sys.executable, "-c", HEALING],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    (tmp_path / "pids").read_text(encoding="ascii")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=120)
    assert (tmp_path / "healed").exists()
    assert process.returncode == 130
