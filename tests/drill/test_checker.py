"""Histories that must fail, that tell too little, and that must pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from outlive.base.verdict import Verdict
from outlive.drill.checker import Final, Ledger, Write, check, first_committed_write_after, windows
from outlive.drill.history import Kind, Operation, Outcome
from outlive.drill.timeline import Span
from tests.samples import instant

FAULT = instant(10)


def operation(kind: Kind, value: int, begun: float, outcome: Outcome = Outcome.OK, result: int | None = None) -> Operation:
    """Return an operation that took half a second."""
    return Operation(0, kind, value, instant(begun), instant(begun + 0.5), outcome, result=result)


HISTORY = (
    operation("insert", 1, 1),
    operation("transfer", 2, 2),
    operation("total", 0, 3, result=100),
    operation("insert", 3, 9.8, Outcome.UNKNOWN),
    operation("transfer", 4, 9.8, Outcome.UNKNOWN),
    operation("insert", 5, 11, Outcome.FAIL),
    operation("total", 0, 12, Outcome.FAIL),
    operation("insert", 6, 20),
    operation("transfer", 7, 21),
    operation("total", 0, 22, result=100),
)
FINAL = Final({1: 1, 3: 1, 6: 1}, {2: 1, 7: 1}, 100)


def checked(*more: Operation, final: Final | None = FINAL) -> Ledger:
    """Return the ledger of the history with more operations in it."""
    return check([*HISTORY, *more], final, 100, FAULT)


def test_all_acknowledged_writes_are_found() -> None:
    ledger = checked()
    assert (ledger.verdict, ledger.attempted, ledger.acknowledged, ledger.failed, ledger.unknown) == (Verdict.PASS, 7, 4, 1, 2)
    assert ledger.recovered == (Write("insert", 3),)
    assert (ledger.lost, ledger.unexpected, ledger.duplicated, ledger.wrong_totals) == ((), (), (), ())
    assert ledger.reasons == ("All 4 acknowledged writes were found once, and all 3 totals were 100.",)


def test_each_attempt_has_one_outcome() -> None:
    ledger = checked()
    assert ledger.acknowledged + ledger.failed + ledger.unknown == ledger.attempted
    assert len(FINAL.numbers) + len(FINAL.transfers) == ledger.acknowledged + len(ledger.recovered)


@pytest.mark.parametrize(
    ("final", "part", "broken", "reason"),
    [
        (replace(FINAL, numbers={3: 1, 6: 1}), "lost", (Write("insert", 1),), "1 acknowledged and lost: insert 1."),
        (replace(FINAL, transfers={2: 0, 7: 1}), "lost", (Write("transfer", 2),), "1 acknowledged and lost: transfer 2."),
        (replace(FINAL, numbers={1: 1, 5: 1, 6: 1}), "unexpected", (Write("insert", 5),), "1 found unexpectedly: insert 5."),
        (replace(FINAL, transfers={2: 1, 7: 1, 99: 1}), "unexpected", (Write("transfer", 99),), "1 found unexpectedly: transfer 99."),
        (replace(FINAL, numbers={1: 2, 6: 1}), "duplicated", (Write("insert", 1),), "1 found or acknowledged more than once: insert 1."),
        (replace(FINAL, transfers={2: 1, 4: 2, 7: 1}), "duplicated", (Write("transfer", 4),), "1 found or acknowledged more than once"),
        (replace(FINAL, total=99), "wrong_totals", (99,), "1 of 3 totals were not 100: 99."),
    ],
)
def test_a_broken_promise_fails(final: Final, part: str, broken: tuple[object, ...], reason: str) -> None:
    ledger = checked(final=final)
    assert ledger.verdict is Verdict.FAIL
    assert getattr(ledger, part) == broken
    assert len(ledger.reasons) == 1
    assert ledger.reasons[0].startswith(reason)


def test_an_insert_is_no_transfer() -> None:
    ledger = checked(final=replace(FINAL, numbers={2: 1, 3: 1, 6: 1}))
    assert (ledger.lost, ledger.unexpected) == ((Write("insert", 1),), (Write("insert", 2),))


def test_a_write_acknowledged_twice() -> None:
    assert checked(operation("insert", 6, 23)).duplicated == (Write("insert", 6),)


@pytest.mark.parametrize("result", [90, None])
def test_a_wrong_total_on_the_way(result: int | None) -> None:
    ledger = checked(operation("total", 0, 23, result=result))
    assert (ledger.verdict, ledger.wrong_totals) == (Verdict.FAIL, (result,))


def test_many_are_counted_not_named() -> None:
    ledger = checked(final=replace(FINAL, transfers={2: 1, 7: 1} | dict.fromkeys(range(100, 108), 1)))
    assert ledger.reasons == ("8 found unexpectedly: transfer 100, transfer 101, transfer 102, transfer 103, transfer 104, 3 more.",)


@pytest.mark.parametrize(
    ("operations", "final", "reason"),
    [
        (HISTORY, None, "The tables couldn't be read at the end"),
        (HISTORY[7:], Final({6: 1}, {7: 1}, 100), "No write was acknowledged before the fault"),
        (HISTORY[:5], Final({1: 1}, {2: 1}, 100), "No write that began after the fault was acknowledged"),
    ],
)
def test_too_little_is_known(operations: tuple[Operation, ...], final: Final | None, reason: str) -> None:
    ledger = check(operations, final, 100, FAULT)
    assert ledger.verdict is Verdict.UNKNOWN
    assert len(ledger.reasons) == 1
    assert ledger.reasons[0].startswith(reason)
    assert (ledger.lost, ledger.unexpected) == ((), ())


def test_an_acknowledgement_across_the_fault_is_evidence_for_neither_side() -> None:
    ledger = check([operation("insert", 1, 9.8)], Final({1: 1}, {}, 100), 100, FAULT)
    assert (ledger.verdict, len(ledger.reasons)) == (Verdict.UNKNOWN, 2)


def test_nothing_was_asked() -> None:
    assert check([], None, 100, FAULT).verdict is Verdict.UNKNOWN


def test_fail_beats_unknown() -> None:
    ledger = checked(operation("total", 0, 23, result=90), final=None)
    assert (ledger.verdict, len(ledger.reasons)) == (Verdict.FAIL, 2)


def test_windows_without_acknowledged_writes() -> None:
    assert windows(HISTORY, FAULT, gap=5) == (Span(-7.5, 10.5, answered=False),)
    assert windows(HISTORY, FAULT, gap=20) == ()
    assert windows([], FAULT) == ()


def test_a_mysql_that_never_came_or_never_came_back() -> None:
    attempts = [operation("insert", value, value, Outcome.FAIL) for value in range(11, 15)]
    assert windows(attempts, FAULT) == (Span(1, 4.5, answered=False),)
    assert windows([operation("insert", 1, 10), *attempts], FAULT) == (Span(0.5, 4.5, answered=False),)


def test_windows_are_those_of_all_clients_together() -> None:
    answers = [replace(operation("insert", value, value), client=value % 2) for value in range(8)]
    assert windows(answers, instant(0), gap=1.5) == ()


def test_first_committed_write_after_the_old_server_was_dead() -> None:
    slow = replace(operation("insert", 8, 15), ended=instant(40))
    late = replace(operation("insert", 9, 9), ended=instant(16))
    total = operation("total", 0, 16, result=100)
    found = first_committed_write_after([slow, late, total, *HISTORY], FAULT)
    assert found == operation("insert", 6, 20)
    assert first_committed_write_after(HISTORY, instant(30)) is None
