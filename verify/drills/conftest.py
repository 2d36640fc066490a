"""What is broken, under which recovery profile, and the drill itself: each is run once, and the tests verify its statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import pytest

from outlive.base.errors import LabError
from outlive.base.wait import StateNotReachedError
from outlive.drill import logs, profiles, settings
from outlive.drill import run as drilling
from outlive.drill.faults import KINDS, Kind
from outlive.drill.fencing import WatcherProcess
from outlive.drill.profiles import PROFILES
from outlive.drill.run import Drill
from outlive.lab import mysql_storage, steady
from outlive.lab.session import Lab
from outlive.report import lab_description, matrix
from outlive.report.model import Report
from verify.stories import KEPT, LeftOutError, Narrator, begin_story, waits_for

Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Cell:
    """A drill to run: a fault under a recovery profile, and the round."""

    kind: Kind
    profile: str
    round: int = 1

    def claims(self, what: str) -> bool:
        """Say whether the fault is one that ``moves``, ``stays`` or the like; where mysqld ends, one that stands by takes over."""
        moved = self.profile == settings.STANDBY and self.kind.ends_mysqld
        return bool(getattr(self.kind, what)) and not (what == "stays" and moved)

    def __str__(self) -> str:
        """Return its name in reports and on the command line."""
        return f"{self.kind.name}-{self.profile}" + (f"#{self.round}" if self.round > 1 else "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make each statement one of every drill that was asked for.

    In rounds: mysqld killed again at once would be found in the kubelet's back-off, and an hour's noise in one fault's figures.
    """
    if "cell" in metafunc.fixturenames:
        metafunc.parametrize("cell", cells(metafunc.config), ids=str, scope="module")


def cells(config: pytest.Config) -> list[Cell]:
    """Return the drills of a run, in their order.

    Raises:
        pytest.UsageError: a fault or a profile isn't known, or none would be run.
    """
    faults = _known("--fault", config.getoption("--fault"), list(KINDS))
    chosen = _known("--profile", config.getoption("--profile"), list(PROFILES))
    times = config.getoption("--times")
    if times < 1:
        raise pytest.UsageError(f"--times is {times}, and a drill is run once at least: leave it out for 1, or set it to 3")
    return [Cell(KINDS[fault], profile, number) for profile in chosen for number in range(1, times + 1) for fault in faults]


def _known(option: str, chosen: list[str] | None, all_names: list[str]) -> list[str]:
    for name in chosen or ():
        if name not in all_names:
            raise pytest.UsageError(f"{option} is {name!r}, which isn't known: choose one of {', '.join(all_names)}")
    return chosen or all_names


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the statements that a fault doesn't make, and give each drill a report of its own."""
    ours = [item for item in items if "cell" in getattr(item, "fixturenames", ())]
    begin_story(ours, lambda item: f"drill-{_cell(item)}")
    idle = [item for item in ours if not all(_cell(item).claims(mark.args[0]) for mark in item.iter_markers("of_faults_that"))]
    if idle:
        config.hook.pytest_deselected(items=idle)
        items[:] = [item for item in items if item not in idle]


def _cell(item: pytest.Item) -> Cell:
    cell: Cell = item.callspec.params["cell"]  # type: ignore[attr-defined]  # of the function items that have one
    return cell


@pytest.fixture(scope="session")
def matrix_page(whole_lab: Lab, pytestconfig: pytest.Config, narrator: Narrator) -> Iterator[None]:
    """Give the lab the profile again that it had before, of a mixture the inventory's, and write the page over all drills that were ever run here."""
    own = settings.chosen(whole_lab.inventory)
    try:
        steady.check(whole_lab.cluster, whole_lab.workers)
        before = profiles.current(whole_lab) or own
    except LabError:  # each drill says what is wrong
        before = own
    yield
    folder = pytestconfig.stash[KEPT].folder
    try:
        if not pytestconfig.stash[KEPT].interrupted:
            profiles.apply(whole_lab, before, narrator.say)
    finally:
        page = matrix.write(folder)
        if page is not None:
            rows = matrix.table(matrix.results(folder))
            narrator.say(
                "\n".join(
                    ["", "From the fault to the first committed write:", *matrix.lines(rows, list(PROFILES)), "", f"all drills: {page}"]
                )
            )


