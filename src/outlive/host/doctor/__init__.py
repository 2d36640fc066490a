"""What can be wrong with a host, a topic a module.

A finding is a pure function of what was read: text that a program printed, a file's content, numbers. What reads stands at each module's
end, is bounded in time, and gives None where there is nothing to read. `src/outlive/host/doctor/checklist.py` says in which order all of it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "WRONG"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `sentence` says what is wrong and how to cure it, or what was found."""

    verdict: Verdict
    """WRONG would break the lab, so that nothing is made; a note is worth knowing, and stops nothing."""
    sentence: str

    @property
    def ok(self) -> bool:
        """Whether there is nothing to cure."""
        return self.verdict == "ok"


def fine(sentence: str) -> Finding:
    """Return a finding with nothing to cure."""
    return Finding("ok", sentence)


def note(sentence: str) -> Finding:
    """Return a finding that is worth knowing and stops nothing."""
    return Finding("note", sentence)


def wrong(sentence: str) -> Finding:
    """Return a finding that would break the lab."""
    return Finding("WRONG", sentence)


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers, for comparing: (6, 12, 3) for 6.12.3-arch1."""
    found: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            found.append(int(digits))
        if digits != part or not part:
            break
    return tuple(found)
