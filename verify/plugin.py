"""The pytest plugin: marks tests by their folder, orders them, shows what happens as it happens, and keeps the reports of a run on the lab.

A run has one report, but for drills: each of these has its own, since each is compared with others of its kind (`reports/drills.html`).
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import EXIT_INTERRUPTED, LabError
from outlive.base.paths import ROOT
from outlive.base.process import ending_signals
from outlive.base.verdict import Verdict, of_error
from outlive.report.model import REPORTS, Check
from verify.stories import KEPT, REMARK, STORY, Kept, LeftOutError, Narrator

LAYERS = ("static", "storage", "cis", "tutorial", "power_off", "drills", "lifecycle", "proof", "rehearsal")
"""Folders of verify/, their markers, and the order in which their tests run: what breaks things comes last."""
FOLDER = Path(__file__).parent
JUNIT = "junit.xml"
"""Where pytest writes its own report, in the folder of all reports; a copy lies in each report of the run."""
VERDICT = pytest.StashKey[Verdict]()


def layer(path: Path) -> str | None:
    """Return the folder of verify/ that a test is in, or None for a test from elsewhere."""
    if not path.is_relative_to(FOLDER):
        return None
    first = path.relative_to(FOLDER).parts[0]
    return first if first in LAYERS else None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take what to break, the options of verify/drills, and what the emulated host of verify/rehearsal is."""
    group = parser.getgroup("drills", "what is broken on the lab (verify/drills)")
    group.addoption("--fault", action="append", metavar="NAME", help="a fault by its name; again for more (all)")
    group.addoption("--profile", action="append", metavar="NAME", help="a recovery profile; again for more (all)")
    group.addoption("--node", metavar="NAME", help="the node that has to run MySQL")
    group.addoption("--times", type=int, default=1, metavar="N", help="how often each is run, in rounds over the faults (1)")
    emulated = parser.getgroup("emulated host", "the emulated host (verify/rehearsal/test_kvm.py)")
    emulated.addoption("--debian", default="12", metavar="RELEASE", help="its Debian: 12 or 13 (12)")
    emulated.addoption("--workers", type=int, default=2, metavar="N", help="how many workers its lab has: 1 or 2 (2)")


