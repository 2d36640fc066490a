"""Moments and their sums."""

from __future__ import annotations

from outlive.drill.timeline import Moment, Timeline, ordered
from tests.samples import instant


def timeline() -> Timeline:
    """Return three moments, given out of order."""
    moments = (Moment("c", "third", instant(30)), None, Moment("a", "first", instant(0)), Moment("b", "second", instant(12.5)))
    return Timeline("t", instant(0), ordered(moments))


def test_moments_are_in_the_order_of_time() -> None:
    assert [moment.key for moment in timeline().moments] == ["a", "b", "c"]


def test_equal_times_keep_the_given_order() -> None:
    assert [each.key for each in ordered([Moment("x", "", instant(1)), Moment("y", "", instant(1))])] == ["x", "y"]


def test_phases_sum_up_to_the_total() -> None:
    phases = timeline().phases()
    assert [(phase.ends_with, phase.seconds) for phase in phases] == [("b", 12.5), ("c", 17.5)]
    assert sum(phase.seconds for phase in phases) == timeline().total == 30.0


def test_seconds_of_a_moment() -> None:
    assert timeline().seconds("b") == 12.5
    assert timeline().seconds("z") is None


def test_nothing_was_seen() -> None:
    empty = Timeline("t", instant(0))
    assert (empty.total, empty.phases()) == (0.0, ())
