"""Measured moments from a fault on, and the sums made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from outlive.base.clock import Instant


@dataclass(frozen=True)
class Moment:
    """Something that was observed: ``key`` is its stable name, ``title`` and ``detail`` are for people."""

    key: str
    title: str
    at: Instant
    detail: str = ""


@dataclass(frozen=True)
class Phase:
    """The time between two neighbouring moments, in seconds from the origin."""

    ends_with: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return self.end - self.start


@dataclass(frozen=True)
class Span:
    """A stretch in which MySQL answered, or didn't, in seconds from the origin."""

    start: float
    end: float
    answered: bool


@dataclass(frozen=True)
class Gap:
    """A stretch in which nobody watched nodes and pods, in seconds from the origin: what is told right after it may be late."""

    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """Moments in the order in which they happened; ``origin`` is the moment that all seconds count from."""

    title: str
    origin: Instant
    moments: tuple[Moment, ...] = ()
    spans: tuple[Span, ...] = ()
    asked: str = "MySQL, asked once a second through its Service"
    """Whose answers the spans are."""
    gaps: tuple[Gap, ...] = ()
    """Where the record of nodes and pods has holes."""

    def seconds(self, key: str) -> float | None:
        """Return the seconds from the origin to a moment, or None where it wasn't observed."""
        return next((moment.at.since(self.origin) for moment in self.moments if moment.key == key), None)

    def unwatched(self, until: float) -> str | None:
        """Return where nobody watched nodes and pods from the origin to a second, as a sentence; None where they were watched all the time."""
        found = [f"{gap.start:.1f} to {gap.end:.1f} s" for gap in self.gaps if gap.end > 0 and gap.start < until]
        return f"Nodes and pods weren't watched from {', '.join(found)}: moments right after may be late." if found else None

    def phases(self) -> tuple[Phase, ...]:
        """Return the stretches between neighbouring moments; together they are the whole time."""
        marks = [(moment.key, moment.at.since(self.origin)) for moment in self.moments]
        return tuple(Phase(key, start, end) for (_, start), (key, end) in pairwise(marks))

    @property
    def total(self) -> float:
        """Return the seconds from the origin to the last moment."""
        return max((moment.at.since(self.origin) for moment in self.moments), default=0.0)


def ordered(moments: Iterable[Moment | None]) -> tuple[Moment, ...]:
    """Return the moments that were observed, in the order of time; equal times keep the given order."""
    return tuple(sorted((moment for moment in moments if moment is not None), key=lambda moment: moment.at))
