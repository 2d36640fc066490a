"""Whether the transfers and the reads of a drill can have happened one after the other. Pure functions, no waiting.

What is looked for is what Jepsen's tests bank and list-append find, by the same means: a write is recognized where it is read. Each
transfer reads an account and writes its own id there, so the transfers of an account form a chain, which the ids make known. A read of
all accounts is then a place in each of the ten chains. The places have to fit together, to time, and to those of all other reads.

A transfer that is unknown to its client may have been seen by a reader and yet be gone at the end: InnoDB shows a commit before its
log is on the disk (``trx_commit_in_memory``), and a crash between takes it back. No transfer that stayed may have been made on top of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from outlive.base.clock import Instant
from outlive.drill.history import Account, Kind, Operation, Outcome

Places = dict[int, int]
"""By account, how many transfers of its chain were seen."""


class Anomaly(NamedTuple):
    """An operation that saw what it can't have seen, or not what it had to see, and why."""

    kind: Kind
    value: int
    why: str

    def __str__(self) -> str:
        """Return it as a part of a sentence."""
        return f"{self.kind} {self.value} {self.why}"


class LostUpdate(NamedTuple):
    """Transfers that were made on top of the same one, ``last``, of an account: all but one of them were written over."""

    account: int
    last: int
    transfers: tuple[int, ...]

    def __str__(self) -> str:
        """Return it as a part of a sentence."""
        return f"transfers {', '.join(map(str, self.transfers))} on top of {self.last or 'the beginning'} in account {self.account}"


@dataclass(frozen=True)
class Anomalies:
    """All that was found, and the unknown transfers that were seen and gone (``vanished``), which is allowed."""

    dirty_reads: tuple[Anomaly, ...]
    fractured_reads: tuple[Anomaly, ...]
    stale_reads: tuple[Anomaly, ...]
    forked_reads: tuple[Anomaly, ...]
    lost_updates: tuple[LostUpdate, ...]
    vanished: tuple[int, ...]


@dataclass(frozen=True)
class _Read:
    """A read of all accounts with its place in each chain, and the transfers beside the chains that it saw, by account."""

    operation: Operation
    places: Places
    beside: dict[int, set[int]]

    def off(self) -> set[int]:
        """Return all transfers that it saw beside the chains."""
        return set().union(*self.beside.values())

    def covers(self, other: _Read) -> bool:
        """Say whether it saw all of the chains that another read saw."""
        return all(self.places.get(account, place) >= place for account, place in other.places.items())


def examine(operations: Iterable[Operation], found: Collection[int] | None, beginning: Mapping[int, int]) -> Anomalies:
    """Return what in a history no order of its transfers explains.

    Args:
        operations: All operations.
        found: The ids of the transfers in the final snapshot; None where there is none.
        beginning: Each account's balance before the first transfer.
    """
    asked = tuple(operations)
    transfers = {each.value: each for each in asked if each.kind == "transfer" and each.transfer}
    chains = _Chains(transfers, _stayed(transfers, found), beginning)
    totals = [each for each in asked if each.kind == "total" and each.outcome is Outcome.OK]

    dirty = [anomaly for each in (*transfers.values(), *totals) if (anomaly := _dirty(each, chains, beginning))]
    if found is not None:
        dirty += chains.built_on_sand()
    # What is dirty or fractured has no place in any order, so that each wrong read is told once, by its cause.
    wrong = {each.value for each in dirty if each.kind == "total"}
    reads = [chains.place(each) for each in totals if each.value not in wrong]
    fractured = [anomaly for each in reads if (anomaly := _fractured(each, chains))]
    wrong = {each.value for each in fractured}
    whole = [each for each in reads if each.operation.value not in wrong]
    seen = set[int]().union(*(each.off() for each in whole))
    unknown = {value for value, each in transfers.items() if each.outcome is Outcome.UNKNOWN}
    return Anomalies(
        dirty_reads=tuple(sorted(dirty)),
        fractured_reads=tuple(fractured),
        stale_reads=tuple(_stale(whole, chains)),
        forked_reads=tuple(_forked(whole, chains)),
        lost_updates=chains.lost_updates(),
        vanished=() if found is None else tuple(sorted((seen & unknown) - chains.stayed)),
    )


