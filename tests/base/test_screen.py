"""What a long command shows, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from outlive.base import screen
from outlive.base.screen import CLEAR, Board, Screen, duration
from outlive.base.wait import wait_for


def test_in_a_log_there_are_whole_lines_and_no_control_characters() -> None:
    told = io.StringIO()
    with Screen("verification", told, terminal=False) as shown:
        shown.note("test_row")
        shown.line("    45.2 s  k8s-node1 NotReady")
    assert told.getvalue() == "verification ...\n    45.2 s  k8s-node1 NotReady\n"


def test_in_a_log_the_clock_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "EVERY_IN_A_LOG", 0.01)
    told = io.StringIO()
    with Screen("verification", told, terminal=False) as shown:
        shown.note("test_row")
        wait_for(
            "the log", "a line of the clock", told.getvalue, lambda text: "verification 0 s  test_row\n" in text, within=30, every=0.01
        )


def test_on_a_terminal_lines_stay_above_a_clock_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "EVERY_ON_A_TERMINAL", 0.01)
    told = io.StringIO()
    with Screen("verification", told, terminal=True) as shown:
        wait_for("the terminal", "the clock", told.getvalue, lambda text: f"{CLEAR}verification 0 s" in text, within=30, every=0.01)
        shown.line("k8s-node1 NotReady")
    assert f"{CLEAR}k8s-node1 NotReady\n" in told.getvalue()
    assert told.getvalue().endswith(CLEAR)


def test_in_a_log_a_board_s_line_is_written_when_it_is_new() -> None:
    told = io.StringIO()
    with Board(told) as board:
        board.show(["1. open", "2. open"])
        board.show(["1. open", "2. open"])
        board.show(["1. solved", "2. open"])
        board.show(["no answer"])
        board.show(["1. solved", "2. open"])
    assert told.getvalue().splitlines() == ["1. open", "2. open", "1. solved", "no answer", "1. solved", "2. open"]


def test_on_a_terminal_a_board_is_redrawn_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor goes up to its first line, a long line counting as the several that it takes, and is seen again at the end."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "10")
    told = io.StringIO()
    with Board(told, terminal=True) as board:
        board.show(["one two three", "four"])
        begun = len(told.getvalue())
        board.show(["five"])
    redrawn = told.getvalue()[begun:]
    assert redrawn.count("\x1b[1A") == 2
    assert redrawn.index("\x1b[1A") < redrawn.index("five") < redrawn.index("\x1b[?25h")
    assert told.getvalue().endswith("\x1b[?25h")


def test_a_terminal_that_can_t_redraw_gets_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    told = io.StringIO()
    monkeypatch.setattr(told, "isatty", lambda: True)
    with Board(told) as board:
        board.show(["one"])
    assert told.getvalue() == "one\n"


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 60, 369)] == ["0 s", "59 s", "1 min 00 s", "6 min 09 s"]
