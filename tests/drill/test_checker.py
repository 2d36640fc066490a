"""Histories that must fail, that tell too little, and that must pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from outlive.base.verdict import Verdict
from outlive.drill.checker import Final, Ledger, Write, WrongBalance, check, first_committed_write_after, windows
from outlive.drill.history import Account, Kind, Operation, Outcome, Transfer
from outlive.drill.isolation import Anomaly, LostUpdate
from outlive.drill.timeline import Span
from tests.samples import instant

FAULT = instant(10)
BEGINNING = {1: 50, 2: 30, 3: 20}


def operation(kind: Kind, value: int, begun: float, outcome: Outcome = Outcome.OK) -> Operation:
    """Return an operation that took half a second."""
    return Operation(0, kind, value, instant(begun), instant(begun + 0.5), outcome)


class Bank:
    """Accounts that do what they should; what an operation sees there is what it would."""

    def __init__(self) -> None:
        """Begin with the accounts of the beginning."""
        self.accounts = {number: Account(number, balance, 0) for number, balance in BEGINNING.items()}
        self.rows: dict[int, list[Transfer]] = {}

    def move(self, value: int, begun: float, moved: Transfer, outcome: Outcome = Outcome.OK) -> Operation:
        """Return a transfer; one that failed, or is unknown, had no effect."""
        seen = tuple(self.accounts[number] for number in sorted((moved.source, moved.target)))
        if outcome is Outcome.OK:
            for number, balance, _ in seen:
                self.accounts[number] = Account(number, balance + moved.change(number), value)
            self.rows[value] = [moved]
        return replace(operation("transfer", value, begun, outcome), transfer=moved, seen=seen)

    def look(self, value: int, begun: float, *other: Account) -> Operation:
        """Return a total, with other accounts than the bank's."""
        seen = tuple((self.accounts | {each.number: each for each in other}).values())
        return replace(operation("total", value, begun), seen=seen)


BANK = Bank()
HISTORY = (
    operation("insert", 1, 1),
    BANK.move(2, 2, Transfer(1, 2, 5)),
    BANK.look(101, 3),
    operation("insert", 3, 9.8, Outcome.UNKNOWN),
    BANK.move(4, 9.8, Transfer(2, 3, 4), Outcome.UNKNOWN),
    operation("insert", 5, 11, Outcome.FAIL),
    operation("total", 102, 12, Outcome.FAIL),
    operation("insert", 6, 20),
    BANK.move(7, 21, Transfer(3, 1, 7)),
    BANK.look(103, 22),
)
ACCOUNTS = tuple(BANK.accounts.values())
FINAL = Final({1: 1, 3: 1, 6: 1}, BANK.rows, ACCOUNTS)
UNTOUCHED = tuple(Account(number, balance, 0) for number, balance in BEGINNING.items())
FOUR = Transfer(2, 3, 4)


def checked(*more: Operation, final: Final | None = FINAL) -> Ledger:
    """Return the ledger of the history with more operations in it."""
    return check([*HISTORY, *more], final, FAULT, BEGINNING)


def test_all_acknowledged_writes_are_found() -> None:
    ledger = checked()
    assert (ledger.verdict, ledger.attempted, ledger.acknowledged, ledger.failed, ledger.unknown) == (Verdict.PASS, 7, 4, 1, 2)
    assert ledger.recovered == (Write("insert", 3),)
    assert (ledger.lost, ledger.unexpected, ledger.duplicated, ledger.wrong_totals) == ((), (), (), ())
    assert ledger.reasons == (
        "All 4 acknowledged writes were found once, all 3 totals were 100, each balance is what its transfers make it, "
        "and all 2 reads fit to one order of them.",
    )
    assert ledger.reads == 2


def test_each_attempt_has_one_outcome() -> None:
    ledger = checked()
    assert ledger.acknowledged + ledger.failed + ledger.unknown == ledger.attempted
    assert len(FINAL.numbers) + len(FINAL.transfers) == ledger.acknowledged + len(ledger.recovered)


