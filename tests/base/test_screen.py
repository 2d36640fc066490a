"""What a long command shows, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from outlive.base import screen
from outlive.base.screen import CLEAR, Screen, duration
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


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 60, 369)] == ["0 s", "59 s", "1 min 00 s", "6 min 09 s"]
