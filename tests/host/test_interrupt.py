"""An interrupted command ends what it started, says one sentence, and can be run again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.base.process import Tree, born
from outlive.base.wait import wait_for

# The lab itself is replaced by one long step; its program has a child of its own that would stay if only the step's program ended.
PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from outlive import cli
    from outlive.base.process import logged
    from outlive.host import private, steps

    folder = Path.cwd()

    def step():
        script = f"cd {folder}; tail -f /dev/null & echo $$ $! > pids; wait"
        logged("a step", ["sh", "-c", script], folder / "step.log")

    steps.make = step
    private.inside = lambda: False
    sys.exit(cli.main(["lab"]))
    """
)

# sudo closes what it inherits, and passes on neither a pipe nor a lock.
SUDO = "import os, sys; os.closerange(3, 256); os.execvp(sys.argv[1], sys.argv[1:])"

# nsenter(1), through which a drill runs, dies of a Ctrl-C at once; its child, which is in another namespace than it, goes on.
REACHED = textwrap.dedent(
    f"""
    import os, sys
    from pathlib import Path
    from outlive import cli
    from outlive.host import private, reach

    class Settings:
        def environment(self):
            return {{"PATH": os.environ["PATH"]}}

    reach.STATE = Path("state").resolve()
    private.as_root = lambda argv: [sys.executable, "-c", {SUDO!r}, *argv]
    private.inside = lambda: False
    init = private.Init(int(sys.argv[1]), 0, "")
    reach.reach = lambda: reach.Reached(Settings(), init)
    sys.exit(cli.main(["run", *sys.argv[2:]]))
    """
)
HEALS = "trap 'sleep 1; touch healed; exit 130' INT; echo $$ > pids; while :; do read -r _ < never; done"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes a namespace")


@pytest.fixture
def init() -> Iterator[int]:
    """Return process 1 of namespaces that have nothing else."""
    outer = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "tail", "-f", "/dev/null"])
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        yield int(wait_for("unshare", "a child", lambda: children.read_text().split(), bool, within=30, every=0.05)[0])
    finally:
        outer.kill()
        outer.wait()


def noted(folder: Path) -> list[int]:
    """Return the process ids that a script wrote."""
    file = folder / "pids"
    text = wait_for(
        "script", "its pids", lambda: file.read_text() if file.exists() else "", lambda text: "\n" in text, within=60, every=0.05
    )
    return [int(word) for word in text.split()]


@pytest.mark.parametrize("way", ["ctrl-c", "kill", "hang up", "background"])
def test_interrupted_lab(tmp_path: Path, way: str) -> None:
    # A shell starts what runs in the background with SIGINT ignored.
    start = f"trap '' INT; exec {sys.executable} -c \"$0\"" if way == "background" else f'exec {sys.executable} -c "$0"'
    process = subprocess.Popen(
        ["sh", "-c", start, PROGRAM],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = noted(tmp_path)
    if way in ("kill", "hang up"):
        process.send_signal(signal.SIGTERM if way == "kill" else signal.SIGHUP)
    else:
        # The terminal gives a Ctrl-C to all processes in its foreground.
        os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said == "interrupted: nothing is lost; run the command again, it goes on from the last finished step\n"
    assert [pid for pid in children if born(pid)] == []


@needs_root
@pytest.mark.parametrize("way", ["ctrl-c", "kill"])
def test_command_ends_no_sooner_than_what_heals(tmp_path: Path, init: int, way: str) -> None:
    """Else the next command, `outlive destroy` say, meets a lab that is being healed."""
    os.mkfifo(tmp_path / "never")
    process = subprocess.Popen(
        [sys.executable, "-c", REACHED, str(init), "sh", "-c", HEALS],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    noted(tmp_path)
    if way == "kill":
        process.send_signal(signal.SIGTERM)
    else:
        os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=120)
    assert (tmp_path / "healed").exists()
    assert process.returncode == 130
    assert Tree(init).alive() == [init], "nothing stays in the lab's namespaces"
    assert list((tmp_path / "state").iterdir()) == []


@needs_root
@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 1", 1), ("exit 2", 2), ("exit 130", 130), ("kill -INT $$", 130), ("kill -TERM $$", 143)]
)
def test_status_comes_through_sudo_and_the_namespaces(tmp_path: Path, init: int, script: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", REACHED, str(init), "sh", "-c", script], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == status


@needs_root
@pytest.mark.parametrize("program", ["kubectl", "virsh", "vagrant"])
def test_program_that_is_missing_is_one_sentence(tmp_path: Path, init: int, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REACHED, str(init), program, "version"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: the program {program} is missing: it has to be on PATH; `outlive doctor` says how to get the tools\n"


# The program calls itself to reach the lab; there is none in here to reach.
CALLS_ITSELF = textwrap.dedent(
    """
    import os, sys
    from outlive import cli
    from outlive.base.paths import ROOT
    from outlive.host import reach

    class Settings:
        def environment(self):
            return {"PATH": os.environ["PATH"], "OUTLIVE_SHELL": str(ROOT)}

    reach.reach = lambda: reach.Reached(Settings(), None)
    sys.exit(cli.main())
    """
)


def test_user_s_folder_has_no_part_in_what_runs(tmp_path: Path) -> None:
    for name in ("click", "json", "outlive"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)\n")
    argv = [sys.executable, "-P", "-c", CALLS_ITSELF, "report", "no-such-folder"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "no-such-folder" in done.stderr


def test_interruption_is_told_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "there")
    # As in a command that waits for the lab.
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif os.environ.get('OUTLIVE_CALLED'):\n"
        "    import time; from outlive.report import terminal\n"
        "    terminal.show = lambda _folder: (open('there', 'w').close(), time.sleep(600))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", CALLS_ITSELF, "report"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    (tmp_path / "there").read_text()
    os.killpg(process.pid, signal.SIGINT)
    assert (
        process.communicate(timeout=60)[1]
        == "interrupted: nothing is lost; run the command again, it goes on from the last finished step\n"
    )
    assert process.returncode == 130