@pytest.mark.parametrize(
    ("final", "part", "broken", "reason"),
    [
        (replace(FINAL, numbers={3: 1, 6: 1}), "lost", (Write("insert", 1),), "1 acknowledged and lost: insert 1."),
        (replace(FINAL, numbers={1: 1, 5: 1, 6: 1}), "unexpected", (Write("insert", 5),), "1 found unexpectedly: insert 5."),
        (replace(FINAL, numbers={1: 2, 6: 1}), "duplicated", (Write("insert", 1),), "1 found or acknowledged more than once: insert 1."),
        (
            replace(FINAL, transfers=BANK.rows | {7: [Transfer(3, 1, 7)] * 2}),
            "duplicated",
            (Write("transfer", 7),),
            "1 found or acknowledged more than once: transfer 7.",
        ),
        (
            replace(FINAL, transfers=BANK.rows | {7: [Transfer(3, 1, 7), Transfer(3, 1, 8)]}),
            "unexpected",
            (Write("transfer", 7),),
            "1 found unexpectedly: transfer 7.",
        ),
        (
            replace(FINAL, accounts=(ACCOUNTS[0]._replace(balance=51), *ACCOUNTS[1:])),
            "wrong_totals",
            (99,),
            "1 of 3 totals were not 100: 99.",
        ),
        (
            replace(FINAL, accounts=ACCOUNTS[1:]),
            "wrong_balances",
            (WrongBalance(1, 52, None),),
            "1 wrong balances at the end: account 1 is gone, not 52.",
        ),
        (
            replace(FINAL, accounts=(*ACCOUNTS, Account(4, 1, 0))),
            "wrong_balances",
            (WrongBalance(4, 0, 1),),
            "1 wrong balances at the end: account 4 holds 1, not 0 (+1).",
        ),
    ],
)
def test_a_broken_promise_fails(final: Final, part: str, broken: tuple[object, ...], reason: str) -> None:
    ledger = checked(final=final)
    assert ledger.verdict is Verdict.FAIL
    assert getattr(ledger, part) == broken
    assert reason in ledger.reasons


def test_an_insert_is_no_transfer() -> None:
    ledger = checked(final=replace(FINAL, numbers={2: 1, 3: 1, 6: 1}))
    assert (ledger.lost, ledger.unexpected) == ((Write("insert", 1),), (Write("insert", 2),))


def test_a_write_acknowledged_twice() -> None:
    assert checked(operation("insert", 6, 23)).duplicated == (Write("insert", 6),)


@pytest.mark.parametrize(("seen", "total"), [((Account(1, 90, 0),), 90), ((), None)])
def test_a_wrong_total_on_the_way(seen: tuple[Account, ...], total: int | None) -> None:
    ledger = checked(replace(operation("total", 104, 23), seen=seen))
    assert (ledger.verdict, ledger.wrong_totals, len(ledger.dirty_reads)) == (Verdict.FAIL, (total,), 1)


def test_a_transfer_that_is_lost() -> None:
    """Whatever was read before it was lost was right then: a loss is told as a loss, not as a stale read too."""
    final = replace(FINAL, transfers={2: BANK.rows[2]}, accounts=(Account(1, 45, 2), Account(2, 35, 2), Account(3, 20, 0)))
    ledger = checked(final=final)
    assert ledger.reasons == ("1 acknowledged and lost: transfer 7.",)


def test_a_transfer_that_nobody_made() -> None:
    final = replace(FINAL, transfers=BANK.rows | {99: [Transfer(1, 2, 0)]})
    assert checked(final=final).reasons == ("1 found unexpectedly: transfer 99.",)


def test_all_transfers_undone_with_the_same_sum() -> None:
    undone = tuple(Account(number, BEGINNING[number], last) for number, _, last in ACCOUNTS)
    ledger = checked(final=replace(FINAL, accounts=undone))
    assert ledger.verdict is Verdict.FAIL
    assert ledger.reasons == (
        "3 wrong balances at the end: account 1 holds 50, not 52 (-2), account 2 holds 30, not 35 (-5), account 3 holds 20, not 13 (+7).",
    )


def test_a_transfer_half_applied_and_made_up_for_elsewhere() -> None:
    ledger = checked(final=replace(FINAL, accounts=(Account(1, 45, 7), Account(2, 42, 2), Account(3, 13, 7))))
    assert ledger.wrong_balances == (WrongBalance(1, 52, 45), WrongBalance(2, 35, 42))


