"""The private libvirt seen from the host: who is inside, whose it is, and what ends with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from outlive.host import command as program
from outlive.host import private


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the shell of a running lab."""
    (tmp_path / "ready").touch()
    monkeypatch.setenv("OUTLIVE_SHELL", "1")
    monkeypatch.setattr(private, "inside", lambda there=private.inside: there(tmp_path))


def test_shell_of_a_system_libvirt_is_no_other_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_SHELL", "1")
    assert not private.inside(tmp_path)
    (tmp_path / "ready").touch()
    assert private.inside(tmp_path)
    monkeypatch.delenv("OUTLIVE_SHELL")
    assert not private.inside(tmp_path)


@pytest.mark.usefixtures("shell")
def test_command_within_the_shell_runs_as_it_is() -> None:
    """As `outlive exercise check 3` does between two commands of kubectl."""
    assert program.main(["run", "--", "sh", "-c", "exit 3"]) == 3


@pytest.mark.usefixtures("shell")
@pytest.mark.parametrize("command", ["lab", "test", "molecule", "reset", "destroy", "bench", "rehearse", "shell"])
def test_lab_is_neither_made_nor_removed_from_within(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([command]) == 1
    assert capsys.readouterr().err == f"error: this is the shell of a running lab, in which `{command}` can't be run: type `exit` first\n"


def test_checkout_that_this_user_may_not_look_into_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = private.Holder(1, private._born(1) or 0, "/home/another/outlive")
    monkeypatch.setattr(private, "REGISTRY", tmp_path)
    (tmp_path / "another.json").write_text(f'{{"pid": 1, "born": {holder.born}, "root": "{holder.root}"}}')
    assert private.orphans() == [holder]

    def refuse(_path: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    assert private.orphans() == []


def test_start_that_is_given_up_leaves_no_process() -> None:
    outer = subprocess.Popen(["sleep", "600"], start_new_session=True)
    private._abandon(outer)
    assert outer.poll() is not None
