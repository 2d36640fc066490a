"""The wait helper."""

from __future__ import annotations

import pytest

from outlive.base.clock import HOST_CLOCK, Instant
from outlive.base.errors import LabError, UnreachableError
from outlive.base.verdict import Verdict, of_error
from outlive.base.wait import SilenceError, StateNotReachedError, WaitTimeoutError, wait_for
from tests.samples import ManualClock, instant


def test_returns_what_was_accepted(clock: ManualClock) -> None:
    states = iter(["Pending", "Running"])
    assert wait_for("pod p", "Running", lambda: next(states), lambda state: state == "Running", within=9, clock=clock) == "Running"
    assert clock.seconds == 1.0


def test_failure_says_object_wanted_last_and_elapsed(clock: ManualClock) -> None:
    with pytest.raises(WaitTimeoutError) as raised:
        wait_for("node n1", "Ready", lambda: False, bool, within=5, every=2, describe=lambda _: "NotReady (why)", clock=clock)
    assert str(raised.value) == "node n1: wanted Ready, last seen NotReady (why), gave up after 5 s"
    assert isinstance(raised.value, AssertionError)


def test_no_answer_is_a_state(clock: ManualClock) -> None:
    def look() -> bool:
        raise UnreachableError("refused")

    with pytest.raises(SilenceError, match=r"last seen no answer \(refused\)"):
        wait_for("node n1", "Ready", look, bool, within=1, clock=clock)


def test_silence_at_the_end_is_not_known_whatever_was_seen_before(clock: ManualClock) -> None:
    def look() -> bool:
        if clock.seconds > 2:
            raise UnreachableError("refused")
        return False

    with pytest.raises(SilenceError) as raised:
        wait_for("node n1", "Ready", look, bool, within=5, clock=clock)
    assert of_error(raised.value) is Verdict.UNKNOWN


def test_another_state_at_the_end_is_a_failure_whatever_was_silent_before(clock: ManualClock) -> None:
    def look() -> bool:
        if clock.seconds < 4:
            raise UnreachableError("refused")
        return False

    with pytest.raises(StateNotReachedError) as raised:
        wait_for("node n1", "Ready", look, bool, within=5, clock=clock)
    assert of_error(raised.value) is Verdict.FAIL


def test_other_errors_end_the_wait(clock: ManualClock) -> None:
    def look() -> bool:
        raise LabError("wrong password")

    with pytest.raises(LabError, match="wrong password"):
        wait_for("MySQL", "rows", look, bool, within=1, clock=clock)
    assert clock.seconds == 0.0


def test_host_clock_goes_on() -> None:
    first = HOST_CLOCK.now()
    HOST_CLOCK.rest(0)
    assert HOST_CLOCK.now().since(first) >= 0


def test_seconds_come_from_the_monotonic_clock() -> None:
    stepped_back = Instant(instant(5).monotonic, instant(-3600).wall)
    assert stepped_back.since(instant(0)) == 5.0
    assert stepped_back > instant(0)