@pytest.hookimpl(tryfirst=True)  # before pytest's own JUnit report looks at its option
def pytest_configure(config: pytest.Config) -> None:
    """Have pytest write its JUnit report, where the user hasn't said where to."""
    if not config.option.collectonly and not getattr(config.option, "xmlpath", None):
        config.option.xmlpath = str(_reports() / JUNIT)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name and put the layers in their order."""
    for item in items:
        name = layer(item.path)
        if name:
            item.add_marker(name)
    items.sort(key=lambda item: LAYERS.index(layer(item.path) or LAYERS[0]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin a report where tests on the lab were chosen."""
    chosen = [item for item in session.items if layer(item.path)]
    if not chosen or session.config.option.collectonly:
        return
    stories = [item.stash.get(STORY, "") for item in chosen]
    layers = {layer(item.path) or "" for item, story in zip(chosen, stories, strict=True) if not story}
    kept = Kept(
        (layers.pop().replace("_", "-") if len(layers) == 1 else "verify"),
        _reports(),
        {story: stories.count(story) for story in dict.fromkeys(stories)},
        _own_junit(session.config),
    )
    session.config.stash[KEPT] = kept
    session.config.pluginmanager.register(kept, "outlive-reports")
    # `kill` and a closed terminal end a run as Ctrl-C does: what was broken is healed first.
    session.config.add_cleanup(partial(_give_back, {each: signal.signal(each, kept.interrupt) for each in ending_signals()}))
    kept.report(stories[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Give each outcome its verdict; a user's error is shown as its sentence, without a traceback."""
    outcome: pytest.TestReport = yield  # type: ignore[assignment]  # pytest's wrappers are typed as plain iterators
    if call.excinfo is not None:
        item.stash[VERDICT] = _verdict(call.excinfo.value)
        if isinstance(call.excinfo.value, LabError):
            outcome.longrepr = str(call.excinfo.value)
    kept = item.config.stash.get(KEPT, None)
    if kept is not None and call.excinfo is not None and isinstance(call.excinfo.value, LeftOutError):
        report = kept.report(item.stash.get(STORY, ""))
        report.run.planned -= 1
        report.write()
    elif kept is not None and layer(item.path) and (call.when == "call" or call.excinfo is not None):
        report = kept.report(item.stash.get(STORY, ""))
        verdict = item.stash[VERDICT] if call.excinfo is not None else Verdict.PASS
        if call.when == "call":
            item.user_properties += [("statement", _title(item)), ("verdict", str(verdict))]
        remark = next((str(value) for name, value in item.user_properties if name == REMARK), "")
        message = remark if call.excinfo is None else _message(call.excinfo)
        report.run.record(Check(item.nodeid, _title(item), verdict, call.duration, message))
        report.write()
    return outcome  # type: ignore[return-value]


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close the report of a story whose last statement this was."""
    kept, story = item.config.stash.get(KEPT, None), item.stash.get(STORY, "")
    if kept is not None and story in kept.made and story and (nextitem is None or nextitem.stash.get(STORY, "") != story):
        kept.made[story].run.ended = HOST_CLOCK.now()
        kept.made[story].write()


@pytest.hookimpl(trylast=True)  # after pytest's own JUnit report is written
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Close the reports, and end with the status of their verdict."""
    kept = session.config.stash.get(KEPT, None)
    if kept is None:
        junit = _own_junit(session.config)
        if junit is not None:
            junit.unlink(missing_ok=True)
        return
    for report in kept.made.values():
        report.run.interrupted = kept.interrupted and report.run.ended is None
        report.run.ended = report.run.ended or HOST_CLOCK.now()
        if kept.junit is not None and kept.junit.exists():
            shutil.copy(kept.junit, report.folder / "junit.xml")
        report.write()
    if kept.interrupted:
        session.exitstatus = EXIT_INTERRUPTED
    elif exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        session.exitstatus = kept.verdict.exit_status


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the reports lie."""
    kept = config.stash.get(KEPT, None)
    for report in kept.made.values() if kept is not None else ():
        terminalreporter.write_line(f"report ({report.run.verdict}): {report.folder / 'report.html'}")


@pytest.fixture(scope="session")
def narrator(pytestconfig: pytest.Config) -> Narrator:
    """Return what tells moments as they are seen."""
    return Narrator(pytestconfig)


@pytest.fixture
def remark(request: pytest.FixtureRequest) -> Callable[[object], None]:
    """Return what notes what a test saw, for its line in the report."""

    def note(text: object) -> None:
        request.node.user_properties.append((REMARK, str(text)))

    return note


def _reports() -> Path:
    """Return the folder of all reports."""
    return Path(os.environ.get("OUTLIVE_REPORTS") or ROOT / REPORTS)


def _own_junit(config: pytest.Config) -> Path | None:
    """Return pytest's JUnit report where it is written for ours, None where the user has chosen its place."""
    named = getattr(config.option, "xmlpath", None)
    return Path(named) if named == str(_reports() / JUNIT) else None


def _verdict(error: BaseException) -> Verdict:
    return Verdict.FAIL if isinstance(error, pytest.fail.Exception) else of_error(error)


def _title(item: pytest.Item) -> str:
    """Return the statement that a test verifies: the first line of its docstring."""
    text = (getattr(getattr(item, "function", None), "__doc__", None) or item.name).strip().splitlines()[0].rstrip(".")
    callspec = getattr(item, "callspec", None)
    return f"{text} [{callspec.id}]" if callspec is not None and STORY not in item.stash else text


def _message(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Return what went wrong, without the traceback."""
    text = str(excinfo.value)
    return text if isinstance(excinfo.value, LabError | AssertionError) and text else excinfo.exconly(tryshort=True)


def _give_back(handlers: Mapping[int, Any]) -> None:
    """Let signals do again what they did before."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
