"""What a long command shows: a line for each thing that happened, and on a terminal a last line in which a clock runs.

In a log there are no control characters: a line at the start, one for each thing, and one a minute that says how far it is.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Protocol, Self

EVERY_ON_A_TERMINAL = 1.0
EVERY_IN_A_LOG = 60.0
"""Seconds between two lines of the clock."""
CLEAR = "\r\x1b[K"


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """Write a text."""

    def flush(self) -> object:
        """Write out what is kept back."""


def duration(seconds: float) -> str:
    """Return a duration as people say it."""
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s" if seconds >= 60 else f"{seconds:.0f} s"


class Screen:
    """A long command's lines, while it is entered."""

    def __init__(self, what: str, stream: Stream | None = None, *, terminal: bool | None = None) -> None:
        """Take what is done, as the user reads it.

        Args:
            what: Stands in the clock's line.
            stream: Where lines go; standard output when None.
            terminal: Whether that is a terminal; found out for standard output when None.
        """
        self._what = what
        self._stream: Stream = stream or sys.stdout
        self._terminal = sys.stdout.isatty() if terminal is None else terminal
        self._note = ""
        self._began = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._clock = threading.Thread(target=self._run, daemon=True, name="clock")

    def __enter__(self) -> Self:
        """Say what begins, and start the clock."""
        self._began = time.monotonic()
        if not self._terminal:
            self.line(f"{self._what} ...")
        self._clock.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop the clock and take its line away."""
        self._over.set()
        self._clock.join()
        self._write("")

    def note(self, text: str) -> None:
        """Say in the clock's line what is going on."""
        self._note = text

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self._write(f"{text}\n")

    def _run(self) -> None:
        while not self._over.wait(EVERY_ON_A_TERMINAL if self._terminal else EVERY_IN_A_LOG):
            text = f"{self._what} {duration(time.monotonic() - self._began)}  {self._note}".rstrip()
            self._write(text[: _columns() - 1] if self._terminal else f"{text}\n")

    def _write(self, text: str) -> None:
        with self._lock:
            self._stream.write(f"{CLEAR}{text}" if self._terminal else text)
            self._stream.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns
    except (OSError, ValueError):
        return 80