def test_what_is_there_is_counted_where_the_client_does_not_know() -> None:
    known = replace(FINAL, transfers=BANK.rows | {4: [FOUR]})
    assert [each.account for each in checked(final=known).wrong_balances] == [2, 3]
    moved = replace(known, accounts=(Account(1, 52, 7), Account(2, 31, 4), Account(3, 17, 7)))
    assert checked(final=moved).wrong_balances == ()
    assert Write("transfer", 4) in checked(final=moved).recovered


@pytest.mark.parametrize(("answered", "reads"), [((), 0), ((101,), 1)], ids=["never", "only before the fault"])
def test_acknowledged_transfers_that_nobody_read_prove_nothing_of_readers(answered: tuple[int, ...], reads: int) -> None:
    ledger = check([each for each in HISTORY if each.kind != "total" or each.value in answered], FINAL, FAULT, BEGINNING)
    assert (ledger.verdict, ledger.reads) == (Verdict.UNKNOWN, reads)
    (missing,) = ledger.missing
    assert missing.startswith("No read of the accounts that began after the fault was answered")


def test_many_are_counted_not_named() -> None:
    ledger = checked(final=replace(FINAL, transfers=BANK.rows | {value: [Transfer(1, 2, 0)] for value in range(100, 108)}))
    assert ledger.reasons == ("8 found unexpectedly: transfer 100, transfer 101, transfer 102, transfer 103, transfer 104, 3 more.",)


@pytest.mark.parametrize(
    ("operations", "final", "reason"),
    [
        (HISTORY, None, "The tables couldn't be read at the end"),
        (HISTORY[7:8], Final({6: 1}, {}, UNTOUCHED), "No write was acknowledged before the fault"),
        (HISTORY[:1], Final({1: 1}, {}, UNTOUCHED), "No write that began after the fault was acknowledged"),
    ],
)
def test_too_little_is_known(operations: tuple[Operation, ...], final: Final | None, reason: str) -> None:
    ledger = check(operations, final, FAULT, BEGINNING)
    assert ledger.verdict is Verdict.UNKNOWN
    assert len(ledger.reasons) == 1
    assert ledger.reasons[0].startswith(reason)
    assert (ledger.lost, ledger.unexpected) == ((), ())


def test_an_acknowledgement_across_the_fault_is_evidence_for_neither_side() -> None:
    ledger = check([operation("insert", 1, 9.8)], Final({1: 1}, {}, UNTOUCHED), FAULT, BEGINNING)
    assert (ledger.verdict, len(ledger.reasons)) == (Verdict.UNKNOWN, 2)


def test_nothing_was_asked() -> None:
    assert check([], None, FAULT).verdict is Verdict.UNKNOWN


def test_fail_beats_unknown() -> None:
    ledger = checked(BANK.look(104, 23, Account(1, 42, 7)), final=None)
    assert (ledger.verdict, len(ledger.reasons)) == (Verdict.FAIL, 3)


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
    total = operation("total", 104, 16)
    found = first_committed_write_after([slow, late, total, *HISTORY], FAULT)
    assert found == operation("insert", 6, 20)
    assert first_committed_write_after(HISTORY, instant(30)) is None


def test_a_read_of_a_transfer_that_had_failed_is_dirty() -> None:
    bank = Bank()
    failed = bank.move(8, 2, Transfer(1, 2, 5), Outcome.FAIL)
    ledger = examined(bank, failed, bank.look(101, 2, Account(1, 45, 8), Account(2, 35, 8)))
    assert [str(each) for each in ledger.dirty_reads] == ["total 101 saw account 1 written by transfer 8, which had failed"]


@pytest.mark.parametrize(
    ("account", "why"),
    [
        (Account(1, 44, 2), "saw 44 in account 1, where transfer 2 had left 45"),
        (Account(3, 21, 0), "saw 21 in account 3, where the beginning had left 20"),
        (Account(3, 20, 2), "saw account 3 written by transfer 2, which was never one of its"),
        (Account(1, 45, 99), "saw account 1 written by transfer 99, which was never one of its"),
        (Account(2, 34, 5), "saw account 2 written by transfer 5, which began only afterwards"),
        (Account(4, 0, 0), "saw the accounts [1, 2, 3, 4], not [1, 2, 3]"),
    ],
)
def test_a_balance_that_nobody_wrote_is_a_dirty_read(account: Account, why: str) -> None:
    bank = Bank()
    first = bank.move(2, 1, Transfer(1, 2, 5))
    look = bank.look(101, 2, account)
    ledger = examined(bank, first, look, bank.move(5, 3, Transfer(2, 3, 1)))
    assert ledger.dirty_reads == (Anomaly("total", 101, why),)
    assert (ledger.fractured_reads, ledger.stale_reads, ledger.forked_reads) == ((), (), ())