@pytest.fixture(scope="module")
def drill(cell: Cell, whole_lab: Lab, matrix_page: None, narrator: Narrator, pytestconfig: pytest.Config) -> Drill:
    """Run the drill and return what was seen; whatever was broken is whole again."""
    del matrix_page
    node = pytestconfig.getoption("--node")
    story = f"drill-{cell}"
    # Nothing is applied to a lab that the drill can't run on.
    drilling.target_of(whole_lab, node)
    try:
        drilling.check_storage(mysql_storage.of(whole_lab.cluster, whole_lab.inventory), cell.kind, cell.profile)
    except LabError as error:
        if pytestconfig.getoption("--fault") and pytestconfig.getoption("--profile"):
            raise
        # Who asks for all of them wants those that say something here.
        raise LeftOutError(str(error)) from error
    profiles.apply(whole_lab, cell.profile, narrator.say)
    report = pytestconfig.stash[KEPT].report(story)
    lab_description.into(report.run, whole_lab)
    narrator.say(f"drill: {cell.kind.title}, profile {cell.profile}")
    with ExitStack() as stack:
        stack.enter_context(narrator.clock(f"{cell}"))
        watcher = WatcherProcess(report.folder / "fence.jsonl", whole_lab.workers) if cell.profile in settings.WATCHED else None
        if watcher:
            with steady.before_fault():
                stack.enter_context(watcher)
        return _run(cell, whole_lab, report, narrator, watcher, node)


def _run(cell: Cell, lab: Lab, report: Report, narrator: Narrator, watcher: WatcherProcess | None, node: str | None) -> Drill:
    """Run a drill, keep what is seen in its report as it is seen, and say it."""
    begun: list[Drill] = []

    def keep(seen: Drill) -> None:
        if seen.fault.issued is None:
            return
        begun[:] = [seen]
        seen.notes = watcher.moments(seen.pod.node, seen.fault.issued) if watcher else []
        timeline = seen.timeline()
        # The watcher is faster than Kubernetes' patience.
        patient = cell.kind.moves and cell.profile not in settings.WATCHED
        news = narrator.tell(timeline, waits_for(seen.pod)) if patient else narrator.tell(timeline)
        if news or seen.ledger is not None:
            report.run.timelines["drill"] = timeline
            report.write()

    try:
        seen = drilling.run(lab, cell.kind, cell.profile, report.folder / "history.jsonl", node=node, on_change=keep)
        if watcher:
            watcher.check()
        return seen
    except (KeyboardInterrupt, LabError, AssertionError) as error:
        interruption = _interruption(error)
        if interruption is None:
            if not begun or not isinstance(error, StateNotReachedError):
                raise
            begun[0].failure = error  # a verdict about the recovery, and not about what nobody could look at then
            return begun[0]
        # An interruption that came while the healing failed has that failure behind it.
        wrong = error if error is not interruption else error.__context__ if begun and begun[0].healed is None else None
        whole = f"not all was made whole again ({wrong}), the next drill says what is wrong" if wrong else "the fault is healed"
        narrator.say(f"interrupted: {whole}; the lab has the recovery profile {cell.profile}; what was seen lies in {report.folder}")
        raise interruption from None
    finally:
        for each in begun:
            # Of one that didn't come to its end it is known what was acknowledged, and not what is there.
            report.run.ledger = drilling.ledger_in_words(each)
            logs.collect(lab, report.folder, each.fault.issued or report.run.began)
        report.write()


def _interruption(error: BaseException) -> KeyboardInterrupt | None:
    """Return the interruption that an error is, or that was on its way through the healing when it came; None where there was none."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__context__
    return found
