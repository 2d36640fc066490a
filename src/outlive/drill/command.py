"""Run drills on a lab: ``python -m outlive.drill.command --fault power-cut --profile fenced``; ``outlive drill`` and ``outlive drills`` call it.

Each drill leaves a report of its own in ``reports/``: JSON, JUnit, one HTML page, and the history of every operation.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import EXIT_INTERRUPTED as INTERRUPTED
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict, of_error
from outlive.base.wait import WaitTimeoutError
from outlive.drill import checker, lock_watch, logs, run
from outlive.drill.faults import KINDS, Kind, named
from outlive.drill.fencing import WatcherProcess as Watcher
from outlive.drill.run import Drill
from outlive.drill.workload import EXPECTED_TOTAL
from outlive.lab import environment, inventory, kube, mysql, playbook, steady
from outlive.lab.inventory import Inventory
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from outlive.report.model import REPORTS, Check, Report, Run

PROFILES = ("default", "tuned", "fenced")
SILENCE = 5.0
"""Seconds without an acknowledged write of any client that the ledger names; a client asks several times a second."""
STATEMENTS = 7
"""Checks that every drill makes of its ledger and its recovery; a fault that may move nothing has one more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one drill; return the exit status: 0 only where every check passed."""
    parser = argparse.ArgumentParser(prog="python -m outlive.drill.command", description=__doc__)
    parser.add_argument("--fault", required=True, help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--profile", default="default", help=f"one of {', '.join(PROFILES)}; it has to be applied")
    parser.add_argument("--apply", action="store_true", help="apply the profile first where it isn't the lab's")
    parser.add_argument("--node", help="node that must run MySQL")
    options = parser.parse_args(arguments)
    end_on_signals()
    try:
        return 0 if one(options.fault, options.profile, options.node, apply=options.apply).verdict is Verdict.PASS else 1
    except (LabError, WaitTimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def one(fault: str, profile: str, node: str | None = None, *, apply: bool = False) -> Run:
    """Run one drill and return its run; its report is written as far as it came.

    Raises:
        LabError: the lab isn't what the drill needs; nothing was touched.
    """
    kind = named(fault)
    known_profile(profile)
    with ExitStack() as stack:
        stack.enter_context(run.alone())
        lab = inventory.load()
        remote = Remote(lab)
        stack.callback(remote.close)
        stage = Lab(lab, kube.connect(), remote)
        run.target_of(stage, node)  # nothing is applied to a lab that the drill can't run on
        if apply and _apply(stage, profile):
            run.target_of(stage, node)  # MySQL may have moved
        run.check_profile(stage.cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT).profile, profile)
        report = Report(
            Run(f"drill-{kind.name}-{profile}", HOST_CLOCK.now(), planned=STATEMENTS + kind.stays),
            Path(os.environ.get("OUTLIVE_REPORTS") or ROOT / REPORTS),
        )
        report.write()
        _describe(report.run, stage)
        print(f"drill: {kind.title}, profile {profile}", flush=True)
        watcher = stack.enter_context(Watcher(report.folder / "fence.jsonl", stage.workers)) if profile == "fenced" else None
        _drill(report, stage, kind, profile, node, watcher)
        return report.run


def applied_profile() -> str:
    """Return the name of the lab's recovery profile.

    Raises:
        LabError: the lab doesn't answer, or MySQL isn't deployed.
    """
    return kube.connect().deployment(mysql.NAMESPACE, mysql.DEPLOYMENT).profile


def apply_profile(profile: str) -> None:
    """Apply a recovery profile, where it isn't the lab's already.

    Raises:
        LabError: the lab isn't steady, or the playbook failed.
    """
    with ExitStack() as stack:
        stack.enter_context(run.alone())
        lab = inventory.load()
        remote = Remote(lab)
        stack.callback(remote.close)
        _apply(Lab(lab, kube.connect(), remote), profile)


def _drill(report: Report, stage: Lab, kind: Kind, profile: str, node: str | None, watcher: Watcher | None) -> None:
    told: set[str] = set()
    begun: list[Drill] = []

    def keep(seen: Drill) -> None:
        """Write down what was seen so far, and print what is new."""
        if seen.fault.issued is None:
            return
        begun[:] = [seen]
        seen.notes = watcher.moments(seen.pod.node, seen.fault.issued) if watcher else []
        timeline = seen.timeline()
        news = [moment for moment in timeline.moments if moment.key not in told]
        if not news and seen.ledger is None:
            return
        for moment in news:
            told.add(moment.key)
            print(f"{moment.at.since(timeline.origin):8.1f} s  {moment.title}  {moment.detail}", flush=True)
        report.run.timelines["drill"] = timeline
        report.write()

    try:
        seen = run.run(stage, kind, profile, report.folder / "history.jsonl", node=node, on_change=keep)
        for check in statements(seen):
            report.run.record(check)
        report.run.ledger = in_words(seen)
        if watcher:
            watcher.check()
    except (KeyboardInterrupt, LabError, AssertionError) as error:
        interruption = _interruption(error)
        if interruption is None:
            report.run.record(Check("drill", "The drill came to its end", of_error(error), 0.0, str(error)))
        else:
            report.run.interrupted = True
            whole = error is interruption
            healed = "the fault is healed" if whole else f"not all was made whole again ({error}), the next drill says what is still wrong"
            print(
                f"interrupted: {healed}; the lab has the recovery profile {profile}; what was seen lies in {report.folder}", file=sys.stderr
            )
            raise interruption from None
    finally:
        for each in begun:
            if not report.run.ledger:  # it didn't come to its end: what was acknowledged is known, what is there isn't
                report.run.ledger = in_words(each)
            logs.collect(stage, report.folder, each.fault.issued or report.run.began)
        report.run.ended = HOST_CLOCK.now()
        report.write()
    for check in report.run.checks:
        print(f"  {check.verdict:8}{check.title}{f': {check.message}' if check.message else ''}")
    print(f"{report.run.verdict}: {report.folder / 'report.html'}", flush=True)


def _interruption(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interruption that an error is, or that was on its way through the healing when it came; None where there was none."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__context__
    return found


def in_words(seen: Drill) -> dict[str, object]:
    """Return a drill's ledger as a reader wants it; of one that was cut short, without a final read."""
    if seen.fault.issued is None:
        raise LabError("The drill has no ledger.")
    ledger = seen.ledger or checker.check(seen.operations(), None, EXPECTED_TOTAL, seen.fault.issued)
    windows = checker.windows(seen.operations(), seen.fault.issued, SILENCE)
    return {
        "verdict": ledger.verdict.value,
        "because": " ".join(ledger.reasons),
        "writes attempted": ledger.attempted,
        "acknowledged": ledger.acknowledged,
        "failed (certainly without effect)": ledger.failed,
        "unknown (no answer to COMMIT)": ledger.unknown,
        "unknown, but found": len(ledger.recovered),
        "acknowledged, but lost": len(ledger.lost),
        "found unexpectedly": len(ledger.unexpected),
        "found or acknowledged twice": len(ledger.duplicated),
        f"without an acknowledged write for more than {SILENCE:.0f} s": "; ".join(
            f"{window.start:.1f} to {window.end:.1f} s ({window.end - window.start:.1f} s)" for window in windows
        )
        or "never",
    }


