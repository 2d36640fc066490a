"""The terminals of a page's reader, with real programs on them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from outlive.base.errors import UnreachableError
from outlive.base.paths import ROOT
from outlive.base.wait import wait_for
from outlive.course import terminals
from outlive.course.pages import Ran, objection, parse
from outlive.course.terminals import SecondTerminal, converse

CLIENT = """\
import os, signal, sys
assert os.isatty(0) and os.isatty(1) and os.get_terminal_size().columns == 200
if "late" in sys.argv:
    input()
print("Welcome")
while (line := input("mysql> ")) != "exit":
    if line:
        print(f"\\x1b(B\\x1b[0;1m{line} of {os.environ['WHO']}\\x1b[0m")
print("Bye")
sys.exit(7 if "fails" in sys.argv else 0)
"""
PAGE = """\
```console
$ client
Welcome
mysql> select 1;
select 1; of me
mysql> exit
Bye
```
"""


@pytest.fixture
def client(tmp_path: Path) -> str:
    """Return the command of a program with a prompt."""
    (tmp_path / "client.py").write_text(CLIENT)
    return f"{sys.executable} {tmp_path}/client.py"


def test_dialogue_is_what_the_page_shows(client: str) -> None:
    page = parse(PAGE, "docs/a.md")
    command = page.blocks[0].commands[0]
    assert command.typed == ("mysql> select 1;", "mysql> exit")
    ran = converse(client, command.typed, {"WHO": "me"}, 60)
    assert ran.status == 0
    assert objection(page, page.blocks[0], command, ran) is None
    assert objection(page, page.blocks[0], command, converse(client, command.typed, {"WHO": "you"}, 60)) is not None


def test_prompt_that_was_shown_before_somebody_looked(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pod's terminal said before kubectl was attached isn't said again: Enter brings a new prompt."""
    monkeypatch.setattr(terminals, "SILENCE", 0.5)
    ran = converse(f"{client} late", ("mysql> a", "mysql> exit"), {"WHO": "me"}, 60)
    assert [line for line in ran.lines if line] == ["Welcome", "mysql> a", "a of me", "mysql> exit", "Bye"]


def test_nothing_is_typed_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that starts late answers the Enter too, with a prompt that isn't the next line's."""
    monkeypatch.setattr(terminals, "SILENCE", 0.5)
    slow = CLIENT.replace("import os, signal, sys", "import os, signal, sys, time\ntime.sleep(2)").replace(
        "    if line:\n", "    if line:\n        time.sleep(0.5)\n"
    )
    (tmp_path / "slow.py").write_text(slow)
    ran = converse(f"{sys.executable} {tmp_path}/slow.py", ("mysql> a", "mysql> b", "mysql> exit"), {"WHO": "me"}, 60)
    assert [line for line in ran.lines if line][-5:] == ["mysql> a", "a of me", "mysql> b", "b of me", "mysql> exit", "Bye"][-5:]


def test_status_is_the_program_s(client: str) -> None:
    assert converse(f"{client} fails", ("mysql> exit",), {"WHO": "me"}, 60).status == 7


@pytest.mark.parametrize("program", ["echo error: no such image; exit 1", "echo hello; sleep 600"])
def test_no_prompt_is_told_with_the_last_words(program: str) -> None:
    with pytest.raises(UnreachableError, match=r"showed no prompt 'mysql> ' .*last words: '(error: no such image|hello)\\r\\n"):
        converse(program, ("mysql> a",), {}, 5)


def test_dialogue_that_does_not_end(client: str) -> None:
    with pytest.raises(UnreachableError, match="didn't end within 5 s after the last line was typed"):
        converse(client, ("mysql> a",), {"WHO": "me"}, 5)


def seen(file: Path) -> None:
    """Wait until a file is there."""
    wait_for(str(file), "there", file.exists, bool, within=60)


def test_second_terminal_goes_on_until_ctrl_c(tmp_path: Path) -> None:
    terminal = SecondTerminal(f"pwd; echo $WORD; touch {tmp_path}/begun; exec sleep 600", {"WORD": "a b"})
    seen(tmp_path / "begun")
    assert terminal.end() == Ran(0, (str(ROOT), "a b"))


def test_ctrl_c_is_heard_where_this_process_ignores_it(tmp_path: Path) -> None:
    """As where a shell started it in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        terminal = SecondTerminal(f"trap 'echo ended; exit 1' INT; touch {tmp_path}/begun; while :; do sleep 0.1; done", {})
        seen(tmp_path / "begun")
        assert terminal.end() == Ran(0, ("ended",))
    finally:
        signal.signal(signal.SIGINT, before)


def test_second_terminal_that_failed_by_itself(tmp_path: Path) -> None:
    terminal = SecondTerminal(f"echo error: no lab >&2; (sleep 0.1; touch {tmp_path}/ended) & exit 3", {})
    seen(tmp_path / "ended")
    assert terminal.end() == Ran(3, ("error: no lab",))


def test_second_terminal_that_ctrl_c_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminals, "CTRL_C_SECONDS", 0.5)
    terminal = SecondTerminal(f"trap '' INT; touch {tmp_path}/begun; exec sleep 600", {})
    seen(tmp_path / "begun")
    assert terminal.end() == Ran(-signal.SIGTERM, ())
