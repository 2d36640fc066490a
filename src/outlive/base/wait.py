"""The one wait helper: a failure names the object, the wanted state, the last state seen and the time spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from outlive.base.clock import HOST_CLOCK, Clock
from outlive.base.errors import EXIT_FAIL, LabError, UnreachableError

Observed = TypeVar("Observed")


class WaitTimeoutError(LabError):
    """The wanted state wasn't reached in time. What was seen last decides: see the two kinds."""


class StateNotReachedError(WaitTimeoutError, AssertionError):
    """Another state than the wanted one was seen last: a verdict about the lab, not about the test."""

    exit_status = EXIT_FAIL


class SilenceError(WaitTimeoutError):
    """Nothing was seen last, as no answer came: whether the wanted state was reached isn't known."""


def persist(subject: str, call: Callable[[], Observed], *, wanted: str = "an answer", within: float, clock: Clock = HOST_CLOCK) -> Observed:
    """Make a call again and again while its end is ``UnreachableError``, for as long as ``within`` seconds; return its result.

    Raises:
        SilenceError: no answer came in time.
    """
    return wait_for(subject, wanted, call, lambda _: True, within=within, clock=clock)


def wait_for(
    subject: str,
    wanted: str,
    observe: Callable[[], Observed],
    accept: Callable[[Observed], bool],
    *,
    within: float,
    every: float = 1.0,
    describe: Callable[[Observed], str] = str,
    clock: Clock = HOST_CLOCK,
) -> Observed:
    """Look at ``subject`` until ``accept`` says yes and return what was seen then.

    ``within`` and ``every`` are seconds. A look that ends in ``UnreachableError`` counts as a state of its own and is
    repeated; any other error ends the wait. At least one look is taken, and one more after the last pause.

    Raises:
        StateNotReachedError: something else was seen until the end.
        SilenceError: the last look got no answer.
    """
    began = clock.now()
    while True:
        failed: type[WaitTimeoutError] = StateNotReachedError
        try:
            observed = observe()
        except UnreachableError as error:
            failed, last = SilenceError, f"no answer ({error})"
        else:
            if accept(observed):
                return observed
            last = describe(observed)
        elapsed = clock.now().since(began)
        if elapsed >= within:
            raise failed(f"{subject}: wanted {wanted}, last seen {last}, gave up after {elapsed:.0f} s")
        clock.rest(min(every, within - elapsed))
