"""Programs that are run: bounded in time, in one locale, and gone when their caller goes on."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from outlive.base import process
from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.process import Tree, as_root, as_user, born, end, logged, output, run, said, spoken, started
from outlive.base.wait import wait_for

# Two generations below it; the last one heeds nothing but SIGKILL, and holds no pipe.
FAMILY = "(trap '' INT TERM; tail -f /dev/null </dev/null >/dev/null 2>&1 & echo $! > {0}/child; wait) & echo $$ > {0}/own; wait"

STARTING = ("subprocess.run", "subprocess.Popen", "subprocess.c", "os.exec", "os.spawn", "os.posix_spawn", "os.system", "os.popen")
"""How calls begin that start a program."""


def noted(folder: Path) -> list[int]:
    """Return the process ids that the family wrote."""
    files = [folder / "own", folder / "child"]
    texts = wait_for(
        "family",
        "its pids",
        lambda: [file.read_text() if file.exists() else "" for file in files],
        lambda texts: all("\n" in text for text in texts),
        within=60,
        every=0.05,
    )
    return [int(text) for text in texts]


STARTERS = {
    "src/outlive/base/process.py": "it is the one place, and says of a missing program what to do",
    "src/outlive/cli.py": "`outlive run` takes this process's place, and looks for the program first",
    "src/outlive/host/private/init.py": "process 1 of the namespaces has Python's library alone; it says what is missing",
    "src/outlive/lab/machine_facts.py": "it runs on a node, with nothing but its Python",
}
"""Modules that start programs, and why."""


def test_programs_are_started_in_one_place() -> None:
    """Elsewhere a program that a user lacks would be an exception of Python's instead of a sentence."""
    found = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "src/outlive").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(STARTING)
    }
    assert found == set(STARTERS)


def test_words_are_read_in_one_locale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8", "LANGUAGE": "zh"}.items():
        monkeypatch.setenv(name, value)
    script = ["sh", "-c", "echo $LC_ALL$LANGUAGE"]
    assert output(script) == run(script).stdout.strip() == said(script) == "C.UTF-8"
    assert output(script, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}) == "C.UTF-8"
    logged("a step", script, tmp_path / "log")
    assert (tmp_path / "log").read_text().splitlines()[-1] == "C.UTF-8"


def test_program_that_takes_too_long_is_ended_with_all_below_it(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="gave no answer within 1 s"):
        run(["sh", "-c", FAMILY.format(tmp_path)], timeout=1)
    assert [pid for pid in noted(tmp_path) if born(pid)] == []


def test_no_child_outlives_its_command_whatever_the_error(tmp_path: Path) -> None:
    def show(_line: str) -> None:
        noted(tmp_path)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        logged("a step", ["sh", "-c", f"echo line; {FAMILY.format(tmp_path)}"], tmp_path / "log", show=show, patience=1)
    assert [pid for pid in noted(tmp_path) if born(pid)] == []


def test_what_was_started_is_ended_where_the_body_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), started(["sh", "-c", FAMILY.format(tmp_path)]):
        noted(tmp_path)
        raise ZeroDivisionError
    assert [pid for pid in noted(tmp_path) if born(pid)] == []


def test_child_stays_in_the_tree_when_its_parent_ends(tmp_path: Path) -> None:
    program = subprocess.Popen(["sh", "-c", FAMILY.format(tmp_path)])
    own, child = noted(tmp_path)
    tree = Tree(program.pid)
    assert tree.alive()[0] == own
    assert child in tree.alive()
    program.kill()
    program.wait()
    assert child in tree.alive()
    tree.send(signal.SIGKILL)
    wait_for("tree", "gone", tree.alive, lambda alive: not alive, within=30, every=0.05)


