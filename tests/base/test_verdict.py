"""Verdicts; unknown never passes."""

from __future__ import annotations

import pytest

from outlive.base.errors import LabError, RefusedError, UnreachableError
from outlive.base.verdict import Verdict, combined, of_error
from outlive.base.wait import SilenceError, StateNotReachedError

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, UNKNOWN], UNKNOWN),
        ([UNKNOWN, FAIL, PASS], FAIL),
        ([], UNKNOWN),
    ],
)
def test_combined(verdicts: list[Verdict], expected: Verdict) -> None:
    assert combined(verdicts) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AssertionError("1 != 2"), FAIL),
        (StateNotReachedError("too long"), FAIL),
        (SilenceError("no answer for too long"), UNKNOWN),
        (RefusedError("no such table"), FAIL),
        (LabError("not ready"), UNKNOWN),
        (UnreachableError("no answer"), UNKNOWN),
        (OSError("disk"), UNKNOWN),
        (KeyboardInterrupt(), UNKNOWN),
    ],
)
def test_of_error(error: BaseException, expected: Verdict) -> None:
    assert of_error(error) is expected
