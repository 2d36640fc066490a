"""An interrupted build ends what it started and says how to go on."""

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from outlive.base.errors import LabError
from outlive.base.process import interrupt_by
from outlive.base.wait import wait_for
from outlive.mirror import tools

# The build itself is replaced by one command that would run for ever, in a thread or not, as the real ones. It takes a while to
# end, and what is cleaned up after it has to find it gone.
PROGRAM = textwrap.dedent(
    """
    import os
    import signal
    import sys
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from outlive.base.process import uninterrupted
    from outlive.cli import main
    from outlive.mirror import build, golang, tools

    def pass_on():
        signal.raise_signal(int(os.read(0, 20) or 0))

    ENDLESS = "trap 'sleep 1; touch gone; exit 1' INT TERM; echo $$ > pid; while :; do sleep 0.1; done"

    def endless(*arguments):
        threading.Thread(target=pass_on, daemon=True).start()
        try:
            if sys.argv[1] == "thread":
                with ThreadPoolExecutor(1) as pool:
                    with uninterrupted():
                        build = pool.submit(tools.run, ["sh", "-c", ENDLESS], Path("log"))
                    build.result()
            else:
                tools.run(["sh", "-c", ENDLESS], Path("log"))
        finally:
            tools.run(["sh", "-c", "test -e gone && sleep 0.5 && mv gone cleaned"], Path("log"), cleanup=True)

    golang.prepare = lambda: None
    build.build = endless
    sys.exit(main(["mirror", "build"]))
    """
)


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("asleep", [False, True], ids=["awake", "asleep"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_build(tmp_path: Path, number: signal.Signals, asleep: bool, where: str) -> None:
    os.mkfifo(tmp_path / "pid")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, where],
        cwd=tmp_path,
        env={**os.environ, "OUTLIVE_CACHE": str(tmp_path / "cache")},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # A build that ends before it has begun its command writes nothing.
    pipe = os.open(tmp_path / "pid", os.O_RDONLY | os.O_NONBLOCK)
    assert select.select([pipe], [], [], 60)[0]
    child = int(os.read(pipe, 20))
    os.close(pipe)
    if asleep:
        # Another thread gets it: the main thread, which waits for the build, isn't woken by it.
        said = process.communicate(f"{number:d}\n", timeout=60)[1]
    else:
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.strip() == "interrupted: nothing is lost; run the command again, it goes on from the last finished step"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert (tmp_path / "cleaned").exists()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes a namespace")
IGNORE = ["sh", "-c", "trap '' INT TERM; echo $$ > pid; while :; do sleep 0.1; done"]
BLOCK = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo > pid; exec tail -f /dev/null"]


@pytest.mark.parametrize("command", [IGNORE, pytest.param(BLOCK, marks=needs_root)], ids=["ignored", "blocked"])
def test_command_that_outlives_its_end_is_killed(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_ending", threading.Event())
    monkeypatch.setattr(tools, "_GRACE_SECONDS", 0.5)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(tools.run, command, tmp_path / "log", cwd=tmp_path)
        try:
            # The command may write before it is noted as running.
            running = wait_for(
                "command",
                "noted, and at work",
                lambda: set(tools._running),
                lambda seen: bool(seen) and (tmp_path / "pid").exists(),
                within=60,
                every=0.05,
            )
            (process,) = running
            tree = [process.pid, *_below(process.pid)]
        finally:
            tools.end_all()  # else the pool waits for the command for ever
        with pytest.raises(LabError, match="failed with status -9"):
            future.result()
    # Those below it are dead, and init's to bury.
    wait_for("tree", "dead", lambda: [pid for pid in tree if _lives(pid)], lambda living: not living, within=10, every=0.05)


def _below(pid: int) -> list[int]:
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [each for child in children for each in _below(child)]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_command_that_cleans_up_is_begun_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_ending", threading.Event())
    tools.end_all()
    tools.run(["sh", "-c", "sleep 0.2; touch done"], tmp_path / "log", cwd=tmp_path, cleanup=True)
    assert (tmp_path / "done").exists()


def test_command_that_is_being_begun_at_the_interrupt_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes when the command runs and isn't noted yet: else nobody would end it, and its caller would wait for ever."""
    monkeypatch.setattr(tools, "_ending", threading.Event())
    begin = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[str]:  # noqa: ANN401 - Popen's own
        process = begin(*arguments, **options)
        monkeypatch.setattr(subprocess, "Popen", begin)
        tools.end_all()
        interrupt_by(signal.SIGTERM)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tools.run(["sleep", "600"], tmp_path / "log")


def test_tool_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"^the program no-such-tool is missing: it has to be on PATH"):
        tools.run(["no-such-tool"], tmp_path / "log")


def test_tools_speak_one_locale_but_for_those_in_a_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    tools.run(["sh", "-c", "echo $LC_ALL"], tmp_path / "log")
    tools.run(["sh", "-c", "echo $LC_ALL"], tmp_path / "log", env={"LC_ALL": "C"})
    assert (tmp_path / "log").read_text().splitlines()[1::2] == ["C.UTF-8", "C"]
