"""What all drills of the reports' folder say together: recovery by fault, storage and profile, with p50 and max, as JSON and one page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outlive.base.verdict import Verdict, combined
from outlive.drill.run import STORAGE
from outlive.lab.mysql_storage import NfsFolder
from outlive.report import html, model, pictures
from outlive.report.pictures import Picture

PAGE = "drills.html"
DATA = "drills.json"


@dataclass(frozen=True)
class Result:
    """One drill: ``recovery`` are the seconds from the fault to the first committed write, None where none was seen, or only when the node was back."""

    run: str
    fault: str
    storage: str
    """What MySQL's data lay on."""
    profile: str
    verdict: Verdict
    never: bool
    """MySQL's disk stayed with the lost node: nothing was written before that was back."""
    recovery: float | None
    lost: int | None
    """Acknowledged writes that were lost; None where nobody could find that out."""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All of its ``timeline.json``."""

    @property
    def row(self) -> str:
        """Return the fault, and the storage where that isn't NFS."""
        return self.fault if self.storage == NfsFolder.kind else f"{self.fault}, {self.storage}"

    @property
    def ledger(self) -> Mapping[str, Any]:
        """Return what became of its writes, by the words that people read."""
        ledger: Mapping[str, Any] = self.data.get("ledger", {})
        return ledger

    @property
    def files(self) -> list[str]:
        """Return the names of its logs."""
        return list(self.data.get("files", []))

    @property
    def drawn(self) -> list[tuple[Mapping[str, Any], Picture]]:
        """Return its timelines with their pictures."""
        return [(each, pictures.draw(model.timeline_of(each))) for each in self.data.get("timelines", []) if each["moments"]]


@dataclass(frozen=True)
class Cell:
    """All drills of one fault on one storage under one profile."""

    results: tuple[Result, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of all of them."""
        return combined(each.verdict for each in self.results)

    @property
    def nevers(self) -> int:
        """Return in how many of the drills that passed MySQL waited for the lost node."""
        return sum(each.never for each in self.results if each.verdict is Verdict.PASS)

    @property
    def recoveries(self) -> list[float]:
        """Return the recoveries of the drills that passed: what isn't proven has no speed."""
        return [each.recovery for each in self.results if each.recovery is not None and each.verdict is Verdict.PASS]

    @property
    def p50(self) -> float | None:
        """Return the median recovery in seconds."""
        return statistics.median(self.recoveries) if self.recoveries else None

    @property
    def worst(self) -> float | None:
        """Return the longest recovery in seconds."""
        return max(self.recoveries, default=None)


def results(reports: Path) -> tuple[Result, ...]:
    """Return what all drills in a reports' folder found, oldest first; a folder that isn't a drill's, or is damaged, is left out."""
    found = []
    for path in sorted(reports.glob("*-drill-*/timeline.json")):
        try:
            found.append(result(json.loads(path.read_text(encoding="utf-8")), path.parent.name))
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(found)


def result(data: Mapping[str, Any], run: str) -> Result:
    """Read one drill's ``timeline.json``."""
    name = str(data["name"]).removeprefix("drill-")
    fault, _, profile = name.rpartition("-")
    moments = [moment for timeline in data["timelines"] for moment in timeline["moments"]]
    never = any(moment["key"] == "stranded" for moment in moments)
    recovery = None if never else next((float(moment["seconds"]) for moment in moments if moment["key"] == "first_write"), None)
    ledger = data.get("ledger", {})
    storage = ledger.get(STORAGE, NfsFolder.kind)  # a report of an older version names none
    lost = ledger.get("acknowledged, but lost")
    return Result(run, fault, storage, profile, Verdict(data["verdict"]), never, recovery, lost if isinstance(lost, int) else None, data)


def table(found: Iterable[Result]) -> dict[str, dict[str, Cell]]:
    """Return the cells by fault and profile, in the order in which they were first seen."""
    rows: dict[str, dict[str, list[Result]]] = {}
    for each in found:
        rows.setdefault(each.row, {}).setdefault(each.profile, []).append(each)
    return {fault: {profile: Cell(tuple(cell)) for profile, cell in row.items()} for fault, row in rows.items()}


def write(reports: Path) -> Path | None:
    """Write page and data over all drills of a reports' folder; return the page, or None where there was no drill."""
    found = results(reports)
    if not found:
        return None
    rows = table(found)
    profiles = list(dict.fromkeys(each.profile for each in found))
    (reports / DATA).write_text(json.dumps(as_json(rows), indent=2) + "\n", encoding="utf-8")
    page = html.render(
        "drills.html.j2", rows=rows, profiles=profiles, found=found, settings=newest(found, "settings"), versions=newest(found, "versions")
    )
    (reports / PAGE).write_text(page, encoding="utf-8")
    return reports / PAGE


def newest(found: Iterable[Result], what: str) -> dict[str, Mapping[str, Any]]:
    """Return a description by profile, that of the newest drill each; one column where all say the same."""
    by_profile = {each.profile: each.data[what] for each in found if each.data.get(what)}
    first: Mapping[str, Any] = next(iter(by_profile.values()), {})
    return {"all": first} if first and all(each == first for each in by_profile.values()) else by_profile


def as_json(rows: Mapping[str, Mapping[str, Cell]]) -> list[dict[str, Any]]:
    """Return the table as plain data; seconds from the fault to the first committed write."""
    return [
        {
            "fault": cell.results[0].fault,
            "storage": cell.results[0].storage,
            "profile": profile,
            "verdict": cell.verdict.value,
            "drills": len(cell.results),
            "p50": cell.p50,
            "max": cell.worst,
            "never": cell.nevers,
            "runs": [each.run for each in cell.results],
        }
        for row in rows.values()
        for profile, cell in row.items()
    ]


def lines(rows: Mapping[str, Mapping[str, Cell]], profiles: Sequence[str]) -> list[str]:
    """Return the table as text for a terminal."""
    width = max(map(len, rows), default=0)

    def text(cell: Cell | None) -> str:
        if cell is None:
            return "-"
        seconds = "" if cell.p50 is None or cell.worst is None else f"{cell.p50:.0f} s (max {cell.worst:.0f}, n {len(cell.recoveries)}) "
        return seconds + (f"never (n {cell.nevers}) " if cell.nevers else "") + cell.verdict.value

    head = f"{'':{width}}  " + "  ".join(f"{profile:32}" for profile in profiles)
    return [head.rstrip()] + [
        f"{fault:{width}}  " + "  ".join(f"{text(row.get(profile)):32}" for profile in profiles).rstrip() for fault, row in rows.items()
    ]
