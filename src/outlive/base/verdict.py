"""The three verdicts; unknown never passes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from outlive.base.errors import EXIT_FAIL, EXIT_PASS, EXIT_UNKNOWN


class Verdict(StrEnum):
    """What a check found out."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"

    @property
    def exit_status(self) -> int:
        """Return the exit status of a command that comes to this verdict."""
        return {Verdict.PASS: EXIT_PASS, Verdict.FAIL: EXIT_FAIL, Verdict.UNKNOWN: EXIT_UNKNOWN}[self]


def of_error(error: BaseException) -> Verdict:
    """Return the verdict that an error in a check means.

    A broken assertion, a state that wasn't reached in time and a refusal by MySQL say that the lab doesn't hold what is claimed.
    Everything else (no connection, a lab that wasn't ready, an interruption) says that it couldn't be found out.
    """
    return Verdict.FAIL if isinstance(error, AssertionError) else Verdict.UNKNOWN


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict of several checks: fail beats unknown, unknown beats pass, and no check at all is unknown."""
    found = set(verdicts)
    if Verdict.FAIL in found:
        return Verdict.FAIL
    return Verdict.PASS if found == {Verdict.PASS} else Verdict.UNKNOWN
