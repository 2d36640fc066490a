"""What a run on the lab tells: the reports that it keeps, and the screen on which moments are told as they are seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.outcomes import Skipped  # pytest.skip.Exception, by a name that is a class for mypy

from outlive.base.clock import HOST_CLOCK, Instant
from outlive.base.process import interrupt_by
from outlive.base.screen import Screen
from outlive.base.verdict import Verdict, combined
from outlive.drill.timeline import Timeline
from outlive.lab.objects import Pod
from outlive.report.model import Report, Run

STORY = pytest.StashKey[str]()
"""The story of its own that a test tells a statement of, such as ``drill-power-cut-fenced``, or ``…#2`` where it is told again; without one it
belongs to the run's."""


class LeftOutError(Skipped):
    """Raised where a lab hasn't got what a check looks at, and isn't meant to: it is skipped with the reason, and isn't a check of the run's.

    What is only skipped couldn't be found out, and never passes.
    """


REMARK = "remark"
"""The property by which a test says what it saw, pass or not."""


@dataclass(eq=False)  # as a plugin it has to be hashable
class Kept:
    """The reports of a run, by story; the run's own is the one without a name."""

    name: str
    folder: Path
    planned: dict[str, int]
    junit: Path | None = None
    """Where pytest writes its own report until it can be put beside ours."""
    made: dict[str, Report] = field(default_factory=dict)
    interrupted: bool = False
    ending: bool = False
    """A test's fixtures are ended, by which what was broken is healed."""

    def interrupt(self, number: int, _frame: object = None) -> None:
        """End the run on a signal: at once, or where that has begun, or a fault may be under healing, when that is through."""
        begun, self.interrupted = self.interrupted or self.ending, True
        if not begun:
            interrupt_by(number)
            return
        # Past what writes to the screen just now: it may be what was interrupted.
        with suppress(OSError):  # a terminal that was closed takes no word
            os.write(2, b"\ninterrupted: wait, what was broken is healed first\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Let the next test begin only where nobody interrupted the end of the one before."""
        self.ending = False
        if self.interrupted:
            raise KeyboardInterrupt

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Take note that fixtures are ended from here on."""
        self.ending = True

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell an interruption from a run that ends itself, as where there is no lab: pytest has one status for both."""
        self.interrupted = isinstance(excinfo.value, KeyboardInterrupt)

    def report(self, story: str = "") -> Report:
        """Return the report of a story, begun where it isn't yet."""
        if story not in self.made:
            run = Run((story or self.name).partition("#")[0], HOST_CLOCK.now(), planned=self.planned.get(story, 0))
            self.made[story] = Report(run, self.folder)
            self.made[story].write()
        return self.made[story]

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of all stories; one that wasn't begun is unknown."""
        return combined([self.made[story].run.verdict if story in self.made else Verdict.UNKNOWN for story in self.planned])


class Narrator:
    """Tells a story's moments as they are seen, where pytest writes its own lines."""

    def __init__(self, config: pytest.Config) -> None:
        """Nothing is told yet."""
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._writer = config.get_terminal_writer()
        self._screen: Screen | None = None
        self._told: set[tuple[str, Instant, str]] = set()

    def say(self, text: str) -> None:
        """Write a line of its own, past what pytest keeps of a test's output."""
        with suppress(OSError), self._capture.global_and_fixture_disabled():  # a terminal that was closed takes no word
            self._reporter.ensure_newline()
            if self._screen is not None:
                self._screen.line(text)
            else:
                self._writer.line(text)
                self._writer.flush()

    @contextmanager
    def clock(self, what: str) -> Iterator[None]:
        """Let a clock run in the last line while entered, where there is a terminal and pytest keeps no output (`--capture=no`)."""
        if not self._writer.hasmarkup or self._capture.is_globally_capturing():
            yield
            return
        self._reporter.ensure_newline()
        with Screen(what, self._writer, terminal=True) as self._screen:
            try:
                yield
            finally:
                self._screen = None

    def tell(self, timeline: Timeline, hint: Callable[[str], str | None] = lambda _key: None) -> bool:
        """Write what is new in a timeline, each moment once; say whether anything was.

        Args:
            timeline: What was seen so far.
            hint: Given a moment's key, what to expect from there on, or None.
        """
        # With its origin: the same drill may be run again.
        keys = {moment.key: (timeline.title, timeline.origin, moment.key) for moment in timeline.moments}
        news = [moment for moment in timeline.moments if keys[moment.key] not in self._told]
        for moment in news:
            self._told.add(keys[moment.key])
            self.say(f"{moment.at.since(timeline.origin):8.1f} s  {moment.title}  {moment.detail}".rstrip())
            expected = hint(moment.key)
            if expected:
                self.say(f"{'':12}{expected}")
        return bool(news)


def waits_for(pod: Pod) -> Callable[[str], str | None]:
    """Return what says, at a moment of a fail-over, what Kubernetes waits for from there on."""

    def hint(key: str) -> str | None:
        if key != "not_ready" or pod.unreachable_seconds is None:
            return None
        return f"Kubernetes now waits {pod.unreachable_seconds} s before it gives {pod.name} up and makes another one"

    return hint


KEPT = pytest.StashKey[Kept]()
"""Where pytest keeps the reports of its run."""


def begin_story(items: Sequence[pytest.Item], story: Callable[[pytest.Item], str]) -> None:
    """Give tests the name of the story that they tell a statement of."""
    for item in items:
        item.stash[STORY] = story(item)
