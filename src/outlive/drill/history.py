"""The history of a drill: what each client asked of MySQL, when, and what became of it.

The checker's proof is only as good as this record, so an operation is on the disk before it is sent: an interrupted run keeps its
ledger, and an operation that began and never ended counts as unknown, since it may have been committed.

A line of JSON when an operation begins, and one when it ends:

    {"begin": 9, "client": 2, "kind": "transfer", "value": 20000004, "transfer": [3, 7, 5], "at": 1.25}
    {"end": 9, "outcome": "ok", "detail": "", "seen": [[3, 990, 10000007], [7, 1010, 20000003]], "at": 1.375}

This one moved 5 from account 3 to account 7. It found 990 in account 3, as the transfer 10000007 had left it, and 1010 in account 7.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from outlive.base.clock import HOST_CLOCK, Clock, Instant
from outlive.base.errors import LabError

FORMAT = 2
"""Of the journal. The first one had neither what a transfer moved nor what an operation saw, so it proves too little to be read."""

Kind = Literal["insert", "transfer", "total"]


class Transfer(NamedTuple):
    """What a transfer moves: ``amount`` from the account ``source`` to the account ``target``."""

    source: int
    target: int
    amount: int

    def change(self, account: int) -> int:
        """Return what it adds to an account."""
        return self.amount * ((account == self.target) - (account == self.source))


class Account(NamedTuple):
    """An account as somebody saw it: its number, its balance, and the id of the last transfer that wrote it (0: none did)."""

    number: int
    balance: int
    last: int


class Outcome(StrEnum):
    """What became of an operation: acknowledged, certainly without effect, or neither is known."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """One operation of one client.

    ``value`` is the number inserted, the id of the transfer, or the number of the total, a read of all accounts; ``detail`` is the
    error's text. ``seen`` are the accounts that it read: a total all of them, a transfer the two that it then wrote. An operation
    that never ended is unknown and has ``ended`` equal to ``begun``.
    """

    client: int
    kind: Kind
    value: int
    begun: Instant
    ended: Instant
    outcome: Outcome
    detail: str = ""
    transfer: Transfer | None = None
    seen: tuple[Account, ...] = ()


class History:
    """A journal that is only appended to, by any number of threads: a line when an operation begins, another when it ends.

    Times in it are seconds of the monotonic clock since ``origin``, which its first line tells.
    """

    def __init__(self, path: Path, clock: Clock = HOST_CLOCK) -> None:
        """Begin the journal ``path``; an error if there is one, for it may be an interrupted run's only record."""
        try:
            self._file = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise LabError(f"The history {path} exists and isn't written over: move it away or name another file.") from None
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[int, Operation] = {}
        self._begun = 0
        self.origin = clock.now()
        self._append({"format": FORMAT, "origin": self.origin.wall.isoformat(), "monotonic": self.origin.monotonic})

    def __enter__(self) -> Self:
        """Return the journal; leaving it closes the file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the file."""
        self._file.close()

    def begin(self, client: int, kind: Kind, value: int, transfer: Transfer | None = None) -> int:
        """Write down that an operation is about to be sent, and return its number in this history."""
        with self._lock:
            self._begun += 1
            number = self._begun
        moved = {"transfer": transfer} if transfer else {}
        self._append({"begin": number, "client": client, "kind": kind, "value": value, **moved, "at": self._seconds()})
        return number

    def end(self, number: int, outcome: Outcome, detail: str = "", seen: Iterable[Account] = ()) -> None:
        """Write down what became of the operation that ``begin`` gave this number, and which accounts it saw."""
        self._append({"end": number, "outcome": outcome, "detail": detail, "seen": tuple(seen), "at": self._seconds()})

    def operations(self) -> tuple[Operation, ...]:
        """Return all operations in the order in which they began; those under way count as unknown."""
        with self._lock:
            return _in_order(self._found)

    def _seconds(self) -> float:
        return self._clock.now().since(self.origin)

    def _append(self, line: dict[str, Any]) -> None:
        with self._lock:
            if "at" in line:
                _note(self._found, self.origin, line)
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        os.fsync(self._file.fileno())  # outside the lock: a slow disk may sync for several clients at once


def read(path: Path) -> tuple[Instant, tuple[Operation, ...]]:
    """Return the origin and the operations of a journal; the line that an interruption tore is left out.

    Raises:
        LabError: The file is no journal of a drill, or one of another format.
    """
    try:
        # What follows the last end of line is a torn line, or nothing.
        first, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        origin = Instant(first["monotonic"], datetime.fromisoformat(first["origin"]))
        if (found := first.get("format", 1)) != FORMAT:
            raise LabError(f"The history {path} has the format {found}, and {FORMAT} is read: use the version of outlive that wrote it.")
        return origin, _operations(origin, lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"The file {path} can't be read as a drill's history ({error!r}): name the one that a drill wrote.") from error


def _operations(origin: Instant, lines: Iterable[dict[str, Any]]) -> tuple[Operation, ...]:
    found: dict[int, Operation] = {}
    for line in lines:
        _note(found, origin, line)
    return _in_order(found)


def _note(found: dict[int, Operation], origin: Instant, line: dict[str, Any]) -> None:
    """Put what a line tells into the operations by their numbers."""
    at = Instant(origin.monotonic + line["at"], origin.wall + timedelta(seconds=line["at"]))
    if "begin" in line:
        transfer = Transfer(*line["transfer"]) if "transfer" in line else None
        found[line["begin"]] = Operation(line["client"], line["kind"], line["value"], at, at, Outcome.UNKNOWN, transfer=transfer)
    else:
        seen = tuple(Account(*each) for each in line["seen"])
        end = {"ended": at, "outcome": Outcome(line["outcome"]), "detail": line["detail"], "seen": seen}
        found[line["end"]] = replace(found[line["end"]], **end)


def _in_order(found: dict[int, Operation]) -> tuple[Operation, ...]:
    return tuple(sorted(found.values(), key=lambda operation: operation.begun))
