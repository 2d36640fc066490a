"""A drill's own part: who may start one, what its timeline says, and how its evidence is taken."""

from __future__ import annotations

import signal
from typing import cast

import pytest

from outlive.base.errors import LabError
from outlive.base.process import interrupt_by
from outlive.base.wait import SilenceError
from outlive.drill import run
from outlive.drill.checker import Final, check
from outlive.drill.faults import KINDS, Target, heal
from outlive.drill.history import Operation, Outcome
from outlive.drill.run import Drill
from outlive.drill.workload import Workload
from outlive.lab import objects
from tests import samples
from tests.drill.stand_ins import HISTORY, Broken, over, write
from tests.samples import instant


def seen(operations: tuple[Operation, ...] = HISTORY) -> Drill:
    pod = objects.pod(samples.pod())
    return over(pod, pod, operations)


def test_moments_of_a_drill() -> None:
    timeline = seen().timeline()
    assert [(moment.key, round(moment.at.since(timeline.origin), 3)) for moment in timeline.moments] == [
        ("fault", 0.0),
        ("last_write", 0.4),
        ("effect", 1.0),
        ("first_write", 31.0),
        ("healed", 40.0),
        ("steady", 50.0),
    ]


def test_parts_add_up_to_the_whole() -> None:
    timeline = seen().timeline()
    assert sum(phase.seconds for phase in timeline.phases()) == pytest.approx(timeline.total)


def test_stretches_with_and_without_writes() -> None:
    spans = [(round(span.start, 1), round(span.end, 1), span.answered) for span in run.write_spans(HISTORY, instant(10))]
    assert spans == [(0.0, 0.4, True), (0.4, 31.0, False), (31.0, 31.5, True)]


def test_silence_that_is_over_before_the_fault_is_no_stretch_of_the_timeline() -> None:
    slow = (write(8, 1, 4), *HISTORY)
    assert run.write_spans(slow, instant(10))[0].start == 0.0


def test_a_write_under_way_is_no_failure() -> None:
    assert run.last_before_gap((*HISTORY[:3], write(4, 10.5, 10.5, Outcome.UNKNOWN)), instant(10)) is None
    last = run.last_before_gap(HISTORY, instant(10))
    assert last is not None and last.value == 3


def test_a_write_under_way_at_the_fault_is_not_the_recovery() -> None:
    late = (*HISTORY[:3], write(4, 10.9, 12))
    assert seen(late).recovered() is None


@pytest.mark.parametrize("silent", ["final_read", "check_tables"])
def test_an_answer_that_does_not_come_takes_no_other_away(silent: str) -> None:
    class Asked:
        def final_read(self) -> Final:
            self.answer("final_read")
            return Final({1: 1}, {})

        def check_tables(self) -> tuple[str, ...]:
            self.answer("check_tables")
            return ("drill.numbers: error: Corrupt",)

        def answer(self, name: str) -> None:
            if name == silent:
                raise SilenceError(f"{name}: no answer")

    final, damaged = run.last_evidence(cast(Workload, Asked()))
    assert (final is None) is (silent == "final_read")
    assert (damaged is None) is (silent == "check_tables")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruptions_of_the_healing_wait_for_its_end(number: signal.Signals) -> None:
    """What fails while one comes may have been given the Ctrl-C too: it is done again."""
    before = signal.signal(signal.SIGTERM, interrupt_by)
    healed: list[str] = []

    class Slow(Broken):
        def heal(self) -> None:
            healed.append("begun")
            if len(healed) < 4:
                signal.raise_signal(number)
                raise LabError("virsh ended with status -2")
            healed.append("done")

    try:
        with pytest.raises(KeyboardInterrupt):
            heal(Slow())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert healed == ["begun"] * 4 + ["done"]


def test_a_healing_that_fails_by_itself_is_not_repeated_and_loses_no_interruption() -> None:
    healed: list[str] = []

    class Broke(Broken):
        def heal(self) -> None:
            healed.append("begun")
            if len(healed) == 1:
                signal.raise_signal(signal.SIGINT)
            raise LabError("no such domain")

    with pytest.raises(KeyboardInterrupt) as caught:
        heal(Broke())
    assert str(caught.value.__context__) == "no such domain"
    assert healed == ["begun"] * 2


def test_faults_can_all_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target.__new__(Target)
    for name in ("pod", "machine", "server", "server_address", "export", "cluster", "remote", "clock"):
        object.__setattr__(target, name, type("Any", (), {"name": "n1"})())
    for kind in KINDS.values():
        fault = kind.make(target)
        fault.heal()  # nothing was broken, nothing is touched
        assert fault.issued is None


def test_a_drill_that_was_cut_short_names_no_number_of_losses() -> None:
    """None that was found is no finding where nobody could look."""
    words = run.ledger_in_words(seen())
    assert (words["acknowledged, but lost"], words["lost updates"], words["acknowledged"]) == ("unknown", "unknown", 5)
    whole = seen()
    whole.ledger = check(HISTORY, Final({1: 1, 2: 1, 6: 1, 7: 1}, {}), instant(10))
    assert (run.ledger_in_words(whole)["acknowledged, but lost"], run.ledger_in_words(whole)["found unexpectedly"]) == (1, 0)
