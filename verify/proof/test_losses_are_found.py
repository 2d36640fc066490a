"""The checker's own test, on the real lab: with durability switched off writes are lost, and it has to find that out.

Where nothing was lost, nothing is shown: that is unknown, not a pass.
"""

from __future__ import annotations

import pytest

from outlive.base.errors import LabError
from outlive.base.verdict import Verdict
from outlive.drill import durability, run, settings
from outlive.drill.checker import Ledger
from outlive.drill.durability import Weakened
from outlive.drill.faults import KINDS
from outlive.drill.run import Drill
from outlive.lab.session import Lab
from outlive.report.model import Report

pytestmark = pytest.mark.usefixtures("two_workers")


def drilled(whole_lab: Lab, report: Report, fault: str, weakened: Weakened) -> Ledger:
    """Run a drill on weakened durability and return its ledger."""

    def keep(seen: Drill) -> None:
        if seen.fault.issued is not None:
            report.run.timelines[fault] = seen.timeline()
            report.write()

    profile = settings.chosen(whole_lab.inventory)
    journal = report.folder / f"history-{fault}.jsonl"
    ledger = run.run(whole_lab, KINDS[fault], profile, journal, weakened=weakened, on_change=keep).ledger
    assert ledger is not None
    report.run.ledger |= {f"{fault}, weakened": f"{ledger.verdict}: {' '.join(ledger.reasons)}"}
    if not ledger.lost:
        raise LabError(f"Nothing was lost ({' '.join(ledger.reasons)}), so that losses are found isn't shown.")
    return ledger


def test_commits_that_are_not_flushed_are_lost_with_mysqld(whole_lab: Lab, report: Report) -> None:
    """Commits that InnoDB acknowledged before it flushed them are lost when mysqld is killed, and the checker finds that."""
    assert drilled(whole_lab, report, "mysqld-kill", durability.commit).verdict is Verdict.FAIL


def test_writes_that_an_async_export_acknowledged_are_lost_with_the_server(whole_lab: Lab, report: Report) -> None:
    """Writes that an async export acknowledged are lost when the server loses its power, and the checker finds that."""
    with durability.kept(whole_lab):
        assert drilled(whole_lab, report, "site-cut", durability.export(whole_lab)).verdict is Verdict.FAIL
