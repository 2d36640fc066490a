"""Records what the API tells about nodes and pods, each sighting stamped with the host's clock on arrival."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from outlive.base.clock import HOST_CLOCK, Clock, Instant
from outlive.base.errors import LabError, UnreachableError
from outlive.drill.timeline import Gap
from outlive.lab import objects
from outlive.lab.kube import ENDS_WITHIN, STALLED_AFTER, Cluster, Event, Line, StalledError
from outlive.lab.objects import Node, Pod

RETRY_AFTER = 1.0
"""Seconds between a broken watch and the next one."""


@dataclass(frozen=True)
class Sighting:
    """A node or pod as the API told it at a moment; ``kind`` is LISTED, ADDED, MODIFIED or DELETED."""

    at: Instant
    kind: str
    seen: Node | Pod


class Recorder:
    """Follows all nodes and the pods of one namespace while it is entered."""

    def __init__(self, cluster: Cluster, namespace: str, clock: Clock = HOST_CLOCK) -> None:
        """Prepare; ``with`` starts it."""
        self._clock = clock
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sightings: list[Sighting] = []
        self._listed = (threading.Event(), threading.Event())
        self._gaps: list[tuple[Instant, Instant | None]] = []
        self.failure: LabError | None = None
        """What ended a watch for good, if anything did."""
        self._lines = (Line(), Line())
        self._threads = (
            self._thread(lambda: cluster.watch_nodes(self._lines[0]), objects.node, self._listed[0]),
            self._thread(lambda: cluster.watch_pods(self._lines[1], namespace), objects.pod, self._listed[1]),
        )

    def __enter__(self) -> Self:
        """Start and wait until nodes and pods were listed once, so that nothing later is missed."""
        for thread in self._threads:
            thread.start()
        try:
            for listed in self._listed:
                listed.wait(timeout=120)
            self.check()
            if not all(listed.is_set() for listed in self._listed):
                raise UnreachableError("the API server listed no nodes and pods within 120 s")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop, and end the watches."""
        self._end()

    def _end(self) -> None:
        # A thread that still reads while Python ends makes it abort.
        self._stop.set()
        for line in self._lines:
            line.hang_up()
        for thread in self._threads:
            thread.join(timeout=ENDS_WITHIN)

    def check(self) -> None:
        """Raise what ended a watch for good."""
        if self.failure is not None:
            raise self.failure

    def sightings(self) -> tuple[Sighting, ...]:
        """Return all sightings so far, in the order of their arrival."""
        self.check()
        with self._lock:
            return tuple(self._sightings)

    def gaps(self, origin: Instant) -> tuple[Gap, ...]:
        """Return the stretches without a watch so far, in seconds from a moment: from a watch's break to the next listing.

        One that still lasts ends now. Of two watches each has its own.
        """
        with self._lock:
            now = self._clock.now()
            return tuple(Gap(start.since(origin), (end or now).since(origin)) for start, end in self._gaps)

    def _thread(
        self,
        watch: Callable[[], Iterator[Event]],
        read: Callable[[objects.Json], Node | Pod],
        listed: threading.Event,
    ) -> threading.Thread:
        def follow() -> None:
            broken: int | None = None
            while not self._stop.is_set():
                try:
                    for event in watch():
                        if self._stop.is_set():
                            return
                        with self._lock:
                            now = self._clock.now()
                            if broken is not None:
                                self._gaps[broken] = (self._gaps[broken][0], now)
                                broken = None
                            self._sightings.append(Sighting(now, event.kind, read(event.data)))
                        listed.set()
                except UnreachableError as error:
                    if self._stop.is_set():
                        return
                    with self._lock:
                        if broken is None:
                            broken = len(self._gaps)
                            now, deaf = self._clock.now(), STALLED_AFTER if isinstance(error, StalledError) else 0.0
                            self._gaps.append((Instant(now.monotonic - deaf, now.wall - timedelta(seconds=deaf)), None))
                    self._stop.wait(RETRY_AFTER)
                except Exception as error:  # ended without a word, it would look like a cluster in which nothing happens
                    told = LabError(f"The record of the cluster's changes ended ({error!r}): it is incomplete, so run the check again.")
                    self.failure = error if isinstance(error, LabError) else told
                    listed.set()
                    return

        return threading.Thread(target=follow, daemon=True)