def _stayed(transfers: Mapping[int, Operation], found: Collection[int] | None) -> set[int]:
    """Return the transfers that are in effect: those found; where nobody looked, the acknowledged ones and all that they saw."""
    if found is not None:
        return set(found) & set(transfers)
    stayed: set[int] = set()
    left = [value for value, each in transfers.items() if each.outcome is Outcome.OK]
    while left:
        value = left.pop()
        if value in transfers and value not in stayed and transfers[value].outcome is not Outcome.FAIL:
            stayed.add(value)
            left += [each.last for each in transfers[value].seen]
    return stayed


class _Chains:
    """The order of the transfers of each account, as their reads tell it."""

    def __init__(self, transfers: Mapping[int, Operation], stayed: set[int], beginning: Mapping[int, int]) -> None:
        """Find the chains; ``stayed`` are the transfers that are in effect."""
        self.transfers = transfers
        self.stayed = stayed
        self.before: dict[int, dict[int, int]] = {account: {} for account in beginning}
        """By account and transfer, the transfer that it saw there."""
        self.chain = {account: self._chain(account) for account in beginning}
        self.place_of = {account: {value: place for place, value in enumerate(chain, 1)} for account, chain in self.chain.items()}
        self.needed = {account: self._needed(account) for account in beginning}
        """By account and place, what else must have been seen: each transfer up to there was one of another account too."""

    def wrote(self, account: int, value: int) -> bool:
        """Say whether a transfer is one of an account."""
        moved = self.transfers[value].transfer if value in self.transfers else None
        return moved is not None and account in (moved.source, moved.target)

    def lost_updates(self) -> tuple[LostUpdate, ...]:
        """Return the transfers in effect that were made on top of the same one."""
        found = []
        for account, before in self.before.items():
            after: dict[int, list[int]] = defaultdict(list)
            for value, last in before.items():
                if value in self.stayed:
                    after[last].append(value)
            found += [LostUpdate(account, last, tuple(sorted(values))) for last, values in after.items() if len(values) > 1]
        return tuple(sorted(found))

    def built_on_sand(self) -> Iterator[Anomaly]:
        """Yield the transfers in effect that were made on top of one whose client doesn't know of it, and which isn't in effect."""
        for account, before in self.before.items():
            for value, last in before.items():
                unknown = last in self.transfers and self.transfers[last].outcome is Outcome.UNKNOWN
                if value in self.stayed and unknown and last not in self.stayed:
                    yield Anomaly("transfer", value, f"is there, and transfer {last} isn't, which it saw in account {account}")

    def place(self, read: Operation) -> _Read:
        """Return where a read is: in each chain, and beside it. A chain that can't be followed to its beginning is left out."""
        places: Places = {}
        beside: dict[int, set[int]] = {}
        for account, _, value in read.seen:
            off: set[int] = set()
            while value and value not in self.place_of[account] and value in self.before[account] and value not in off:
                off.add(value)
                value = self.before[account][value]
            if not value or value in self.place_of[account]:
                places[account] = self.place_of[account].get(value, 0)
                beside[account] = off
        return _Read(read, places, beside)

    def _chain(self, account: int) -> list[int]:
        """Return the longest chain from the beginning to a transfer in effect."""
        after: dict[int, list[int]] = defaultdict(list)
        for value, each in self.transfers.items():
            for last in (seen.last for seen in each.seen if seen.number == account and self.wrote(account, value)):
                self.before[account][value] = last
                after[last].append(value)
        level, end = [0], 0
        while level := [value for last in level for value in after[last]]:
            end = next((value for value in level if value in self.stayed), end)
        chain = []
        while end:
            chain.append(end)
            end = self.before[account][end]
        return chain[::-1]

    def _needed(self, account: int) -> list[Places]:
        needed: list[Places] = [{}]
        for value in self.chain[account]:
            moved = self.transfers[value].transfer
            assert moved is not None
            other = moved.target if account == moved.source else moved.source
            place = max(self.place_of.get(other, {}).get(value, 0), needed[-1].get(other, 0))
            needed.append(needed[-1] | {other: place})
        return needed


