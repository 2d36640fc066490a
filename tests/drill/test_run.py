"""A drill's own part: who may start one, what its timeline says, and what a ledger is worth."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import yaml

from outlive.base.clock import Instant
from outlive.base.errors import INTERRUPTED, LabError, UnreachableError
from outlive.base.verdict import Verdict
from outlive.base.wait import WaitTimeoutError
from outlive.drill import command as program
from outlive.drill import matrix_command as matrix
from outlive.drill import run
from outlive.drill.checker import Final, check
from outlive.drill.faults import KINDS, Target, heal, named
from outlive.drill.history import Operation, Outcome
from outlive.drill.lock_watch import Sample
from outlive.drill.run import Drill
from outlive.drill.workload import Workload
from outlive.lab import inventory, objects
from outlive.lab.session import Lab
from outlive.report.model import Report, Run
from tests import samples
from tests.samples import instant


class Broken:
    """A fault that was injected at 10 s and seen at 11 s."""

    issued: Instant | None = instant(10)
    effect: Instant | None = instant(11)

    def inject(self) -> None:
        """Do nothing."""

    def heal(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Drilled:
    """A drill that was run, as far as the matrix asks."""

    verdict: Verdict


def write(value: int, begun: float, ended: float, outcome: Outcome = Outcome.OK) -> Operation:
    return Operation(0, "insert", value, instant(begun), instant(ended), outcome)


HISTORY = (
    write(1, 8, 8.5),
    write(2, 9, 9.5),
    write(3, 10.1, 10.4),
    write(4, 10.8, 15.8, Outcome.UNKNOWN),
    write(5, 16, 19, Outcome.FAIL),
    write(6, 40, 41),
    write(7, 41.2, 41.5),
)


def seen(operations: tuple[Operation, ...] = HISTORY) -> Drill:
    pod = objects.pod(samples.pod())
    held = (Sample(instant(9), ("192.0.2.11",)), Sample(instant(65), ("192.0.2.12",)))
    return Drill(
        KINDS["power-cut"], "default", pod, Broken(), lambda: operations, lambda: (), lambda: held, instant(50), instant(60), pod, ()
    )


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


@pytest.mark.parametrize(
    ("final", "verdicts"),
    [
        ({1: 1, 2: 1, 3: 1, 6: 1, 7: 1}, ["pass"] * 7),
        ({1: 1, 2: 1, 3: 1, 4: 1, 6: 1, 7: 1}, ["pass"] * 7),
        ({1: 1, 2: 1, 6: 1, 7: 1}, ["fail", *["pass"] * 6]),
        ({1: 1, 2: 1, 3: 1, 5: 1, 6: 1, 7: 1}, ["pass", "fail", *["pass"] * 5]),
        ({1: 1, 2: 1, 3: 2, 6: 1, 7: 1}, ["pass", "pass", "fail", *["pass"] * 4]),
    ],
)
def test_statements_about_a_ledger(final: dict[int, int], verdicts: list[str]) -> None:
    found = seen()
    found.ledger = check(HISTORY, Final(final, {}, 10000), 10000, instant(10))
    assert [each.verdict.value for each in program.statements(found)] == verdicts


def test_without_a_write_before_the_fault_nothing_passes() -> None:
    late = HISTORY[5:]
    found = seen(late)
    found.ledger = check(late, Final({6: 1, 7: 1}, {}, 10000), 10000, instant(10))
    assert {each.verdict for each in program.statements(found) if each.name not in ("split-brain", "whole")} == {Verdict.UNKNOWN}


def test_without_a_final_read_nothing_that_was_not_found_passes() -> None:
    """A total that was wrong on the way makes the ledger fail; it says nothing of the writes."""
    wrong = (*HISTORY, Operation(0, "total", 0, instant(42), instant(43), Outcome.OK, result=9990))
    found = seen(wrong)
    found.ledger = check(wrong, None, 10000, instant(10))
    verdicts = {each.name: each.verdict.value for each in program.statements(found)}
    assert verdicts["total"] == "fail"
    assert {verdicts[name] for name in ("lost", "unexpected", "duplicated", "recovered")} == {"unknown"}


@pytest.mark.parametrize("silent", ["final_read", "check_tables"])
def test_an_answer_that_does_not_come_takes_no_other_away(silent: str) -> None:
    class Asked:
        def final_read(self) -> Final:
            self.answer("final_read")
            return Final({1: 1}, {}, 10000)

        def check_tables(self) -> tuple[str, ...]:
            self.answer("check_tables")
            return ("drill.numbers: error: Corrupt",)

        def answer(self, name: str) -> None:
            if name == silent:
                raise WaitTimeoutError(f"{name}: no answer")

    final, damaged = run.last_evidence(cast(Workload, Asked()))
    assert (final is None) is (silent == "final_read")
    assert (damaged is None) is (silent == "check_tables")


def test_two_holders_of_the_lock_fail_and_no_sample_is_unknown() -> None:
    found = seen()
    found.ledger = check(HISTORY, Final({1: 1, 2: 1, 3: 1, 6: 1, 7: 1}, {}, 10000), 10000, instant(10))
    found.locks = lambda: (Sample(instant(9), ("192.0.2.11", "192.0.2.12")),)
    assert program.statements(found)[5].verdict is Verdict.FAIL
    found.locks = lambda: (Sample(instant(9), ("192.0.2.11",)), Sample(instant(59), ("192.0.2.12",)))
    unseen = program.statements(found)[5]
    assert unseen.verdict is Verdict.UNKNOWN
    assert unseen.message == "2 samples, at most 50 s apart, and nobody seen to hold it both before the fault and after the healing"


@pytest.mark.parametrize(("damaged", "verdict"), [((), "pass"), (("drill.numbers: error: Corrupt",), "fail"), (None, "unknown")])
def test_what_mysqld_says_of_its_tables(damaged: tuple[str, ...] | None, verdict: str) -> None:
    found = seen()
    found.ledger = check(HISTORY, Final({1: 1, 2: 1, 3: 1, 6: 1, 7: 1}, {}, 10000), 10000, instant(10))
    found.damaged = damaged
    assert program.statements(found)[6].verdict.value == verdict


@pytest.mark.parametrize(("uid", "verdict"), [("u1", "pass"), ("u2", "fail"), (None, "unknown")])
def test_a_pod_that_moved_though_nothing_may(uid: str | None, verdict: str) -> None:
    found = seen()
    found.ledger = check(HISTORY, Final({1: 1, 2: 1, 3: 1, 6: 1, 7: 1}, {}, 10000), 10000, instant(10))
    found.kind = KINDS["cut-api"]
    found.after = objects.pod(samples.pod(uid)) if uid else None
    stayed = program.statements(found)[-1]
    assert (stayed.name, stayed.verdict.value) == ("stayed", verdict)


@pytest.mark.parametrize(
    ("before", "profile", "playbook"),
    [("default", "fenced", "tutorial"), ("default", "tuned", "profile"), ("", "default", "profile"), ("default", "other", "profile")],
)
def test_machines_are_left_out_where_nothing_changes_there(before: str, profile: str, playbook: str) -> None:
    lab = inventory.load()
    assert program._playbook(lab, before, profile) == f"playbooks/{playbook}.yml"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_drill_once_and_says_what_it_waits_for(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        program.end_on_signals()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)  # the healing goes on
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert "what is broken is healed first" in capsys.readouterr().err


@pytest.mark.parametrize("command", [program.main, matrix.main], ids=["drill", "drills"])
def test_an_interruption_while_a_profile_is_applied_is_no_traceback(
    command: Callable[[list[str]], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("OUTLIVE_REPORTS", str(tmp_path))
    monkeypatch.setattr(program, "end_on_signals", lambda: None)
    monkeypatch.setattr(program, "applied_profile", lambda: "default")
    monkeypatch.setattr(program, "one", interrupted)
    assert command(["--fault", "power-cut"] if command is program.main else []) == INTERRUPTED


def interrupted_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Drill]) -> Report:
    """Run a drill whose course is a stand-in that is interrupted; return its report."""
    report = Report(Run("drill", instant(0)), tmp_path)
    monkeypatch.setattr(run, "run", run)
    monkeypatch.setattr("outlive.drill.logs.collect", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        program._drill(report, cast(Lab, None), KINDS["freeze"], "default", None, None)
    return report


def test_an_interrupted_drill_says_that_it_is_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object, **__: object) -> Drill:
        raise KeyboardInterrupt

    report = interrupted_drill(tmp_path, monkeypatch, run)
    assert report.run.interrupted
    assert capsys.readouterr().err.startswith("interrupted: the fault is healed; the lab has the recovery profile default; what was seen")


def test_an_interruption_is_not_lost_where_the_healing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the matrix would go on with its next drill, and heed no signal any more."""

    def run(*_: object, **__: object) -> Drill:
        try:
            raise KeyboardInterrupt
        finally:
            try:
                raise UnreachableError("ssh to n1 failed")
            except UnreachableError as error:
                raise LabError("n1 has no clock") from error

    report = interrupted_drill(tmp_path, monkeypatch, run)
    assert report.run.interrupted
    assert not report.run.checks
    assert "interrupted: not all was made whole again (n1 has no clock), the next drill says" in capsys.readouterr().err


