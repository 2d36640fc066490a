"""The statements of a drill: which ledger, which samples and which lab each is true of, false of, and silent about."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from outlive.base.clock import Instant
from outlive.base.errors import LabError, UnreachableError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict, of_error
from outlive.base.wait import StateNotReachedError
from outlive.drill import run
from outlive.drill.checker import Final, check
from outlive.drill.faults import KINDS, NfsAwayPowerOff, Target
from outlive.drill.history import Account, Operation, Outcome
from outlive.drill.lock_watch import Sample
from outlive.drill.recorder import Sighting
from outlive.drill.run import Drill
from outlive.drill.timeline import Gap, Moment, Timeline
from outlive.lab import objects
from outlive.lab.power import Machine
from outlive.lab.session import Lab
from outlive.report.model import Report, Run
from tests import samples
from tests.drill.stand_ins import DISK, HELD, HISTORY, Told, Watched, over
from tests.samples import instant
from verify.drills import conftest as drills
from verify.drills import test_drill as story
from verify.stories import Narrator, waits_for

WHOLE = {1: 1, 2: 1, 3: 1, 6: 1, 7: 1}
LEDGER = [
    lambda drill: story.test_no_acknowledged_write_was_lost(drill, print),
    story.test_nothing_appeared_that_was_never_written,
    story.test_nothing_was_written_twice,
    story.test_no_money_was_made_or_lost,
    story.test_each_balance_is_its_beginning_and_its_transfers,
    story.test_no_transfer_overwrote_another,
    story.test_reads_saw_only_what_was_committed,
    lambda drill: story.test_no_read_was_stale(drill, print),
    story.test_reads_agree_on_one_order,
    lambda drill: story.test_mysql_takes_writes_again(drill, print),
]


def drilled(final: dict[int, int] | None = None, operations: tuple[Operation, ...] = HISTORY, kind: str = "power-cut") -> Drill:
    """Return a drill with what its tables held at the end; without a final read where None."""
    before, after = objects.pod(samples.pod("u1", "n1")), objects.pod(samples.pod("u2", "n2"))
    found = over(before, after, operations, kind)
    found.ledger = check(operations, None if final is None else Final(final, {}), instant(10))
    return found


def verdict(statement: Callable[[Drill], object], drill: Drill) -> str:
    """Return the verdict that a statement comes to."""
    try:
        statement(drill)
    except (AssertionError, LabError) as error:
        return of_error(error).value
    return Verdict.PASS.value


@pytest.mark.parametrize(
    ("final", "verdicts"),
    [
        (WHOLE, ["pass"] * 10),
        (WHOLE | {4: 1}, ["pass"] * 10),
        ({1: 1, 2: 1, 6: 1, 7: 1}, ["fail", *["pass"] * 9]),
        (WHOLE | {5: 1}, ["pass", "fail", *["pass"] * 8]),
        (WHOLE | {3: 2}, ["pass", "pass", "fail", *["pass"] * 7]),
    ],
)
def test_statements_about_a_ledger(final: dict[int, int], verdicts: list[str]) -> None:
    assert [verdict(statement, drilled(final)) for statement in LEDGER] == verdicts


@pytest.mark.parametrize(
    ("field", "statement"),
    [
        ("wrong_balances", story.test_each_balance_is_its_beginning_and_its_transfers),
        ("lost_updates", story.test_no_transfer_overwrote_another),
        ("dirty_reads", story.test_reads_saw_only_what_was_committed),
        ("fractured_reads", story.test_reads_saw_only_what_was_committed),
        ("stale_reads", lambda drill: story.test_no_read_was_stale(drill, print)),
        ("forked_reads", story.test_reads_agree_on_one_order),
    ],
)
def test_each_anomaly_fails_its_statement(field: str, statement: Callable[[Drill], object]) -> None:
    found = drilled(WHOLE)
    assert found.ledger is not None
    found.ledger = replace(found.ledger, **{field: ("one",)})  # type: ignore[arg-type]  # what it is doesn't matter here
    assert verdict(statement, found) == "fail"


def test_a_recovery_that_was_not_seen_fails_its_own_statement_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = drilled()
    begun.ledger, begun.steady, begun.after, begun.damaged = None, None, None, None

    def course(*_: object, on_change: Callable[[Drill], object], **__: object) -> Drill:
        on_change(begun)
        raise StateNotReachedError("MySQL after a power cut of MySQL's node: wanted a committed write, last seen none")

    monkeypatch.setattr(run, "run", course)
    monkeypatch.setattr("outlive.drill.logs.collect", lambda *_: None)
    report = Report(Run("drill", instant(0)), tmp_path)
    found = drills._run(drills.Cell(KINDS["power-cut"], "default"), cast(Lab, None), report, Said(), None, None)
    assert [verdict(statement, found) for statement in LEDGER] == ["unknown"] * 9 + ["fail"]
    assert verdict(lambda drill: story.test_one_client_at_a_time_held_the_lock(drill, print), found) == "unknown"
    assert verdict(lambda drill: story.test_mysql_runs_on_another_node(drill, print), found) == "unknown"
    assert "wanted a committed write" in str(found.failure)


def test_without_a_write_before_the_fault_nothing_passes() -> None:
    late = drilled({6: 1, 7: 1}, HISTORY[5:])
    assert {verdict(statement, late) for statement in LEDGER} == {"unknown"}


def test_without_a_final_read_nothing_that_was_not_found_passes() -> None:
    """A total that was wrong on the way makes the ledger fail; it says nothing of the writes."""
    wrong = (*HISTORY, Operation(0, "total", 0, instant(42), instant(43), Outcome.OK, seen=(Account(1, 9990, 0),)))
    assert [verdict(statement, drilled(None, wrong)) for statement in LEDGER] == ["unknown"] * 3 + [
        "fail",
        "unknown",
        "unknown",
        "fail",
        *["unknown"] * 3,
    ]


@pytest.mark.parametrize(
    ("samples_", "silences", "expected"),
    [
        (HELD, (), "pass"),
        ((Sample(instant(9), ("192.0.2.11", "192.0.2.12")),), (), "fail"),
        (HELD[:-1], (), "unknown"),
        ((HELD[0], HELD[-1]), (), "unknown"),
        ((HELD[0], HELD[-1]), tuple(range(10, 60, 2)), "pass"),
        ((HELD[0], HELD[-1]), tuple(range(10, 30, 2)), "unknown"),
    ],
    ids=[
        "held all the time",
        "two holders",
        "nobody in the steady lab",
        "two samples far apart",
        "apart, and the server was down",
        "down for a part",
    ],
)
def test_the_lock_s_holders(samples_: tuple[Sample, ...], silences: tuple[float, ...], expected: str) -> None:
    found = drilled(WHOLE)
    found.sampler = Watched(*samples_, silences=[instant(at) for at in silences])
    assert verdict(lambda drill: story.test_one_client_at_a_time_held_the_lock(drill, print), found) == expected


@pytest.mark.parametrize(("damaged", "expected"), [((), "pass"), (("drill.numbers: error: Corrupt",), "fail"), (None, "unknown")])
def test_what_mysqld_says_of_its_tables(damaged: tuple[str, ...] | None, expected: str) -> None:
    found = drilled(WHOLE)
    found.damaged = damaged
    assert verdict(story.test_every_table_is_whole, found) == expected


@pytest.mark.parametrize(
    ("uid", "node", "moved", "stayed"),
    [("u2", "n2", "pass", "fail"), ("u1", "n1", "fail", "pass"), ("u2", "n1", "fail", "fail"), (None, "", "unknown", "unknown")],
    ids=["on another node", "the same pod", "a new pod on the same node", "not seen"],
)
def test_where_mysql_is_afterwards(uid: str | None, node: str, moved: str, stayed: str) -> None:
    found = drilled(WHOLE)
    found.after = objects.pod(samples.pod(uid, node)) if uid else None
    assert verdict(lambda drill: story.test_mysql_runs_on_another_node(drill, print), found) == moved
    assert verdict(lambda drill: story.test_mysql_stayed(drill, print), found) == stayed


WAITED = Moment("stranded", "never: its new pod has waited for the disk for 480 s", instant(20), "in use")


def ready(at: float) -> Sighting:
    """Return the news that the lost node is Ready."""
    return Sighting(instant(at), "MODIFIED", objects.node(samples.node("n1")))


@pytest.mark.parametrize(
    ("profile", "stranded", "news", "expected"),
    [
        ("default", WAITED, [ready(5), ready(35)], "pass"),
        ("default", WAITED, [ready(45)], "fail"),
        ("default", WAITED, [], "unknown"),
        ("default", None, [ready(35)], "fail"),
        ("fenced", WAITED, [ready(35)], "fail"),
        ("fenced", None, [ready(35)], "pass"),
    ],
    ids=[
        "kept, and waited for",
        "written before the node was back",
        "the node's return wasn't seen",
        "written elsewhere although kept",
        "waited for although given away",
        "given away",
    ],
)
def test_a_disk_that_its_lost_node_keeps(profile: str, stranded: Moment | None, news: list[Sighting], expected: str) -> None:
    found = drilled(WHOLE)
    late = Sighting(instant(36), "MODIFIED", objects.pod(samples.pod("u1", running=False, deleted=True)))
    found.data, found.profile, found.stranded = DISK, profile, stranded
    found.recorder = Told(sightings=[*news, late] if stranded else news)
    assert verdict(lambda drill: story.test_mysql_takes_writes_again(drill, print), found) == expected


@pytest.mark.parametrize("state", [{"phase": "Failed"}, {"deleted": True}], ids=["ended", "evicted, and seen ended"])
@pytest.mark.parametrize(("stranded", "expected"), [(None, "pass"), (WAITED, "fail")])
def test_a_node_whose_kubelet_ended_the_pod_keeps_no_disk(state: dict[str, Any], stranded: Moment | None, expected: str) -> None:
    found = drilled(WHOLE, kind="power-off")
    ended = Sighting(instant(12), "MODIFIED", objects.pod(samples.pod("u1", running=False, **state)))
    found.data, found.stranded, found.recorder = DISK, stranded, Told(sightings=[ended])
    assert verdict(lambda drill: story.test_mysql_takes_writes_again(drill, print), found) == expected


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [((), "pass"), ((Gap(-9, -1),), "pass"), ((Gap(40, 45),), "pass"), ((Gap(20, 25),), "unknown"), ((Gap(-1, 2),), "unknown")],
    ids=["none", "before the fault", "after the recovery", "between", "over the fault"],
)
def test_gaps_in_the_record(gaps: tuple[Gap, ...], expected: str) -> None:
    found = drilled(WHOLE)
    found.recorder = Told(*gaps)
    assert verdict(story.test_nodes_and_pods_were_watched_all_the_time, found) == expected


def collected(*options: str) -> list[str]:
    """Collect the drills' tests under options; return their ids and what pytest complained of."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "verify/drills", "-m", "drills", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return [line.partition("::")[2] or line for line in (*done.stdout.splitlines(), *done.stderr.splitlines())]


