"""The watcher's log: a JSON line for each step, stamped with the host's clock."""

from __future__ import annotations

import json
import threading
from typing import TextIO

from outlive.base.clock import HOST_CLOCK, Clock


class Log:
    """Writes lines; several threads may."""

    def __init__(self, stream: TextIO, clock: Clock = HOST_CLOCK) -> None:
        """Take the stream that lines are written to."""
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str, str], str] = {}

    def write(self, step: str, node: str = "", text: str = "") -> None:
        """Write one step; ``node`` is empty where it concerns no single one."""
        now = self._clock.now()
        line = {"wall": now.wall.isoformat(), "monotonic": round(now.monotonic, 3), "step": step, "node": node, "text": text}
        with self._lock:
            self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._stream.flush()

    def once(self, step: str, node: str, text: str, topic: str = "") -> None:
        """Write a step unless it was the last one on this node and topic; an empty text only forgets that one."""
        with self._lock:
            known = self._said.get((step, node, topic), "")
            self._said[step, node, topic] = text
        if text and text != known:
            self.write(step, node, text)
