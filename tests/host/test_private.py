"""The private libvirt seen from the host: who is inside, whose it is, and what ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outlive import cli
from outlive.base import process
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.process import born, said
from outlive.base.wait import wait_for
from outlive.host import private

PRIVATE_ENSURE = private.ensure
"""The function itself: tests/conftest.py keeps all tests from it."""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the shell of a running lab."""
    (tmp_path / "ready").touch()
    monkeypatch.setenv("OUTLIVE_SHELL", str(ROOT))
    monkeypatch.setattr(private, "inside", lambda there=private.inside: there(tmp_path))


def test_shell_of_a_system_libvirt_is_no_other_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_SHELL", str(ROOT))
    assert not private.inside(tmp_path)
    (tmp_path / "ready").touch()
    assert private.inside(tmp_path)
    monkeypatch.delenv("OUTLIVE_SHELL")
    assert not private.inside(tmp_path)


@pytest.mark.usefixtures("shell")
def test_command_within_the_shell_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `outlive exercise check 3` does between two commands of kubectl."""
    called: list[list[str]] = []

    def execute(_program: str, argv: list[str]) -> None:
        called.append(argv)
        raise SystemExit(3)

    monkeypatch.setattr(os, "execvp", execute)
    with pytest.raises(SystemExit):
        cli.main(["run", "sh", "-c", "exit 3"])
    assert called == [["sh", "-c", "exit 3"]]


@pytest.mark.usefixtures("shell")
def test_program_that_is_missing_within_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "no-such-program"]) == 2
    assert capsys.readouterr().err.startswith("error: the program no-such-program is missing: it has to be on PATH")


def test_program_that_init_lacks_is_one_sentence(tmp_path: Path) -> None:
    """The last line of its log is what the user reads; here no folder is laid over libvirt's."""
    source = "import sys; from outlive.host.private import init; init.OVERLAYS = {}; sys.exit(init.main())"
    (tmp_path / "etc").mkdir()
    (tmp_path / "lib").mkdir()
    argv = [sys.executable, "-c", source, "--state", str(tmp_path)]
    done = subprocess.run(argv, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "mount is missing: `outlive doctor` says how to get the tools\n")


@pytest.mark.usefixtures("shell")
def test_shell_within_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["shell"]) == 2
    assert capsys.readouterr().err == "error: this is the lab's shell already: type the command itself\n"


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("command", ["lab", "test", "molecule", "reset", "destroy", "bench", "rehearse"])
def test_lab_is_neither_made_nor_removed_from_within(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command]) == 2
    assert capsys.readouterr().err == f"error: this is the shell of a running lab, in which `{command}` can't be run: type `exit` first\n"


def test_checkout_that_this_user_may_not_look_into_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init = private.Init(1, born(1) or 0, "/home/another/outlive")
    monkeypatch.setattr(private, "REGISTRY", tmp_path)
    (tmp_path / "another.json").write_text(f'{{"pid": 1, "born": {init.born}, "root": "{init.root}"}}')
    assert private.orphans() == [init]

    def refuse(_path: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    assert private.orphans() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes a namespace")
def test_start_that_is_given_up_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "init.py"
    program.write_text("import os, time, pathlib, sys\npathlib.Path(sys.argv[2], 'begun').touch()\ntime.sleep(600)\n")
    monkeypatch.setattr(private, "PROGRAM", program)
    monkeypatch.setattr(private, "clear_orphans", lambda: None)
    outer: list[int] = []

    def interrupted(pid: int, *_: object) -> None:
        outer.append(pid)
        wait_for("init", "begun", (tmp_path / "begun").exists, bool, within=60, every=0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(private, "_await_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PRIVATE_ENSURE(hide_kvm=False, mirror=[], folder=tmp_path)
    wait_for("unshare", "ended", lambda: born(outer[0]), lambda when: when is None, within=60, every=0.05)
    running = ["pgrep", "--full", str(program)]
    wait_for("init", "ended", lambda: said(running), lambda pids: pids is None, within=60, every=0.05)


def test_start_that_sudo_refuses_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "as_root", lambda _argv: ["sh", "-c", "echo 'no such luck' >&2; exit 1"])
    monkeypatch.setattr(private, "clear_orphans", lambda: None)
    with pytest.raises(LabError, match="the private libvirt did not start: no such luck"):
        PRIVATE_ENSURE(hide_kvm=True, mirror=[], folder=tmp_path)


def test_commands_inside_are_the_user_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(process, "require_root", lambda: None)
    argv = private.enter(private.Init(7, 0, ""), ["virsh", "list"], {"KEY": "value"})
    assert argv[:4] == ["sudo", "--non-interactive", "--preserve-env", "nsenter"]
    assert argv[argv.index("--") + 1 :][:2] == ["setpriv", "--reuid=1000"]
    assert process.spoken(argv) == "virsh list"


INIT = """
import os, pathlib, signal, sys, time
state = pathlib.Path(sys.argv[sys.argv.index("--state") + 1])
with (state / "starts").open("a") as file:
    file.write("started\\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
(state / "ready").write_text("ready\\n")
while state.exists():  # so that none stays where the test fails
    time.sleep(0.2)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes a namespace")
def test_two_commands_at_once_start_one_libvirt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, folder = tmp_path / "init.py", tmp_path / ".lab/private"
    program.write_text(INIT)
    monkeypatch.setattr(private, "PROGRAM", program)
    monkeypatch.setattr(private, "REGISTRY", tmp_path / "registry")
    monkeypatch.setattr(private, "FOLDER", folder)

    def ask() -> private.Init:
        with private.held():
            return PRIVATE_ENSURE(hide_kvm=False, mirror=[], folder=folder)

    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        found = {each.result(timeout=120) for each in asked}
    try:
        assert len(found) == 1
        assert (folder / "starts").read_text() == "started\n"
        assert private.current(folder) in found
    finally:
        private.stop(folder)
    assert born(found.pop().pid) is None
    assert not folder.exists()