def statements(seen: Drill) -> list[Check]:
    """Return what a finished drill's ledger and timeline say, statement by statement."""
    ledger = seen.ledger
    if ledger is None:
        raise LabError("The drill has no ledger.")
    # Where evidence is missing, nothing that wasn't found is a pass.
    clean = Verdict.UNKNOWN if ledger.missing else Verdict.PASS
    reasons = " ".join(ledger.reasons)
    timeline = seen.timeline()
    recovery = timeline.seconds("first_write")

    def of(found: Sequence[object]) -> Verdict:
        return Verdict.FAIL if found else clean

    summary = f"{ledger.acknowledged} acknowledged, {ledger.failed} failed, {ledger.unknown} unknown, {len(ledger.recovered)} recovered"
    checks = [
        Check("lost", "No acknowledged write was lost", of(ledger.lost), 0.0, reasons if ledger.lost else summary),
        Check(
            "unexpected",
            "No write appeared that was never made or had failed",
            of(ledger.unexpected),
            0.0,
            reasons if ledger.unexpected else "",
        ),
        Check("duplicated", "No write was there twice", of(ledger.duplicated), 0.0, reasons if ledger.duplicated else ""),
        Check("total", "No money was made or lost by transfers", of(ledger.wrong_totals), 0.0, reasons if ledger.wrong_totals else ""),
        Check(
            "recovered",
            "MySQL took writes again, and the lab is steady",
            clean if recovery is not None and seen.steady else Verdict.UNKNOWN,
            0.0,
            f"first committed write {recovery:.1f} s after the fault" if recovery is not None else reasons,
        ),
    ]
    samples = seen.locks()
    double = lock_watch.doubles(samples)
    watched = seen.steady is not None and lock_watch.watched(samples, timeline.origin, seen.steady)
    checks.append(
        Check(
            "split-brain",
            "At no time did two clients of the NFS server hold InnoDB's lock",
            Verdict.FAIL if double else Verdict.PASS if watched else Verdict.UNKNOWN,
            0.0,
            f"{len(samples)} samples, at most {lock_watch.longest_gap(samples):.0f} s apart"
            + ("" if watched else ", and nobody seen to hold it both before the fault and after the healing")
            + (f", with two holders first at {double[0].at.wall:%H:%M:%S} UTC: {', '.join(double[0].holders)}" if double else ""),
        )
    )
    checks.append(
        Check(
            "whole",
            "mysqld's own check finds every table whole",
            Verdict.UNKNOWN if seen.damaged is None else Verdict.FAIL if seen.damaged else Verdict.PASS,
            0.0,
            "; ".join(seen.damaged or ()),
        )
    )
    if seen.kind.stays:
        checks.append(
            Check(
                "stayed",
                "MySQL's pod stayed where it was",
                Verdict.UNKNOWN if seen.after is None else Verdict.PASS if seen.after.uid == seen.pod.uid else Verdict.FAIL,
                0.0,
                f"{seen.after.name} on {seen.after.node}" if seen.after else "",
            )
        )
    assert len(checks) == STATEMENTS + seen.kind.stays
    return checks


