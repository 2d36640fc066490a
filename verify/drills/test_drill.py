"""One thing is broken under load: what became of every write that MySQL acknowledged, and of the lab.

A drill is told once, by the fixture; each test verifies one statement of it. Where evidence is missing, what wasn't found is no pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from outlive.base.errors import LabError
from outlive.drill import lock_watch
from outlive.drill.checker import Ledger
from outlive.drill.faults import NfsAwayPowerOff
from outlive.drill.run import Drill
from outlive.lab.power import OFF_WITHIN

pytestmark = pytest.mark.usefixtures("two_workers")

Remark = Callable[[object], None]


def ledger_of(drill: Drill, found: Callable[[Ledger], Sequence[object]]) -> Ledger:
    """Return a drill's ledger where it says that nothing of a kind was found, and where that is borne out."""
    ledger = drill.ledger
    if ledger is None:
        raise LabError("The drill has no ledger.")
    assert not found(ledger), " ".join(ledger.reasons)
    if ledger.missing:
        raise LabError(" ".join(ledger.missing))
    return ledger


def test_no_acknowledged_write_was_lost(drill: Drill, remark: Remark) -> None:
    """No acknowledged write was lost."""
    ledger = ledger_of(drill, lambda ledger: ledger.lost)
    remark(f"{ledger.acknowledged} acknowledged, {ledger.failed} failed, {ledger.unknown} unknown, {len(ledger.recovered)} of these found")


def test_nothing_appeared_that_was_never_written(drill: Drill) -> None:
    """No write appeared that was never made or had failed."""
    ledger_of(drill, lambda ledger: ledger.unexpected)


def test_nothing_was_written_twice(drill: Drill) -> None:
    """No write was there twice."""
    ledger_of(drill, lambda ledger: ledger.duplicated)


def test_no_money_was_made_or_lost(drill: Drill) -> None:
    """No money was made or lost by transfers."""
    ledger_of(drill, lambda ledger: ledger.wrong_totals)


def test_each_balance_is_its_beginning_and_its_transfers(drill: Drill) -> None:
    """Each account's balance at the end is its beginning and its transfers."""
    ledger_of(drill, lambda ledger: ledger.wrong_balances)


def test_no_transfer_overwrote_another(drill: Drill) -> None:
    """No transfer overwrote another's update of an account (lost update)."""
    ledger_of(drill, lambda ledger: ledger.lost_updates)


def test_reads_saw_only_what_was_committed(drill: Drill) -> None:
    """No read saw a transfer that wasn't committed, or a part of one (dirty and fractured read)."""
    ledger_of(drill, lambda ledger: (*ledger.dirty_reads, *ledger.fractured_reads))


def test_no_read_was_stale(drill: Drill, remark: Remark) -> None:
    """No read missed a transfer that was acknowledged before it began (stale read)."""
    remark(f"{ledger_of(drill, lambda ledger: ledger.stale_reads).reads} reads of all balances")


def test_reads_agree_on_one_order(drill: Drill) -> None:
    """All reads agree on one order of the transfers (no long fork)."""
    ledger_of(drill, lambda ledger: ledger.forked_reads)


def test_mysql_takes_writes_again(drill: Drill, remark: Remark) -> None:
    """MySQL took writes again, and the lab is steady; from a disk that the lost node keeps only when that was back."""
    if drill.failure is not None:
        raise drill.failure
    ledger_of(drill, lambda _: ())
    recovery = drill.timeline().seconds("first_write")
    if recovery is None or drill.steady is None:
        raise LabError("No write was committed after the fault's effect, or the lab wasn't seen steady.")
    if drill.node_keeps_disk:
        assert drill.stranded, f"MySQL wrote {recovery:.1f} s after the fault, to a disk that {drill.pod.node} keeps, which was away"
        returned, first = drill.returned(), drill.recovered()
        if returned is None or first is None:
            raise LabError(f"{drill.pod.node} wasn't seen Ready again, so whether MySQL waited for that isn't known.")
        assert first.ended > returned, f"MySQL wrote {returned.since(first.ended):.1f} s before {drill.pod.node} was Ready again"
        remark(f"{drill.stranded.title}; {drill.stranded.detail}")
    else:
        assert drill.stranded is None, f"{drill.stranded.title}; {drill.stranded.detail}"
    remark(f"first committed write {recovery:.1f} s after the fault")


def test_one_client_at_a_time_held_the_lock(drill: Drill, remark: Remark) -> None:
    """In no sample could two nodes write: two held InnoDB's lock on NFS, or had a session with MySQL's disk and weren't turned away."""
    double = lock_watch.doubles(drill.sampler.samples())
    assert not double, f"two holders first at {double[0].at.wall:%H:%M:%S} UTC: {', '.join(double[0].holders)}"
    watch = drill.lock_watch()
    if watch.missing:
        raise LabError(f"Two holders at once can't be ruled out ({watch}): {watch.missing}.")
    remark(watch)


def test_every_table_is_whole(drill: Drill) -> None:
    """Mysqld's own check finds every table whole."""
    if drill.damaged is None:
        raise LabError("mysqld's own check of the tables gave no answer.")
    assert not drill.damaged, "; ".join(drill.damaged)


@pytest.mark.of_faults_that("moves")
def test_mysql_runs_on_another_node(drill: Drill, remark: Remark) -> None:
    """MySQL runs on another node than before, in another pod."""
    if drill.after is None:
        raise LabError("MySQL's pod wasn't seen in a steady lab.")
    assert drill.after.uid != drill.pod.uid, f"it is the same pod, {drill.after.name} on {drill.after.node}"
    assert drill.after.node != drill.pod.node, f"{drill.after.name} runs on {drill.after.node}, as {drill.pod.name} did"
    remark(f"{drill.pod.name} on {drill.pod.node}, then {drill.after.name} on {drill.after.node}")


@pytest.mark.of_faults_that("bounded")
def test_node_was_off_in_time(drill: Drill, remark: Remark) -> None:
    """The node was off within two minutes of its power-off, while the NFS server was still away."""
    if drill.fault.effect is None and drill.failure is not None:
        raise drill.failure
    assert isinstance(drill.fault, NfsAwayPowerOff)
    seconds = drill.fault.seconds
    if seconds is None:
        raise LabError("The node wasn't seen off.")
    assert seconds <= OFF_WITHIN, f"{drill.pod.node} was off {seconds:.1f} s after `systemctl poweroff`, and has {OFF_WITHIN:.0f} s"
    cut = any(moment.key == "fence_cut" for moment in drill.notes)
    remark(f"{drill.pod.node} off after {seconds:.1f} s{', by the watcher, which cut its power' if cut else ''}")


@pytest.mark.of_faults_that("stays")
def test_mysql_stayed(drill: Drill, remark: Remark) -> None:
    """MySQL's pod stayed where it was."""
    if drill.after is None:
        raise LabError("MySQL's pod wasn't seen in a steady lab.")
    assert drill.after.uid == drill.pod.uid, f"{drill.pod.name} on {drill.pod.node} became {drill.after.name} on {drill.after.node}"
    remark(f"{drill.after.name} on {drill.after.node}")


@pytest.mark.of_faults_that("spares_server")
def test_nodes_and_pods_were_watched_all_the_time(drill: Drill) -> None:
    """Nodes and pods were watched without a gap from the fault to the first committed write, so its moments are the real ones."""
    timeline = drill.timeline()
    hole = timeline.unwatched(timeline.seconds("first_write") or timeline.total)
    if hole:
        raise LabError(hole)