def test_a_transfer_reads_too() -> None:
    bank = Bank()
    first, second = bank.move(2, 1, Transfer(1, 2, 5)), bank.move(3, 2, Transfer(1, 3, 1))
    wrong = replace(second, seen=(Account(1, 46, 2), second.seen[1]))
    assert examined(bank, first, wrong).dirty_reads == (Anomaly("transfer", 3, "saw 46 in account 1, where transfer 2 had left 45"),)
    blind = replace(second, seen=second.seen[:1])
    assert examined(bank, first, blind).dirty_reads == (Anomaly("transfer", 3, "saw the accounts [1], not [1, 3]"),)


def test_half_of_a_transfer_is_a_fractured_read() -> None:
    bank = Bank()
    early = dict(bank.accounts)
    moves = (bank.move(2, 1, Transfer(1, 2, 5)), bank.move(3, 1.2, Transfer(2, 3, 1)))
    ledger = examined(bank, *moves, bank.look(101, 1, early[1]))
    assert ledger.fractured_reads == (Anomaly("total", 101, "saw transfer 2 in account 2 or a later one there, and not in 1"),)
    assert ledger.wrong_totals


def test_half_of_a_transfer_that_is_gone_is_a_fractured_read() -> None:
    bank = Bank()
    unknown = bank.move(2, 1, Transfer(1, 2, 5), Outcome.UNKNOWN)
    ledger = examined(bank, unknown, bank.look(101, 1, Account(1, 45, 2)))
    assert ledger.fractured_reads == (Anomaly("total", 101, "saw transfer 2 in account 1 or a later one there, and not in 2"),)


def test_a_read_without_what_was_acknowledged_before_is_stale() -> None:
    bank = Bank()
    early = tuple(bank.accounts.values())
    ledger = examined(bank, bank.move(2, 1, Transfer(1, 2, 5)), bank.look(101, 1.6, *early))
    assert ledger.stale_reads == (Anomaly("total", 101, "lacks transfer 2, which was acknowledged before"),)
    assert ledger.verdict is Verdict.FAIL


def test_a_read_under_way_may_or_may_not_have_it() -> None:
    bank = Bank()
    early = tuple(bank.accounts.values())
    move = bank.move(2, 1, Transfer(1, 2, 5))
    assert examined(bank, move, bank.look(101, 1.4, *early)).stale_reads == ()
    assert examined(bank, move, bank.look(101, 0.6)).dirty_reads == ()


def test_a_read_without_what_a_read_before_had_is_stale() -> None:
    bank = Bank()
    early = tuple(bank.accounts.values())
    slow = replace(bank.move(2, 1, Transfer(1, 2, 5)), ended=instant(9))
    ledger = examined(bank, slow, bank.look(101, 2), bank.look(102, 3, *early))
    assert ledger.stale_reads == (Anomaly("total", 102, "lacks transfer 2, which total 101 had seen before"),)


def test_reads_that_saw_two_transfers_in_both_orders_are_forked() -> None:
    """A long fork: each of two transfers alone was seen by one of two reads."""
    bank = Bank()
    bank.accounts[4] = Account(4, 0, 0)
    early = dict(bank.accounts)
    moves = [replace(bank.move(2, 1, Transfer(1, 2, 5)), ended=instant(9)), replace(bank.move(3, 1, Transfer(3, 4, 5)), ended=instant(9))]
    looks = [bank.look(101, 2, early[1], early[2]), bank.look(102, 2, early[3], early[4])]
    ledger = examined(bank, *moves, *looks, beginning=BEGINNING | {4: 0})
    assert [str(each) for each in ledger.forked_reads] == ["total 102 lacks transfer 3, which total 101 saw, and has what that one lacks"]
    assert ledger.stale_reads == ()


