"""The one clock of all measurements: the host's monotonic clock, with the wall clock for display."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, order=True)
class Instant:
    """A point in time: ``monotonic`` in seconds is what sums are made of, ``wall`` (UTC) is only shown."""

    monotonic: float
    wall: datetime = field(compare=False)

    def since(self, origin: Instant) -> float:
        """Return the seconds that passed from ``origin`` to here; negative where this came first."""
        return self.monotonic - origin.monotonic


class Clock:
    """The host's clock."""

    def now(self) -> Instant:
        """Return this moment."""
        return Instant(time.monotonic(), datetime.now(UTC))

    def rest(self, seconds: float) -> None:
        """Let ``seconds`` pass between two looks at a state; only the wait helper calls this."""
        time.sleep(seconds)


HOST_CLOCK = Clock()