def run_matrix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *options: str) -> tuple[int, list[str]]:
    """Run the matrix of drills with a stand-in for each drill; return the exit status and the drills, in their order."""
    ran: list[str] = []

    def one(fault: str, profile: str, *, apply: bool) -> Drilled:
        assert apply
        ran.append(f"{profile} {fault}")
        return Drilled(Verdict.PASS)

    monkeypatch.setenv("OUTLIVE_REPORTS", str(tmp_path))
    monkeypatch.setattr(program, "end_on_signals", lambda: None)
    monkeypatch.setattr(program, "applied_profile", lambda: "default")
    monkeypatch.setattr(program, "apply_profile", lambda _: None)
    monkeypatch.setattr(program, "one", one)
    return matrix.main(list(options)), ran


def test_drills_are_repeated_in_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, ran = run_matrix(monkeypatch, tmp_path, "--faults", "mysqld-kill,power-cut", "--profiles", "tuned", "--times", "2")
    assert status == 0
    assert ran == ["tuned mysqld-kill", "tuned power-cut"] * 2


@pytest.mark.parametrize("times", ["0", "-1", "often", "1.5", ""])
def test_no_number_of_times(times: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_matrix(monkeypatch, tmp_path, f"--times={times}") == (1, [])
    said = f"error: TIMES is {times!r}, and a drill is run a whole number of times, once at least: leave it out for 1, or set it to 3\n"
    assert capsys.readouterr().err == said


def test_a_profile_that_is_being_applied_has_no_name() -> None:
    """Cut short, the settings of two profiles are mixed: only a lab whose profile is unknown gets all of one's again."""
    plays = yaml.safe_load((inventory.ROOT / "playbooks/profile.yml").read_text(encoding="utf-8"))
    roles = [play["tasks"][0]["ansible.builtin.import_role"] if "tasks" in play else {"name": play["roles"][0]} for play in plays]
    assert roles[1] == {"name": "storage_tutorial", "tasks_from": "forget_profile"}
    assert roles[-1] == {"name": "storage_tutorial"}


def test_an_interruption_of_the_healing_waits_for_its_end() -> None:
    healed: list[str] = []

    class Slow(Broken):
        def heal(self) -> None:
            healed.append("begun")
            if len(healed) == 1:
                raise KeyboardInterrupt
            healed.append("done")

    with pytest.raises(KeyboardInterrupt):
        heal(Slow())
    assert healed == ["begun", "begun", "done"]


def test_an_unknown_fault() -> None:
    with pytest.raises(LabError, match="FAULT is 'earthquake', which isn't known: set it to one of power-off, power-cut, "):
        named("earthquake")


def test_a_profile_that_is_not_applied() -> None:
    with pytest.raises(LabError, match="PROFILE is 'tuned', and the lab has 'default': apply it with `ansible-playbook"):
        run.check_profile("default", "tuned")


def test_an_unknown_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--fault", "power-cut", "--profile", "swift"]) == 1
    assert "PROFILE is 'swift', which isn't known: set it to one of default, tuned, fenced" in capsys.readouterr().err


def test_a_second_drill_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with run.alone(lock), pytest.raises(LabError, match="Another drill runs on this lab"), run.alone(lock):
        pass
    with run.alone(lock):
        pass


def test_faults_can_all_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target.__new__(Target)
    for name in ("pod", "machine", "server", "server_address", "export", "cluster", "remote", "clock"):
        object.__setattr__(target, name, type("Any", (), {"name": "n1"})())
    for kind in KINDS.values():
        fault = kind.make(target)
        fault.heal()  # nothing was broken, nothing is touched
        assert fault.issued is None