def test_a_fault_makes_only_its_own_statements() -> None:
    told = collected("--fault", "power-cut", "--fault", "cut-api", "--profile", "fenced")
    assert "test_mysql_runs_on_another_node[power-cut-fenced]" in told
    assert "test_mysql_stayed[cut-api-fenced]" in told
    assert not {"test_mysql_stayed[power-cut-fenced]", "test_mysql_runs_on_another_node[cut-api-fenced]"} & set(told)


def test_who_stands_by_may_take_over_from_a_mysqld_that_ended() -> None:
    told = collected("--fault", "mysqld-kill", "--fault", "kubelet-stop", "--profile", "fenced", "--profile", "standby")
    stayed = {each for each in told if each.startswith("test_mysql_stayed")}
    assert stayed == {f"test_mysql_stayed[{each}]" for each in ("mysqld-kill-fenced", "kubelet-stop-fenced", "kubelet-stop-standby")}


def test_drills_are_repeated_in_rounds_over_the_faults() -> None:
    told = collected("--fault", "mysqld-kill", "--fault", "power-cut", "--profile", "tuned", "--times", "2")
    cells = dict.fromkeys(line.partition("[")[2].rstrip("]") for line in told if line.startswith("test_"))
    assert list(cells) == ["mysqld-kill-tuned", "power-cut-tuned", "mysqld-kill-tuned#2", "power-cut-tuned#2"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--fault", "earthquake"), "--fault is 'earthquake', which isn't known: choose one of power-off, power-cut, "),
        (("--profile", "swift"), "--profile is 'swift', which isn't known: choose one of default, tuned, fenced, standby"),
        (("--times", "0"), "--times is 0, and a drill is run once at least"),
    ],
)
def test_wrong_words(options: tuple[str, ...], sentence: str) -> None:
    assert any(sentence in line for line in collected(*options))


