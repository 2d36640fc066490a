"""Who holds the lock on InnoDB's data file, asked of the NFS server again and again: two holders at once would be a split brain."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

from outlive.base.clock import HOST_CLOCK, Clock, Instant
from outlive.lab import nfs

EVERY = 2
"""Seconds between two samples."""
AGAIN = 3.0
"""Seconds until a server that gave no answer is asked anew."""
END = "=== end"
HOLDING = ("lock", "deleg")
"""What lets a client lock a file: the lock itself, or a delegation, under which Linux's client grants locks without asking."""
TWICE = "=== again"
LOOP = f"while :; do {nfs.READ_CLIENTS}; echo '{TWICE}'; {nfs.READ_CLIENTS}; echo '{END}'; sleep {EVERY}; done"
"""One login for all samples: a login costs an emulated server more than the look. It ends with its reader.

Clients are read one after the other, so a lock that is handed over meanwhile is seen with both: only who is seen in both of two looks held it
at the moment between them.
"""


@dataclass(frozen=True)
class Sample:
    """The addresses of the clients that held the lock at a moment."""

    at: Instant
    holders: tuple[str, ...]


class Sampler:
    """Asks the server while it is entered; a server that gives no answer leaves a gap."""

    def __init__(self, command: Sequence[str], file: str, clock: Clock = HOST_CLOCK) -> None:
        """Take the command that tells the samples (see ``command``), and the file as ``folder/name``; ``with`` starts it."""
        self._command = list(command)
        self._file = file
        self._clock = clock
        self._stop = threading.Event()
        self._samples: list[Sample] = []
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="locks")

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop."""
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(timeout=60)

    def samples(self) -> tuple[Sample, ...]:
        """Return the samples so far."""
        return tuple(self._samples)

    def _run(self) -> None:
        while not self._stop.is_set():
            with subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process:
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
            holders = set.intersection(*(self._holders(look) for look in looks))
            self._samples.append(Sample(self._clock.now(), tuple(sorted(holders))))
            listing = []

    def _holders(self, listing: str) -> set[str]:
        return {client.address for client in nfs.parse_clients(listing) if any(_locks(held, self._file) for held in client.held)}


def command(login: Sequence[str]) -> list[str]:
    """Return the command that tells samples without end, from the one that logs in to the server."""
    return [*login, f"sudo sh -c {shlex.quote(LOOP)}"]


def doubles(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples with more than one holder."""
    return tuple(sample for sample in samples if len(sample.holders) > 1)


def watched(samples: Sequence[Sample], fault: Instant, steady: Instant) -> bool:
    """Say whether somebody was seen to hold the lock before the fault, and again in a steady lab: else that nobody shared it proves nothing."""
    held = [sample.at for sample in samples if sample.holders]
    return any(at < fault for at in held) and any(at >= steady for at in held)


def longest_gap(samples: Sequence[Sample]) -> float:
    """Return the longest time between two samples, in seconds; 0 where there aren't two."""
    return max((after.at.since(before.at) for before, after in pairwise(samples)), default=0.0)


def _locks(held: nfs.Held, file: str) -> bool:
    return held.kind in HOLDING and bool(held.file) and file.endswith(held.file.lstrip("/"))