def test_transfers_on_top_of_the_same_one_are_a_lost_update() -> None:
    bank = Bank()
    first = bank.move(2, 1, Transfer(1, 2, 5))
    at = bank.accounts[1]
    second = bank.move(3, 2, Transfer(1, 3, 1))
    bank.accounts[1] = at
    third = bank.move(4, 2, Transfer(1, 3, 2))
    ledger = examined(bank, first, second, third)
    assert ledger.lost_updates == (LostUpdate(1, 2, (3, 4)),)
    assert "1 lost updates: transfers 3, 4 on top of 2 in account 1." in ledger.reasons
    assert ledger.wrong_balances == (WrongBalance(1, 42, 43),)


def test_a_commit_that_was_seen_and_that_a_crash_took_back_is_allowed() -> None:
    bank = Bank()
    early = tuple(bank.accounts.values())
    unknown = bank.move(2, 1, Transfer(1, 2, 5), Outcome.UNKNOWN)
    looks = (bank.look(101, 1.4, Account(1, 45, 2), Account(2, 35, 2)), bank.look(102, 2, *early))
    ledger = examined(bank, unknown, *looks, bank.move(3, 3, Transfer(1, 2, 6)), bank.look(103, 24))
    assert (ledger.vanished, ledger.verdict) == ((Write("transfer", 2),), Verdict.PASS)


def test_what_was_gone_and_is_seen_again_is_forked() -> None:
    bank = Bank()
    unknown = bank.move(2, 1, Transfer(1, 2, 5), Outcome.UNKNOWN)
    having = (Account(1, 45, 2), Account(2, 35, 2))
    ledger = examined(bank, unknown, bank.look(101, 2, *having), bank.look(102, 3), bank.look(103, 4, *having))
    assert ledger.forked_reads == (Anomaly("total", 103, "saw transfer 2 again after it was gone"),)


def test_nothing_that_stays_is_built_on_what_is_gone() -> None:
    bank = Bank()
    unknown = replace(bank.move(2, 1, Transfer(1, 2, 5)), outcome=Outcome.UNKNOWN)
    second = bank.move(3, 2, Transfer(1, 3, 1))
    del bank.rows[2]
    ledger = examined(bank, unknown, second)
    assert ledger.dirty_reads == (Anomaly("transfer", 3, "is there, and transfer 2 isn't, which it saw in account 1"),)


def test_without_a_final_read_the_reads_are_judged_by_what_was_acknowledged() -> None:
    bank = Bank()
    early = tuple(bank.accounts.values())
    unknown = replace(bank.move(2, 1, Transfer(1, 2, 5)), outcome=Outcome.UNKNOWN)
    moves = (unknown, bank.move(3, 2, Transfer(1, 3, 1)))
    ledger = check([*moves, bank.look(101, 3), bank.look(102, 4, *early)], None, FAULT, BEGINNING)
    assert ledger.stale_reads == (Anomaly("total", 102, "lacks transfer 3, which was acknowledged before"),)
    assert (ledger.vanished, ledger.lost_updates, ledger.dirty_reads) == ((), (), ())
    assert check([*moves, bank.look(101, 3)], None, FAULT, BEGINNING).verdict is Verdict.UNKNOWN


def test_a_transfer_that_the_journal_does_not_tell_the_end_of() -> None:
    """An interrupted drill's: what was made on top of it has no place that is known, and is no alarm."""
    bank = Bank()
    cut = replace(bank.move(2, 1, Transfer(1, 2, 5)), outcome=Outcome.UNKNOWN, seen=(), ended=instant(1))
    moves = (cut, bank.move(3, 2, Transfer(1, 3, 1)))
    ledger = check([*moves, bank.look(101, 3)], None, FAULT, BEGINNING)
    assert ledger.verdict is Verdict.UNKNOWN


def examined(bank: Bank, *operations: Operation, beginning: Mapping[int, int] = BEGINNING) -> Ledger:
    """Return the ledger of a history that ends with what the bank has, with an insert on both sides of the fault."""
    inserts = (operation("insert", 900, 0), operation("insert", 901, 90))
    accounts = tuple(bank.accounts.values())
    final = Final({900: 1, 901: 1}, bank.rows, accounts)
    return check([*inserts, *operations], final, FAULT, beginning)