def test_pid_that_was_given_anew_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["tail", "-f", "/dev/null"])
    try:
        tree = Tree(child.pid)
        monkeypatch.setattr(process, "born", lambda pid: (born(pid) or 0) + 1)
        tree.send(signal.SIGKILL)
        assert child.poll() is None
    finally:
        end(child, leads=False, patience=5)
        monkeypatch.undo()
        child.kill()
        child.wait()


def test_missing_program_is_one_sentence(tmp_path: Path) -> None:
    sentence = "the program no-such-program is missing: it has to be on PATH; `outlive doctor` says how to get the tools"
    for call in (lambda: output(["no-such-program"]), lambda: logged("a step", ["no-such-program"], tmp_path / "log")):
        with pytest.raises(LabError) as raised:
            call()
        assert str(raised.value) == sentence
    assert said(["no-such-program"]) is None


def test_program_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("no program\n")
    with pytest.raises(LabError, match=r"did not run: .*Permission denied"):
        output([str(tmp_path / "program")])
    with pytest.raises(LabError, match=r"did not run: .*nowhere"):
        run(["true"], cwd=tmp_path / "nowhere")


def test_status_and_words_of_a_failure() -> None:
    with pytest.raises(LabError, match="ended with status 3: the disk is full"):
        output(["sh", "-c", "echo 'the disk is full' >&2; exit 3"])
    done = run(["sh", "-c", "cat; exit 3"], given="öl\n")
    assert (done.returncode, done.stdout) == (3, "öl\n")


