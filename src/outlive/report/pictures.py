"""The picture of a timeline: time runs down an axis to scale, labels keep their distance from each other.

Only positions are computed here (pure functions); the template draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from outlive.drill.timeline import Timeline

LINE = 34.0
"""Height that a label of two lines needs, in the picture's units (one is a CSS pixel on a phone)."""
MARGIN = 22.0
AXIS = 300.0
"""Least length of the axis."""
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
TICKS = 8
"""At most this many stretches between the numbers on the axis."""


@dataclass(frozen=True)
class Label:
    """A moment: ``y`` is its place on the axis, ``text_y`` the middle of its label."""

    title: str
    seconds: float
    note: str
    y: float
    text_y: float


@dataclass(frozen=True)
class Bar:
    """A stretch of the axis: ``kind`` is a colour's name."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True)
class Tick:
    """A number on the axis, in seconds."""

    seconds: int
    y: float


@dataclass(frozen=True)
class Picture:
    """Everything that the template draws."""

    height: float
    top: float
    bottom: float
    labels: tuple[Label, ...]
    phases: tuple[Bar, ...]
    spans: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def draw(timeline: Timeline) -> Picture:
    """Return the picture of a timeline with at least one moment."""
    total = max(timeline.total, 1.0)
    length = max(AXIS, LINE * (len(timeline.moments) + 2))
    scale = length / total

    def place(seconds: float) -> float:
        return MARGIN + min(max(seconds, 0.0), total) * scale

    at = [moment.at.since(timeline.origin) for moment in timeline.moments]
    wanted = [place(seconds) for seconds in at]
    rows = spread(wanted, LINE, MARGIN, MARGIN + length)
    labels = tuple(
        Label(moment.title, seconds, moment.detail, y, row)
        for moment, seconds, y, row in zip(timeline.moments, at, wanted, rows, strict=True)
    )
    phases = tuple(
        Bar(f"phase{index % 2}", place(phase.start), place(phase.end) - place(phase.start)) for index, phase in enumerate(timeline.phases())
    )
    spans = tuple(
        Bar("answered" if span.answered else "silent", place(span.start), place(span.end) - place(span.start))
        for span in timeline.spans
        if span.start <= total
    )
    lowest = max([MARGIN + length, *rows]) + MARGIN
    return Picture(lowest, MARGIN, MARGIN + length, labels, phases, spans, _ticks(total, place(0.0), scale))


def spread(wanted: Sequence[float], distance: float, low: float, high: float) -> tuple[float, ...]:
    """Move ascending positions as little as needed so that neighbours keep ``distance``, within ``low`` and ``high``.

    Where there isn't room for all, they go on below ``high``.
    """
    # Groups that touch are centred on the mean of what their members want; a group that then touches its neighbour joins it.
    groups: list[list[float]] = []  # of [first position, number of members, sum of (wanted - offset in the group)]
    for position in wanted:
        groups.append([position, 1, position])
        while True:
            last = groups[-1]
            count, total = last[1], last[2]
            first = total / count
            first = max(low, min(first, max(low, high - (count - 1) * distance)))
            last[0] = first
            if len(groups) == 1 or groups[-2][0] + groups[-2][1] * distance <= first:
                break
            before = groups[-2]
            total = before[2] + last[2] - last[1] * before[1] * distance
            groups[-2:] = [[before[0], before[1] + last[1], total]]
    return tuple(first + index * distance for first, count, _ in groups for index in range(int(count)))


def _ticks(total: float, zero: float, scale: float) -> tuple[Tick, ...]:
    step = next((step for step in STEPS if total / step <= TICKS), STEPS[-1])
    return tuple(Tick(seconds, zero + seconds * scale) for seconds in range(0, int(total) + 1, step))