class Said(Narrator):
    """A narrator that remembers."""

    def __init__(self) -> None:
        """Nothing is said yet."""
        self.lines: list[str] = []
        self._told: set[tuple[str, Instant, str]] = set()

    def say(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


def interrupted_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, course: Callable[..., Drill]) -> list[str]:
    """Run a drill whose course is a stand-in that is interrupted; return what was said."""
    narrator = Said()
    monkeypatch.setattr(run, "run", course)
    monkeypatch.setattr("outlive.drill.logs.collect", lambda *_: None)
    report = Report(Run("drill", instant(0)), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        drills._run(drills.Cell(KINDS["freeze"], "default"), cast(Lab, None), report, narrator, None, None)
    return narrator.lines


def test_an_interrupted_drill_says_that_it_is_healed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def course(*_: object, **__: object) -> Drill:
        raise KeyboardInterrupt

    (said,) = interrupted_drill(tmp_path, monkeypatch, course)
    assert said.startswith("interrupted: the fault is healed; the lab has the recovery profile default; what was seen lies in")


def test_an_interruption_is_not_lost_where_the_healing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the matrix would go on with its next drill."""

    def course(*_: object, **__: object) -> Drill:
        try:
            raise KeyboardInterrupt
        finally:
            try:
                raise UnreachableError("ssh to n1 failed")
            except UnreachableError as error:
                raise LabError("n1 has no clock") from error

    (said,) = interrupted_drill(tmp_path, monkeypatch, course)
    assert "interrupted: not all was made whole again (n1 has no clock), the next drill says" in said


def test_moments_are_told_as_they_are_seen_once_and_with_what_to_expect() -> None:
    narrator, found = Said(), drilled(WHOLE)
    assert narrator.tell(found.timeline())
    assert narrator.lines[0].startswith("     0.0 s  fault injected  a power cut of MySQL's node")
    assert not narrator.tell(found.timeline())
    # The same drill in another round.
    assert narrator.tell(replace(found.timeline(), origin=instant(400)))
    gone = Timeline("Fail-over", instant(0), (Moment("not_ready", "n1 NotReady", instant(45), "NotReady"),))
    pod = objects.pod(samples.pod())
    narrator.tell(gone, waits_for(replace(pod, tolerations=({"key": "node.kubernetes.io/unreachable", "tolerationSeconds": 300},))))
    assert narrator.lines[-1].strip() == f"Kubernetes now waits 300 s before it gives {pod.name} up and makes another one"
    narrator.tell(replace(gone, title="Another"), waits_for(replace(pod, tolerations=())))
    assert "waits" not in narrator.lines[-1]


@pytest.mark.parametrize(
    ("seconds", "late", "expected"), [(97.0, False, "pass"), (121.0, False, "fail"), (None, True, "fail"), (None, False, "unknown")]
)
def test_a_node_that_was_ordered_off_has_two_minutes(seconds: float | None, late: bool, expected: str) -> None:
    """One that wasn't seen off in time, and of which nobody saw when it was, has failed too; without either nothing is known."""
    found = drilled(kind="nfs-away-power-off")
    fault = NfsAwayPowerOff(cast(Target, None), cast(Machine, None))
    fault.ordered = instant(10)
    fault.effect = None if seconds is None else instant(10 + seconds)
    found.fault = fault
    found.failure = StateNotReachedError("VM of n1: wanted off") if late else None
    assert verdict(lambda drill: story.test_node_was_off_in_time(drill, print), found) == expected