def test_children_heed_signals_where_their_command_was_started_to_ignore_them() -> None:
    """As a job in the background: its ssh has to end of a Ctrl-C."""
    program = (
        "import signal; from outlive.base.process import interrupt_by, output\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, interrupt_by)\n"
        "print(output(['grep', 'SigIgn', '/proc/self/status']))"
    )
    done = subprocess.run(
        ["sh", "-c", 'trap \'\' INT TERM; exec "$0" -c "$1"', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    ignored = int(done.stdout.split()[1], 16)
    assert [number for number in (signal.SIGINT, signal.SIGTERM) if ignored >> (number - 1) & 1] == []


@pytest.mark.parametrize(
    "lead",
    [
        [],
        ["env", "VAGRANT_HOME=/x y", "OUTLIVE_SHELL=/x"],
        ["sudo", "--preserve-env", "nsenter", "--target", "1", "--mount", "--", "env", "--chdir=/x", "VAGRANT_HOME=/x"],
    ],
)
def test_error_names_the_command_without_what_leads_to_it(lead: list[str], tmp_path: Path) -> None:
    assert spoken([*lead, "ansible-playbook", "playbooks/site.yml"]) == "ansible-playbook playbooks/site.yml"
    with pytest.raises(LabError, match=r"^a step: `sh -c 'exit 3'` ended with status 3; "):
        logged("a step", ["env", "VAGRANT_HOME=/x", "sh", "-c", "exit 3"], tmp_path / "log")
    with pytest.raises(LabError, match=r"^`sh -c 'exit 3'` ended with status 3: "):
        output(["env", "VAGRANT_HOME=/x", "sh", "-c", "exit 3"])


def test_process_that_ends_while_its_children_are_looked_for_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(os.getpid())

    def gone(_path: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "scandir", gone)
    assert tree.alive() == [os.getpid()]


SUDO = """#!/bin/sh
echo "$*" >>{0}/asked
case "$*" in
"--reset-timestamp --non-interactive true") exit {1} ;;
"--non-interactive true") [ {1} = 0 ] || [ -e {0}/remembered ] ;;
true) touch {0}/remembered ;;
esac
"""


@pytest.fixture
def ordinary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be an ordinary user, whose sudo wants a password and notes each of its calls in the file that is returned."""
    sudo = tmp_path / "sudo"
    sudo.write_text(SUDO.format(tmp_path, 1))
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    monkeypatch.setattr(process, "_root", False)
    monkeypatch.setattr(process, "_in_foreground", lambda: True)
    monkeypatch.setattr(process, "_stay_root", lambda: None)
    return tmp_path / "asked"


def test_sudo_asks_once_and_it_is_said_before(ordinary: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process.require_root("start it")
    assert as_root(["true"]) == ["sudo", "--non-interactive", "--preserve-env", "true"]
    assert as_root(["true"]) == ["sudo", "--non-interactive", "--preserve-env", "true"]
    assert ordinary.read_text().splitlines().count("true") == 1
    printed = capfd.readouterr()
    assert printed.err == "To start it, sudo asks for your password, once.\n"
    assert printed.out == ""


def test_sudo_that_forgets_at_once_is_told_of(ordinary: Path) -> None:
    (ordinary.parent / "sudo").write_text('#!/bin/sh\n[ "$1" = true ]\n')
    with pytest.raises(
        LabError, match=r"sudo is needed, and it forgets the password at once \(timestamp_timeout=0 in sudoers, see sudoers\(5\)\): run"
    ):
        process.require_root("start it")


def test_sudo_that_wants_no_password_asks_nothing(ordinary: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (ordinary.parent / "sudo").write_text(SUDO.format(ordinary.parent, 0))
    as_root(["true"])
    assert "true" not in ordinary.read_text().splitlines()
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("ordinary")
def test_password_that_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the background, or without a terminal: sudo would be stopped there, or fail in words of its own."""
    monkeypatch.setattr(process, "_in_foreground", lambda: False)
    with pytest.raises(LabError, match="to start it, sudo is needed, and it refused or can't ask for a password here: run `sudo true`"):
        process.require_root("start it")


def test_no_sudo(ordinary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(ordinary.parent / "nothing"))
    with pytest.raises(LabError, match="to start it, sudo is needed, and it isn't there: install it, or run the command as root"):
        process.require_root("start it")


@pytest.mark.usefixtures("ordinary")
def test_root_becomes_the_user_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/learner")
    monkeypatch.setenv("USER", "learner")
    monkeypatch.delenv("LOGNAME", raising=False)
    user = ["setpriv", "--reuid=1000", "--regid=100", "--init-groups", "env", "HOME=/home/learner", "USER=learner"]
    assert as_user(["id", "-un"]) == [*user, "id", "-un"]
    assert spoken(as_root(as_user(["env", "KEY=value", "id", "-un"]))) == "id -un"


def test_root_stays_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(process, "_sudo", lambda *_: pytest.fail("sudo has nothing to do here"))
    assert as_root(["id"]) == as_user(["id"]) == ["id"]


def test_hold_within_a_hold_holds_to_the_end_of_the_first() -> None:
    reached: list[str] = []
    before = signal.signal(signal.SIGTERM, process.interrupt_by)
    try:
        with pytest.raises(KeyboardInterrupt), process.uninterrupted():
            with process.uninterrupted():
                os.kill(os.getpid(), signal.SIGTERM)
            reached.append("behind the second")
        reached.append("behind the first")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert reached == ["behind the second", "behind the first"]


def test_what_sudo_runs_in_its_own_group_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    sudo = tmp_path / "sudo"
    # Named sudo, as the kernel has a script's name; what it runs is in its group, as sudo without a terminal has it.
    sudo.write_text(f"#!/bin/sh\nsh -c 'trap \"echo told >>{told}; exit 0\" INT TERM; echo up; while :; do sleep 0.1; done'\n")
    sudo.chmod(0o755)
    real = os.kill

    def refused(pid: int, which: int) -> None:
        if pid < 0 or pid == leader.pid:
            raise PermissionError
        real(pid, which)

    leader = subprocess.Popen([str(sudo)], stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        assert leader.stdout is not None
        assert leader.stdout.readline() == "up\n"
        monkeypatch.setattr(os, "kill", refused)
        Tree(leader.pid, leads=True).send(signal.SIGTERM)
        assert leader.wait(30) == 0
    finally:
        monkeypatch.undo()
        end(leader, patience=2)
    assert told.read_text() == "told\n"
