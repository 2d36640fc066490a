"""Who may write to MySQL's data, asked of its server again and again: two holders at once would be a split brain.

Samples alone prove nothing about the time between them. So a second thread asks each second whether the server answers at all: a stretch without
a sample is borne out by a server that gave no answer, or it is a hole, and then nothing is known.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from outlive.base.clock import HOST_CLOCK, Clock, Instant
from outlive.base.errors import LabError, UnreachableError
from outlive.base.process import start
from outlive.lab.mysql_storage import MysqlStorage

EVERY = 2.0
"""Seconds from the end of a sample to the next one."""
OFTEN = 0.5
"""The same where a second mysqld stands by, and starts within the second in which the lock is free."""
AGAIN = 3.0
"""Seconds until a server that gave no answer is asked anew."""
KNOCK_EVERY = 1.0
"""Seconds between two looks whether the server answers at all."""
HOLE = 30.0
"""Seconds without a sample and without a sign that the server is down, from which on nothing is known. An emulated server that has just booted
lets nobody log in for up to 20 s after its ports are open."""
END = "=== end"
TWICE = "=== again"
LOOP = f"while :; do %s; echo '{TWICE}'; %s; echo '{END}'; sleep %g; done"
"""One login for all samples: a login costs an emulated server more than the look. It ends with its reader.

Clients are read one after the other, so a lock that is handed over meanwhile is seen with both: only who is seen in both of two looks held it
at the moment between them.
"""


@dataclass(frozen=True)
class Sample:
    """The addresses of the nodes that could write at a moment."""

    at: Instant
    holders: tuple[str, ...]


def answers(address: str, port: int, within: float = 2.0) -> bool:
    """Say whether a server takes a connection within some seconds."""
    try:
        socket.create_connection((address, port), timeout=within).close()
    except OSError:
        return False
    return True


class Sampler:
    """Asks the server while it is entered, and writes down when it gave no answer at all."""

    def __init__(
        self, command: Sequence[str], holders: Callable[[str], set[str]], answers: Callable[[], bool], clock: Clock = HOST_CLOCK
    ) -> None:
        """Take what tells the samples (see ``command``), what reads one, and what says whether the server answers; ``with`` starts it."""
        self._answers = answers
        self._silences: list[Instant] = []
        self._command = list(command)
        self._holders = holders
        self._clock = clock
        self._stop = threading.Event()
        self._samples: list[Sample] = []
        self._process: subprocess.Popen[str] | None = None
        self._threads = [threading.Thread(target=run, daemon=True, name="locks") for run in (self._run, self._knock)]

    def __enter__(self) -> Self:
        """Start."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop."""
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        for thread in self._threads:
            thread.join(timeout=60)

    def samples(self) -> tuple[Sample, ...]:
        """Return the samples so far."""
        return tuple(self._samples)

    def silences(self) -> tuple[Instant, ...]:
        """Return the moments so far at which the server gave no answer."""
        return tuple(self._silences)

    def _knock(self) -> None:
        while not self._stop.wait(KNOCK_EVERY):
            if not self._answers():
                self._silences.append(self._clock.now())

    def _run(self) -> None:
        while not self._stop.is_set():
            pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            # Without the program there are no samples: nothing is known then.
            with suppress(LabError), start(self._command, text=True, **pipes) as process:
                self._process = process
                if self._stop.is_set():
                    process.terminate()
                with suppress(ValueError):  # the pipe was closed while it was read
                    self._read(process)
                process.terminate()
            self._stop.wait(AGAIN)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        listing: list[str] = []
        for line in process.stdout:
            if line.strip() != END:
                listing.append(line)
                continue
            looks = "".join(listing).split(f"{TWICE}\n")
            listing = []
            with suppress(UnreachableError):  # no answer isn't 'nobody holds it': the hole shows
                holders = set.intersection(*(self._holders(look) for look in looks))
                self._samples.append(Sample(self._clock.now(), tuple(sorted(holders))))


def command(login: Sequence[str], storage: MysqlStorage, every: float = EVERY) -> list[str]:
    """Return the command that tells samples without end, from the one that logs in to the server, with so many seconds between two of them."""
    return [*login, f"sudo sh -c {shlex.quote(LOOP % (storage.look, storage.look, every))}"]


def doubles(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples with more than one holder."""
    return tuple(sample for sample in samples if len(sample.holders) > 1)


@dataclass(frozen=True)
class Watch:
    """What was sampled from before a fault until the lab was steady again."""

    samples: int
    widest: float
    """Seconds: the longest stretch without a sample, the server's own silence taken out."""
    hole: bool
    """That stretch is too long to say anything about it."""
    held_before: bool
    """Somebody was seen to hold the lock before the fault."""
    held_after: bool
    """Somebody was seen to hold it in the steady lab."""

    @property
    def missing(self) -> str | None:
        """Return why two holders at once can't be ruled out, None where they can."""
        if not self.held_before or not self.held_after:
            return "nobody was seen to hold it both before the fault and after the healing"
        if self.hole:
            return f"it wasn't looked at for {self.widest:.0f} s while the server answered, and {HOLE:.0f} s are the most that count"
        return None

    def __str__(self) -> str:
        """Return what was sampled, as a sentence's part."""
        return f"{self.samples} samples, at most {self.widest:.0f} s apart while the server answered"


def watch(samples: Sequence[Sample], silences: Sequence[Instant], fault: Instant, steady: Instant) -> Watch:
    """Say what samples of the lock are worth, from the last one before the fault to the first in a steady lab.

    Args:
        samples: Who held it, and when.
        silences: When the server gave no answer at all.
        fault: When it was injected.
        steady: When the lab was steady again.
    """
    held = [sample.at for sample in samples if sample.holders]
    before, after = [at for at in held if at < fault], [at for at in held if at >= steady]
    first, last = max(before, default=fault), min(after, default=steady)
    seen = [at for at in sorted([*(sample.at for sample in samples), *silences]) if first < at < last]
    widest = max(later.since(earlier) for earlier, later in pairwise([first, *seen, last]))
    inside = sum(first <= sample.at <= last for sample in samples)
    return Watch(inside, widest, widest > HOLE, bool(before), bool(after))
