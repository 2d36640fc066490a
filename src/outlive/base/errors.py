"""The errors that a user sees: one sentence that names what is wrong and the cure."""

from __future__ import annotations

INTERRUPTED = 130
"""Exit status of a command that was ended by Ctrl-C or SIGTERM, as shells report it: whatever it broke is healed."""


class LabError(Exception):
    """Something that a user can put right; its text is one sentence that says what and how."""


class UnreachableError(LabError):
    """Something that gave no answer just now; the next attempt may get one."""


class NotFoundError(LabError):
    """An object that the cluster does not have."""


class RefusedError(LabError, AssertionError):
    """MySQL answered, and the answer is no: a verdict about the data, not a failed attempt to ask."""
