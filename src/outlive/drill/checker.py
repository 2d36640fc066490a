"""Whether MySQL kept its word: the history of a drill against what the tables hold at its end. Pure functions, no waiting.

The terms are Jepsen's. An acknowledged write has to be there, once; a failed one mustn't; an unknown one may. Money is only
moved, so every consistent read of all accounts has to see the same total, and at the end each account holds what it began with and
what the transfers that are there moved. Whether the reads on the way fit to any order of the transfers, ``isolation`` finds out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from outlive.base.clock import Instant
from outlive.base.verdict import Verdict
from outlive.drill import isolation
from outlive.drill.history import Account, Kind, Operation, Outcome, Transfer
from outlive.drill.isolation import Anomaly, LostUpdate
from outlive.drill.timeline import Span

BEGINNING: Mapping[int, int] = dict.fromkeys(range(1, 11), 1000)
"""What each account begins with, by its number."""
UNTOUCHED = tuple(Account(number, balance, 0) for number, balance in BEGINNING.items())

NAMED = 5
"""How many writes a reason names; the rest are counted."""


class Write(NamedTuple):
    """A write: what it was and its number or id."""

    kind: Kind
    value: int


class WrongBalance(NamedTuple):
    """An account that at the end doesn't hold what its transfers make of its beginning; ``found`` is None where it is gone."""

    account: int
    expected: int
    found: int | None

    def __str__(self) -> str:
        """Return it as a part of a sentence."""
        holds = "is gone" if self.found is None else f"holds {self.found}"
        return f"account {self.account} {holds}, not {self.expected}" + ("" if self.found is None else f" ({self.found - self.expected:+})")


@dataclass(frozen=True)
class Final:
    """What the tables held at the end, in one snapshot: how often each number was found, and what by each transfer's id."""

    numbers: Mapping[int, int]
    transfers: Mapping[int, Sequence[Transfer]]
    accounts: tuple[Account, ...] = UNTOUCHED


@dataclass(frozen=True)
class Ledger:
    """What became of the writes, and what that means. The counts are those of inserts and transfers, not of reads."""

    attempted: int
    acknowledged: int
    failed: int
    unknown: int
    lost: tuple[Write, ...]
    """Acknowledged, but not found."""
    unexpected: tuple[Write, ...]
    """Found, but never attempted, or not so, or known to have failed."""
    duplicated: tuple[Write, ...]
    """Found more than once, or acknowledged twice."""
    recovered: tuple[Write, ...]
    """Unknown to its client, but found: allowed, since the acknowledgement may be all that was lost."""
    wrong_totals: tuple[int | None, ...]
    """The totals other than the expected one; None is the sum of no accounts."""
    wrong_balances: tuple[WrongBalance, ...]
    """Accounts that at the end don't hold what the transfers that are there make of their beginning."""
    dirty_reads: tuple[Anomaly, ...]
    """Saw what was never committed: a write that failed, or a balance that nobody wrote."""
    fractured_reads: tuple[Anomaly, ...]
    """Saw a half of a transfer: not yet committed, or none of one snapshot."""
    stale_reads: tuple[Anomaly, ...]
    """Lack what was acknowledged, or seen by a reader, before they began."""
    forked_reads: tuple[Anomaly, ...]
    """Saw transfers in another order than another read."""
    lost_updates: tuple[LostUpdate, ...]
    """Transfers that wrote over each other."""
    vanished: tuple[Write, ...]
    """Unknown to their client, seen by a reader, and gone: allowed, since InnoDB shows a commit before its log is on the disk."""
    reads: int
    """Answered reads of all accounts: without any, nothing is known of what readers see."""
    verdict: Verdict
    reasons: tuple[str, ...]
    """Why the verdict is this one, in sentences."""
    missing: tuple[str, ...] = ()
    """Evidence that isn't there, in sentences: with any, what wasn't found is no pass, whatever the verdict."""