def _apply(stage: Lab, profile: str) -> bool:
    """Apply a profile that isn't the lab's to a lab that is steady, and wait until it is again; say whether that was needed.

    Raises:
        LabError: the lab isn't steady, or the playbook failed.
    """
    before = stage.cluster.deployment(mysql.NAMESPACE, mysql.DEPLOYMENT).profile
    if before == profile:
        return False
    steady.check(stage.cluster, stage.workers)
    print(f"applying the recovery profile {profile} ...", flush=True)
    playbook.play(_playbook(stage.inventory, before, profile), "-e", f"recovery_profile={profile}")
    run.await_steady(stage)
    return True


def _playbook(lab: Inventory, before: str, profile: str) -> str:
    """Return the playbook that leads to a profile: where two set the same on all machines, only MySQL's note has to change."""
    settings = lab.group("control_plane")[0].variables.get("recovery_profiles", {})
    return "playbooks/tutorial.yml" if before in settings and settings[before] == settings.get(profile) else "playbooks/profile.yml"


def _describe(run: Run, stage: Lab) -> None:
    run.lab = environment.facts(lambda: environment.lab(stage.inventory))
    run.versions = environment.facts(lambda: environment.versions(stage.cluster))
    run.settings = environment.facts(lambda: environment.settings(stage.cluster, stage.inventory, stage.remote))


def known_profile(name: str) -> str:
    """Return a recovery profile's name.

    Raises:
        LabError: there is none of that name.
    """
    if name not in PROFILES:
        raise LabError(f"PROFILE is {name!r}, which isn't known: set it to one of {', '.join(PROFILES)}.")
    return name


def end_on_signals() -> None:
    """Let SIGTERM and Ctrl-C end a drill by healing it."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the drill as Ctrl-C does, once: a second signal must not stop the healing."""
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("interrupted: what is broken is healed first, which takes minutes where a node has to start", file=sys.stderr, flush=True)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
