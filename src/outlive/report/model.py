"""What a run found out, and the folder in which it is kept: ``timeline.json`` and ``report.html``; pytest adds its ``junit.xml``.

The files are written anew after each check and each moment, so a run that was cut short still has its report up to there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from outlive.base.clock import Instant
from outlive.base.verdict import Verdict, combined
from outlive.drill.timeline import Gap, Moment, Span, Timeline
from outlive.report import html

SCHEMA = 1
"""Version of timeline.json: it rises when a key changes its meaning or goes."""
REPORTS = "reports"
LATEST = "latest"
FILES = ("timeline.json", "junit.xml", "report.html")


@dataclass(frozen=True)
class Check:
    """One verified statement: ``name`` is pytest's, ``title`` is for people, ``seconds`` how long it took."""

    name: str
    title: str
    verdict: Verdict
    seconds: float
    message: str = ""


@dataclass
class Run:
    """Everything that a run found out so far."""

    name: str
    began: Instant
    ended: Instant | None = None
    interrupted: bool = False
    planned: int = 0
    """How many checks were to run."""
    checks: list[Check] = field(default_factory=list)
    timelines: dict[str, Timeline] = field(default_factory=dict)
    lab: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    """What became of a drill's writes, by the words that people read."""

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of the whole run; checks that didn't come to run leave it unknown."""
        verdicts = [check.verdict for check in self.checks]
        if self.interrupted or self.ended is None or len({check.name for check in self.checks}) < self.planned:
            verdicts.append(Verdict.UNKNOWN)
        return combined(verdicts)

    def record(self, check: Check) -> None:
        """Add a check; of two outcomes of one check (its body's and its clean-up's) the worse one stays."""
        for index, known in enumerate(self.checks):
            if known.name == check.name:
                worse = check if combined([known.verdict, check.verdict]) != known.verdict else known
                self.checks[index] = Check(worse.name, worse.title, worse.verdict, known.seconds + check.seconds, worse.message)
                return
        self.checks.append(check)


class Report:
    """The folder of a run."""

    def __init__(self, run: Run, reports: Path) -> None:
        """Make the folder ``reports/<UTC time>-<name>`` and the link ``latest`` to it."""
        self.run = run
        self.folder = _new_folder(reports, f"{run.began.wall:%Y%m%dT%H%M%SZ}-{run.name}")
        link = reports / f".{LATEST}-{os.getpid()}"
        link.symlink_to(self.folder.name)
        link.replace(reports / LATEST)

    def write(self) -> None:
        """Write all files as of now."""
        others = {each.name for each in self.folder.iterdir() if not each.name.startswith(".")} - set(FILES)
        data = as_json(self.run) | {"files": sorted(others)}
        _replace(self.folder / "timeline.json", json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        _replace(self.folder / "report.html", html.report(data, self.run.timelines))


def as_json(run: Run) -> dict[str, Any]:
    """Return the run as plain data; seconds count from each timeline's origin, times of day are UTC."""
    return {
        "schema": SCHEMA,
        "name": run.name,
        "verdict": run.verdict.value,
        "began": _time(run.began.wall),
        "ended": _time(run.ended.wall) if run.ended else None,
        "interrupted": run.interrupted,
        "planned": run.planned,
        "checks": [
            {
                "name": check.name,
                "title": check.title,
                "verdict": check.verdict.value,
                "seconds": round(check.seconds, 3),
                "message": check.message,
            }
            for check in run.checks
        ],
        "timelines": [_timeline(key, timeline) for key, timeline in run.timelines.items()],
        "lab": run.lab,
        "versions": run.versions,
        "settings": run.settings,
        "ledger": run.ledger,
        "files": [],
    }


def timeline_of(data: Mapping[str, Any]) -> Timeline:
    """Return the timeline that ``timeline.json`` tells of, an older one too, with its origin at second 0 of the monotonic clock."""
    wall = datetime.fromisoformat(data["origin"])
    moments = [
        Moment(each["key"], each["title"], Instant(each["seconds"], wall + timedelta(seconds=each["seconds"])), each["detail"])
        for each in data["moments"]
    ]
    spans = [Span(each["start"], each["end"], each["answered"]) for each in data["spans"]]
    gaps = [Gap(each["start"], each["end"]) for each in data.get("gaps", ())]
    return Timeline(data["title"], Instant(0.0, wall), tuple(moments), tuple(spans), data.get("asked", "MySQL"), tuple(gaps))


def latest(reports: Path) -> Path | None:
    """Return the folder of the newest report, or None where there is none."""
    link = reports / LATEST
    return link.resolve() if (link / "timeline.json").is_file() else None


def _timeline(key: str, timeline: Timeline) -> dict[str, Any]:
    phases = {phase.ends_with: phase.seconds for phase in timeline.phases()}
    return {
        "key": key,
        "title": timeline.title,
        "origin": _time(timeline.origin.wall),
        "total": round(timeline.total, 3),
        "asked": timeline.asked,
        "moments": [
            {
                "key": moment.key,
                "title": moment.title,
                "seconds": round(moment.at.since(timeline.origin), 3),
                "since_previous": round(phases.get(moment.key, 0.0), 3),
                "wall": _time(moment.at.wall),
                "detail": moment.detail,
            }
            for moment in timeline.moments
        ],
        "spans": [{"start": round(span.start, 3), "end": round(span.end, 3), "answered": span.answered} for span in timeline.spans],
        "gaps": [{"start": round(gap.start, 3), "end": round(gap.end, 3)} for gap in timeline.gaps],
    }


def _new_folder(reports: Path, name: str) -> Path:
    """Make a new folder; a second run in the same second gets a number."""
    reports.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = reports / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