def check(operations: Iterable[Operation], final: Final | None, fault: Instant, beginning: Mapping[int, int] = BEGINNING) -> Ledger:
    """Return what became of all writes; ``final`` is None where the tables couldn't be read.

    Fail beats unknown. Without acknowledged writes that ended before ``fault``, nothing was there to be lost; without any that
    began after it, nobody knows whether MySQL takes writes again; without an answered read that began after it, nobody knows what
    readers see of the transfers: all are unknown, never a pass.
    """
    asked = tuple(operations)
    writes = _writes(asked)
    outcomes: dict[Write, list[Outcome]] = {}
    for each in writes:
        outcomes.setdefault(Write(each.kind, each.value), []).append(each.outcome)
    found = _found(final)
    # Without a final read nothing is known to be missing.
    lost = [write for write, seen in outcomes.items() if final and Outcome.OK in seen and write not in found]
    unexpected = [write for write in found if set(outcomes.get(write, [])) <= {Outcome.FAIL}]
    unexpected += [write for write in _altered(writes, final) if write not in unexpected]
    twice = {write for write, count in found.items() if count > 1}
    twice |= {write for write, seen in outcomes.items() if seen.count(Outcome.OK) > 1}
    recovered = [write for write in found if Outcome.UNKNOWN in (seen := outcomes.get(write, [])) and Outcome.OK not in seen]
    reads = [each for each in asked if each.kind == "total" and each.outcome is Outcome.OK]
    looks = [each.seen for each in reads] + ([final.accounts] if final else [])
    totals = [sum(account.balance for account in seen) if seen else None for seen in looks]
    balances = _wrong_balances(final, beginning)
    stayed = [write.value for write in found if write.kind == "transfer"] if final else None
    anomalies = isolation.examine(asked, stayed, beginning)
    expected_total = sum(beginning.values())
    wrong = tuple(total for total in totals if total != expected_total)

    broken = [
        f"{len(kind)} {what}: {_named(kind)}."
        for kind, what in (
            (lost, "acknowledged and lost"),
            (unexpected, "found unexpectedly"),
            (twice, "found or acknowledged more than once"),
        )
        if kind
    ]
    if wrong:
        broken.append(f"{len(wrong)} of {len(totals)} totals were not {expected_total}: {_few(map(str, wrong))}.")
    broken += [
        f"{len(kind)} {what}: {_few(map(str, kind))}."
        for kind, what in (
            (balances, "wrong balances at the end"),
            (anomalies.dirty_reads, "dirty reads"),
            (anomalies.fractured_reads, "fractured reads"),
            (anomalies.stale_reads, "stale reads"),
            (anomalies.forked_reads, "forked reads"),
            (anomalies.lost_updates, "lost updates"),
        )
        if kind
    ]
    acknowledged = [each for each in writes if each.outcome is Outcome.OK]
    missing = [] if final else ["The tables couldn't be read at the end, so nobody knows what they hold."]
    if not any(each.ended < fault for each in acknowledged):
        missing.append("No write was acknowledged before the fault, so nothing was there to be lost.")
    if not any(each.begun > fault for each in acknowledged):
        missing.append("No write that began after the fault was acknowledged, so nobody knows whether MySQL takes writes again.")
    if not any(each.begun > fault for each in reads) and any(each.kind == "transfer" for each in acknowledged):
        missing.append(
            "No read of the accounts that began after the fault was answered, so nobody knows what readers see of the transfers."
        )
    kept = [
        f"All {len(acknowledged)} acknowledged writes were found once, all {len(totals)} totals were {expected_total}, "
        f"each balance is what its transfers make it, and all {len(reads)} reads fit to one order of them."
    ]

    counts = Counter(each.outcome for each in writes)
    return Ledger(
        attempted=len(writes),
        acknowledged=counts[Outcome.OK],
        failed=counts[Outcome.FAIL],
        unknown=counts[Outcome.UNKNOWN],
        lost=tuple(sorted(lost)),
        unexpected=tuple(sorted(unexpected)),
        duplicated=tuple(sorted(twice)),
        recovered=tuple(sorted(recovered)),
        wrong_totals=wrong,
        wrong_balances=balances,
        dirty_reads=anomalies.dirty_reads,
        fractured_reads=anomalies.fractured_reads,
        stale_reads=anomalies.stale_reads,
        forked_reads=anomalies.forked_reads,
        lost_updates=anomalies.lost_updates,
        vanished=tuple(Write("transfer", value) for value in anomalies.vanished),
        reads=len(reads),
        verdict=Verdict.FAIL if broken else Verdict.UNKNOWN if missing else Verdict.PASS,
        reasons=tuple(broken + missing or kept),
        missing=tuple(missing),
    )


def windows(operations: Iterable[Operation], origin: Instant, gap: float = 1.0) -> tuple[Span, ...]:
    """Return the unavailable windows: the stretches longer than ``gap`` seconds without an acknowledged write of any client.

    Each goes from one acknowledgement to the next, in seconds from ``origin``. The first begins with the first attempt and the
    last ends with the last one, so that a MySQL that never came back has its window too.
    """
    writes = _writes(operations)
    if not writes:
        return ()
    acknowledged = sorted(each.ended for each in writes if each.outcome is Outcome.OK)
    marks = [min(each.begun for each in writes), *acknowledged, max(each.ended for each in writes)]
    return tuple(Span(start.since(origin), end.since(origin), answered=False) for start, end in pairwise(marks) if end.since(start) > gap)


def first_committed_write_after(operations: Iterable[Operation], effect: Instant) -> Operation | None:
    """Return the acknowledged write that ended first of those that began after ``effect``, or None.

    ``effect`` is when the old server was surely dead. A write that began before may have been committed by the old server and
    acknowledged late; one that began after it can only be the new server's.
    """
    after = [each for each in _writes(operations) if each.outcome is Outcome.OK and each.begun > effect]
    return min(after, key=lambda each: each.ended, default=None)


def _writes(operations: Iterable[Operation]) -> list[Operation]:
    return [each for each in operations if each.kind != "total"]


def _found(final: Final | None) -> dict[Write, int]:
    if final is None:
        return {}
    numbers = {Write("insert", value): count for value, count in final.numbers.items()}
    transfers = {Write("transfer", value): len(rows) for value, rows in final.transfers.items()}
    return {write: count for write, count in (numbers | transfers).items() if count > 0}


def _altered(writes: Iterable[Operation], final: Final | None) -> list[Write]:
    """Return the transfers that are there otherwise than they were asked for."""
    asked = {each.value: each.transfer for each in writes if each.kind == "transfer"}
    rows = final.transfers if final else {}
    return [Write("transfer", value) for value, found in rows.items() if value in asked and set(found) - {asked[value]}]


def _wrong_balances(final: Final | None, beginning: Mapping[int, int]) -> tuple[WrongBalance, ...]:
    if final is None:
        return ()
    expected = Counter(beginning)
    for rows in final.transfers.values():
        for moved in rows[:1]:  # one that is there twice is duplicated, and moved once
            for account in (moved.source, moved.target):
                expected[account] += moved.change(account)
    found = {each.number: each.balance for each in final.accounts}
    every = sorted({*expected, *found})
    return tuple(WrongBalance(each, expected[each], found.get(each)) for each in every if found.get(each) != expected[each])


def _named(writes: Iterable[Write]) -> str:
    return _few(f"{kind} {value}" for kind, value in sorted(writes))


def _few(texts: Iterable[str]) -> str:
    every = list(texts)
    rest = [f"{len(every) - NAMED} more"] if len(every) > NAMED else []
    return ", ".join(every[:NAMED] + rest)
