"""Commands that run other programs: where, and with which exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outlive import cli
from outlive.base.errors import LabError
from outlive.base.locks import alone
from outlive.base.paths import ROOT, cache
from outlive.host import private, reach, steps
from outlive.host.doctor import checklist
from outlive.host.settings import Settings
from outlive.lab import inventory


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a user's folder that isn't the checkout, with a lock of its own for a lab that can be reached here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTLIVE_SHELL", str(ROOT))
    monkeypatch.setattr(private, "FOLDER", tmp_path / "private")
    monkeypatch.setattr(private, "inside", lambda: False)
    monkeypatch.setattr("outlive.base.locks.alone", lambda: alone(tmp_path / "lab.lock"))
    return tmp_path


def program(path: Path, script: str) -> str:
    """Write a shell script; return its path."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (1, 2), (2, 2), (4, 2)])
@pytest.mark.parametrize("words", [["provision"], ["tutorial", "apply"], ["tutorial", "reset"]])
def test_playbook_ends_with_a_status_of_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], status: int, expected: int
) -> None:
    ansible = program(folder / "ansible-playbook", f'test -e "$1" || exit 9; exit {status}')
    monkeypatch.setattr(inventory, "ansible_program", lambda _name: ansible)
    assert cli.main(words) == expected
    said = capsys.readouterr().err
    assert status == 0 or (
        said.startswith("error: `ansible-playbook playbooks/") and f".yml` ended with status {status}: see its words" in said
    )


def test_playbook_waits_for_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(inventory, "ansible_program", lambda _name: "false")
    with alone(folder / "lab.lock"):
        assert cli.main(["provision"]) == 2
    assert "another command works on this lab" in capsys.readouterr().err


def test_up_in_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class There:
        def __init__(self, _settings: Settings) -> None:
            pass

        def require_box(self) -> None:
            pass

        def run(self, argv: list[str]) -> int:
            assert Path("playbooks/check.yml").exists()
            return 4 if argv[0] == "vagrant" else 0

    monkeypatch.setattr(checklist, "before_anything", lambda _settings: None)
    monkeypatch.setattr(reach, "reach", There)
    assert cli.main(["up"]) == 2
    assert capsys.readouterr().err.startswith("error: `vagrant up --no-tty` ended with status 4: see its words above")


def test_up_stops_at_what_would_break_the_lab(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a libvirt is started or a machine made."""

    def refuse(_settings: Settings) -> None:
        raise LabError("VirtualBox is too new: install a newer Vagrant")

    monkeypatch.setattr(checklist, "before_anything", refuse)
    monkeypatch.setattr(reach, "reach", lambda _settings: pytest.fail("the lab was reached"))
    assert cli.main(["up"]) == 2
    assert capsys.readouterr().err == "error: VirtualBox is too new: install a newer Vagrant\n"


def test_lab_in_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    monkeypatch.setenv("OUTLIVE_CACHE", "cache")
    monkeypatch.setattr(steps, "make", lambda: seen.extend([Path.cwd(), cache()]))
    assert cli.main(["lab"]) == 0
    assert seen == [ROOT, folder / "cache"]


@pytest.mark.parametrize("command", [["setup"], ["doctor"], ["lab"], ["mirror", "check"]])
def test_cache_in_a_folder_that_ansible_and_apt_cannot_take(tmp_path: Path, command: list[str]) -> None:
    environment = {**os.environ, "OUTLIVE_CACHE": str(tmp_path / "my cache"), "OUTLIVE_DRIVER": "qemu", "OUTLIVE_PROVIDER": "libvirt"}
    script = (
        "import sys; from outlive import __main__; from outlive.host import packages; packages.install_packages = lambda *_, **__: None"
    )
    argv = [sys.executable, "-c", f"{script}; sys.exit(__main__.main())", *command]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == (1 if command == ["doctor"] else 2)
    assert (
        "my cache' (by OUTLIVE_CACHE, else XDG_CACHE_HOME or the home folder), and neither apt nor Ansible takes"
        in done.stdout + done.stderr
    )
    assert not (tmp_path / "my cache").exists()


@pytest.mark.parametrize("words", [["report"], ["lab"], ["destroy"], ["run", "true"], ["shell", "-c", "true"], ["provision"]])
def test_shell_of_another_checkout_s_lab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    monkeypatch.setenv("OUTLIVE_SHELL", "/srv/another")
    monkeypatch.setattr(steps, "make", lambda: pytest.fail("a lab was made"))
    monkeypatch.setattr(reach, "reach", lambda: pytest.fail("the lab was reached"))
    assert cli.main(words) == 2
    assert capsys.readouterr().err == (
        f"error: OUTLIVE_SHELL is '/srv/another': this is the shell of the lab in there, and this program is that of {ROOT}: type `exit` first\n"
    )


def test_linter_that_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli.main(["lint"]) == 2
    assert capsys.readouterr().err.startswith("error: the program ruff is missing: ")


def test_unit_tests_are_named_as_they_lie_from_here_and_find_ansible(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import shutil\n\n\ndef test_it() -> None:\n    assert shutil.which('ansible-playbook')\n")
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-P", "-m", "outlive", "unit", "-q", "-p", "no:cacheprovider", "--rootdir=.", "test_it.py::test_it"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("words", "status"), [(["-k", "nothing_is_called_so", "tests/base/test_wait.py"], 2), (["--no-such-option"], 2)])
def test_status_that_pytest_alone_has(words: list[str], status: int) -> None:
    argv = [sys.executable, "-m", "outlive", "unit", "-p", "no:cacheprovider", *words]
    assert subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=100, check=False).returncode == status


def test_command_that_is_killed_within_the_lab_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class There:
        def run(self, _argv: list[str]) -> int:
            return 137

    monkeypatch.setattr(reach, "reach", There)
    assert cli.main(["verify"]) == 2
