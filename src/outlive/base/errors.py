"""The errors that a user sees, one sentence that names what is wrong and the cure, and the exit statuses of all commands."""

from __future__ import annotations

EXIT_PASS = 0
"""All that was asked for was done, or found to be so."""
EXIT_FAIL = 1
"""A check failed, an exercise isn't solved, something of the host would break the lab."""
EXIT_UNKNOWN = 2
"""It isn't known, or the command couldn't be run: wrong use, a lab that isn't there, a step that failed."""
EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C or SIGTERM, as shells report it: whatever was broken on purpose is healed."""


class LabError(Exception):
    """Something that a user can put right; its text is one sentence that says what and how."""

    exit_status = EXIT_UNKNOWN


class FailedError(LabError):
    """Checks ran to their end, and the verdict is fail."""

    exit_status = EXIT_FAIL


class StepFailedError(LabError):
    """A program that was run as a step ended with another status than 0."""

    def __init__(self, sentence: str, status: int) -> None:
        """Take the sentence and the program's status."""
        super().__init__(sentence)
        self.status = status


class UnreachableError(LabError):
    """Something that gave no answer just now; the next attempt may get one."""


class NotFoundError(LabError):
    """An object that the cluster does not have."""


class ConflictError(LabError):
    """What was to be changed isn't any more what it was when it was read."""


class RefusedError(LabError, AssertionError):
    """MySQL answered, and the answer is no: a verdict about the data, not a failed attempt to ask."""

    exit_status = EXIT_FAIL
