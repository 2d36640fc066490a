"""The pytest plugin: marks tests by their folder, orders them, and keeps the report of a run on the lab."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.base.verdict import Verdict, of_error
from outlive.report.model import REPORT, REPORTS, Check, Report, Run

LAYERS = ("unit", "static", "storage", "tutorial", "disruptive", "lifecycle", "proof")
"""Folders of verify/, their markers, and the order in which their tests run: what breaks things comes last."""
FOLDER = Path(__file__).parent
VERDICT = pytest.StashKey[Verdict]()
SIGTERM = pytest.StashKey[Any]()
"""What happened on SIGTERM before."""


def layer(path: Path) -> str | None:
    """Return the folder of verify/ that a test is in, or None for a test from elsewhere."""
    if not path.is_relative_to(FOLDER):
        return None
    first = path.relative_to(FOLDER).parts[0]
    return first if first in LAYERS else None


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its folder's name and put the layers in their order."""
    for item in items:
        name = layer(item.path)
        if name:
            item.add_marker(name)
    items.sort(key=lambda item: LAYERS.index(layer(item.path) or "unit"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin a report where tests on the lab were chosen."""
    chosen = [item for item in session.items if layer(item.path) not in {None, "unit"}]
    if not chosen or session.config.option.collectonly:
        return
    layers = {layer(item.path) or "" for item in chosen}
    name = "power-off" if layers == {"disruptive"} else layers.pop() if len(layers) == 1 else "verify"
    run = Run(name, HOST_CLOCK.now(), planned=len(chosen))
    session.config.stash[REPORT] = Report(run, Path(os.environ.get("OUTLIVE_REPORTS") or ROOT / REPORTS))
    session.config.stash[REPORT].write()
    # `kill` ends a run as Ctrl-C does: what was broken is healed first.
    session.config.stash[SIGTERM] = signal.signal(signal.SIGTERM, _interrupt)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Give each outcome its verdict; a user's error is shown as its sentence, without a traceback."""
    outcome: pytest.TestReport = yield  # type: ignore[assignment]  # pytest's wrappers are typed as plain iterators
    if call.excinfo is not None:
        item.stash[VERDICT] = of_error(call.excinfo.value)
        if isinstance(call.excinfo.value, LabError):
            outcome.longrepr = str(call.excinfo.value)
    report = item.config.stash.get(REPORT, None)
    if report is not None and layer(item.path) != "unit" and (call.when == "call" or call.excinfo is not None):
        report.run.record(
            Check(
                name=item.nodeid,
                title=_title(item),
                verdict=item.stash[VERDICT] if call.excinfo is not None else Verdict.PASS,
                seconds=call.duration,
                message="" if call.excinfo is None else _message(call.excinfo),
            )
        )
        report.write()
    return outcome  # type: ignore[return-value]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Close the report; a run whose verdict isn't pass never exits with 0."""
    report = session.config.stash.get(REPORT, None)
    if report is None:
        return
    signal.signal(signal.SIGTERM, session.config.stash[SIGTERM])
    report.run.ended = HOST_CLOCK.now()
    report.run.interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
    report.write()
    if report.run.verdict is not Verdict.PASS and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the report lies."""
    report = config.stash.get(REPORT, None)
    if report is not None:
        terminalreporter.write_line(f"report ({report.run.verdict}): {report.folder / 'report.html'}")


def _title(item: pytest.Item) -> str:
    """Return the statement that a test verifies: the first line of its docstring."""
    text = (getattr(getattr(item, "function", None), "__doc__", None) or item.name).strip().splitlines()[0].rstrip(".")
    callspec = getattr(item, "callspec", None)
    return f"{text} [{callspec.id}]" if callspec is not None else text


def _message(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Return what went wrong, without the traceback."""
    text = str(excinfo.value)
    return text if isinstance(excinfo.value, LabError | AssertionError) and text else excinfo.exconly(tryshort=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the run as Ctrl-C does."""
    del number, frame
    raise KeyboardInterrupt