def _dirty(read: Operation, chains: _Chains, beginning: Mapping[int, int]) -> Anomaly | None:
    """Return why what an operation saw was never committed by anybody, or None."""
    transfers = chains.transfers
    asked = list(beginning) if read.transfer is None else [read.transfer.source, read.transfer.target]
    answered = bool(read.seen) or read.outcome is Outcome.OK
    if answered and sorted(each.number for each in read.seen) != sorted(asked):
        return Anomaly(read.kind, read.value, f"saw the accounts {[each.number for each in read.seen]}, not {asked}")
    for account, balance, last in read.seen:
        if last == 0:
            left = beginning.get(account)
        elif not chains.wrote(account, last):
            return Anomaly(read.kind, read.value, f"saw account {account} written by transfer {last}, which was never one of its")
        elif transfers[last].outcome is Outcome.FAIL and last not in chains.stayed:
            return Anomaly(read.kind, read.value, f"saw account {account} written by transfer {last}, which had failed")
        elif transfers[last].begun > read.ended:
            return Anomaly(read.kind, read.value, f"saw account {account} written by transfer {last}, which began only afterwards")
        else:
            left = _left(transfers[last], account, balance)
        if balance != left:
            return Anomaly(
                read.kind,
                read.value,
                f"saw {balance} in account {account}, where {f'transfer {last}' if last else 'the beginning'} had left {left}",
            )
    return None


def _left(transfer: Operation, account: int, unknown: int) -> int:
    """Return the balance that a transfer wrote; ``unknown`` where the history ends before it tells."""
    assert transfer.transfer is not None
    before: Sequence[Account] = [each for each in transfer.seen if each.number == account]
    return before[0].balance + transfer.transfer.change(account) if before else unknown


def _fractured(read: _Read, chains: _Chains) -> Anomaly | None:
    """Return which transfer a read saw a half of, or None."""
    for account, place in read.places.items():
        for other, needed in chains.needed[account][place].items():
            if read.places.get(other, needed) < needed:
                return _half(read, chains.chain[other][needed - 1], account, other)
    for account, off in read.beside.items():
        for value in sorted(off):
            moved = chains.transfers[value].transfer
            assert moved is not None
            other = moved.target if account == moved.source else moved.source
            # An account that the transfer didn't see (it was gone), or that can't be placed, tells nothing.
            if value not in chains.before.get(other, {}) or other not in read.places:
                continue
            if value not in read.beside[other] and chains.place_of[other].get(value, read.places[other] + 1) > read.places[other]:
                return _half(read, value, account, other)
    return None


def _half(read: _Read, value: int, account: int, other: int) -> Anomaly:
    return Anomaly("total", read.operation.value, f"saw transfer {value} in account {account} or a later one there, and not in {other}")


def _stale(reads: Sequence[_Read], chains: _Chains) -> Iterator[Anomaly]:
    """Yield the reads that lack what was acknowledged, or seen by another read, before they began."""
    events = [
        (each.ended, account, chains.place_of[account][each.value], "was acknowledged")
        for each in chains.transfers.values()
        if each.outcome is Outcome.OK and each.value in chains.stayed
        for account in chains.before
        if each.value in chains.place_of[account]
    ]
    for read in reads:
        why = f"total {read.operation.value} had seen"
        events += [(read.operation.ended, account, place, why) for account, place in read.places.items()]
    events.sort(key=lambda event: event[0])
    floor: dict[int, tuple[int, str]] = {}
    past = 0
    for read in sorted(reads, key=lambda read: read.operation.begun):
        while past < len(events) and events[past][0] < read.operation.begun:
            _, account, place, why = events[past]
            if place > floor.get(account, (0, ""))[0]:
                floor[account] = (place, why)
            past += 1
        for account, (place, why) in floor.items():
            if read.places.get(account, place) < place:
                missing = chains.chain[account][place - 1]
                yield Anomaly("total", read.operation.value, f"lacks transfer {missing}, which {why} before")
                break


def _forked(reads: Sequence[_Read], chains: _Chains) -> Iterator[Anomaly]:
    """Yield the reads that saw transfers in another order than another read: each of the two lacks what the other one has."""
    complete = [read for read in reads if len(read.places) == len(chains.chain)]
    for one, other in pairwise(sorted(complete, key=lambda read: sum(read.places.values()))):
        if not other.covers(one):
            account = next(each for each, place in one.places.items() if other.places.get(each, place) < place)
            missing = chains.chain[account][one.places[account] - 1]
            why = f"lacks transfer {missing}, which total {one.operation.value} saw, and has what that one lacks"
            yield Anomaly("total", other.operation.value, why)
    gone: dict[int, Instant] = {}
    before: set[int] = set()
    ended: Instant | None = None
    for read in sorted(reads, key=lambda read: read.operation.begun):
        off = read.off()
        again = [value for value in off & gone.keys() if read.operation.begun > gone[value]]
        if again:
            yield Anomaly("total", read.operation.value, f"saw transfer {min(again)} again after it was gone")
        if ended is not None and read.operation.begun > ended:
            gone |= dict.fromkeys(before - off, read.operation.ended)
        before, ended = off, read.operation.ended
