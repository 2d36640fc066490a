"""What a long command shows: a line for each thing that happened, and on a terminal a last line in which a clock runs.

In a log there are no control characters: a line at the start, one for each thing, and one a minute that says how far it is. What is looked at
again and again (``Board``) is redrawn in its place on a terminal; in a log each line of it is written when it is a new one.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.live import Live

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


class Board:
    """What is looked at again and again, while it is entered."""

    def __init__(self, stream: IO[str] | None = None, *, terminal: bool | None = None) -> None:
        """Show nothing yet.

        Args:
            stream: Where lines go; standard output when None.
            terminal: Whether that is a terminal whose lines can be redrawn; found out when None.
        """
        self._stream = stream or sys.stdout
        redrawn = self._stream.isatty() and os.environ.get("TERM") != "dumb" if terminal is None else terminal
        self._live = _live(self._stream) if redrawn else None
        self._shown: Sequence[str] = ()

    def __enter__(self) -> Self:
        """Begin below what was written before."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Leave what was shown last where it is."""
        if self._live:
            self._live.stop()

    def show(self, lines: Sequence[str]) -> None:
        """Show lines in the place of those before; in a log, those of them that weren't there before."""
        if self._live:
            from rich.text import Text

            self._live.update(Text("\n".join(lines)), refresh=True)
        else:
            for line in lines:
                if line not in self._shown:
                    print(line, file=self._stream, flush=True)
        self._shown = tuple(lines)


def _live(stream: IO[str]) -> Live:
    # Not above: no other command has to wait for it.
    from rich.console import Console
    from rich.live import Live

    return Live(console=Console(file=stream, force_terminal=True), auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns
    except (OSError, ValueError):
        return 80
