"""The fencing watcher as a drill sees it: a program of its own (``outlive fence watch``), whose log becomes moments of the timeline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from outlive.base.clock import HOST_CLOCK, Clock, Instant
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.process import start
from outlive.base.wait import wait_for
from outlive.drill.faults import shielded
from outlive.drill.timeline import Moment

TITLES = {
    "suspected": "watcher suspects the node",
    "cut": "watcher cuts the node's power",
    "off": "VM proven off",
    "revoked": "node's storage access revoked",
    "expired": "node's locks and sessions ended",
    "tainted": "node tainted out of service",
    "deleted": "node's pods deleted by force",
    "opened": "node's storage access given back",
    "untainted": "node's taint taken back",
}
"""The steps of the watcher that belong to a timeline."""


WATCHES_WITHIN = 120.0
"""Seconds until it has seen each kubelet renew its lease, which they do every 10 s."""
GIVEN_BACK_WITHIN = 300.0
"""Seconds from a node's return, which drills wait for, until the watcher has taken its taint back."""


class WatcherProcess:
    """Runs the watcher while it is entered."""

    def __init__(self, log: Path, workers: Collection[str], clock: Clock = HOST_CLOCK) -> None:
        """Take the file for its log and the nodes that it has to know before anything is broken; ``with`` starts it."""
        self._log = log
        self._workers = set(workers)
        self._clock = clock
        self._process: subprocess.Popen[str] | None = None
        self._words = ""

    def __enter__(self) -> Self:
        """Start it and wait until it watches each node: one that it never heard, it may take for one that boots.

        Raises:
            LabError: it ended; the sentence is its own.
        """
        self._process = start(
            [sys.executable, "-m", "outlive", "fence", "watch", "--log", str(self._log)],
            cwd=ROOT,
            env={**os.environ, "OUTLIVE_SHELL": str(ROOT)},  # where this process reaches the lab, it does too
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is the drill's: the watcher is needed until the node is back
        )
        try:
            wait_for(
                "fencing watcher",
                f"watching {', '.join(sorted(self._workers))}",
                self._heard,
                lambda heard: self._workers <= set(heard),
                within=WATCHES_WITHIN,
                describe=lambda heard: f"heard {', '.join(sorted(heard)) or 'none'}",
                clock=self._clock,
            )
        except BaseException:
            shielded(self._end)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End it when it has given back what it fenced, or couldn't in time: then that stays fenced."""
        shielded(self._give_back_and_end)

    def _give_back_and_end(self) -> None:
        with suppress(LabError):  # steady.check refuses a lab with such a node, and names the cure
            wait_for("fencing watcher", "nothing fenced", self._given_back, bool, within=GIVEN_BACK_WITHIN, clock=self._clock)
        self._end()

    def moments(self, node: str, since: Instant) -> list[Moment]:
        """Return what it did about a node since a moment, each kind of step once: the first of it."""
        first: dict[str, Moment] = {}
        for line in self._lines():
            step = str(line["step"])
            at = Instant(float(str(line["monotonic"])), datetime.fromisoformat(str(line["wall"])))
            if line["node"] == node and step in TITLES and step not in first and at >= since:
                first[step] = Moment(f"fence_{step}", TITLES[step], at, str(line["text"]))
        return list(first.values())

    def check(self) -> None:
        """Hold that it runs: what is seen without it is another profile's.

        Raises:
            LabError: it ended; the sentence is its own.
        """
        if self._process is None or self._process.poll() is None:
            return
        if self._process.stderr and not self._words:
            self._words = self._process.stderr.read().strip().removeprefix("error: ")
        raise LabError(self._words or "The fencing watcher ended without a word.")

    def fenced(self) -> set[str]:
        """Return the nodes that it has tainted and not untainted so far."""
        nodes: set[str] = set()
        for line in self._lines():
            if line["step"] == "tainted":
                nodes.add(str(line["node"]))
            elif line["step"] == "untainted":
                nodes.discard(str(line["node"]))
        return nodes

    def _given_back(self) -> bool:
        if not self.fenced():
            return True
        self.check()
        return False

    def _heard(self) -> set[str]:
        self.check()
        return {str(line["node"]) for line in self._lines() if line["step"] == "heard"}

    def _lines(self) -> list[dict[str, object]]:
        if not self._log.exists():
            return []
        # A line under way has no end yet.
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").split("\n")[:-1]]

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
