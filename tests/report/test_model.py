"""A run's report."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from outlive.base.verdict import Verdict
from outlive.drill.timeline import Moment, Span, Timeline
from outlive.report import html
from outlive.report.model import Check, Report, Run, as_json, latest
from tests.samples import instant

NASTY = "<script>alert('x')</script> & \"quoted\" \x1b[31m"


def run(*verdicts: Verdict) -> Run:
    """Return a finished run with checks of these verdicts."""
    found = Run("power-off", instant(0), ended=instant(500), planned=len(verdicts))
    for number, verdict in enumerate(verdicts):
        found.record(
            Check(f"verify/x.py::test_{number}", f"statement {number} {NASTY}", verdict, 1.25, "" if verdict is Verdict.PASS else NASTY)
        )
    moments = (Moment("power_off", "power-off issued", instant(10), NASTY), Moment("first_answer", "first query", instant(390.5)))
    found.timelines["fail-over"] = Timeline("Fail-over", instant(10), moments, (Span(0, 3, True), Span(3, 380, False)))
    found.lab = {
        "host": {"system": "Linux", "cpus": 2, "memory_mib": 1},
        "inventory": "x",
        "network": "192.0.2.0/24",
        "machines": [
            {"name": "n1", "address": "192.0.2.11", "cpus": 2, "memory_mib": 2048, "groups": ["workers"], "power": "libvirt (qemu)"}
        ],
    }
    found.settings = {"toleration (s)": "300"}
    found.versions = {"kubernetes": "v9"}
    return found


class Balance(HTMLParser):
    """Reads a page and complains about tags that aren't closed."""

    def __init__(self) -> None:
        """Begin with nothing open."""
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        del attrs
        self.seen.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag that closes itself."""
        del attrs
        self.seen.append(tag)


def test_json_counts_from_the_origin() -> None:
    data = as_json(run(Verdict.PASS))
    assert (data["schema"], data["verdict"]) == (1, "pass")
    assert data["began"] == "2026-01-02T03:04:05.000Z"
    timeline = data["timelines"][0]
    assert (timeline["total"], timeline["origin"]) == (380.5, "2026-01-02T03:04:15.000Z")
    assert [moment["seconds"] for moment in timeline["moments"]] == [0.0, 380.5]
    assert sum(moment["since_previous"] for moment in timeline["moments"]) == timeline["total"]
    assert timeline["spans"][1] == {"start": 3, "end": 380, "answered": False}
    json.dumps(data)


@pytest.mark.parametrize("verdicts", [[Verdict.PASS], [Verdict.FAIL, Verdict.UNKNOWN], []])
def test_page_is_whole_escaped_and_self_contained(verdicts: list[Verdict]) -> None:
    found = run(*verdicts)
    page = html.report(as_json(found), found.timelines)
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert "script" not in balance.seen
    assert "svg" in balance.seen
    assert "&lt;script&gt;" in page
    assert "http" not in page
    assert f'class="{found.verdict}"' in page


def test_page_of_a_run_that_only_began() -> None:
    found = Run("verify", instant(0), planned=3)
    found.timelines["fail-over"] = Timeline("Fail-over", instant(0))
    page = html.report(as_json(found), found.timelines)
    assert "hasn&#39;t ended" in page or "hasn't ended" in page
    assert "no check came to run" in page
    assert as_json(found)["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Verdict.PASS),
        ({"interrupted": True}, Verdict.UNKNOWN),
        ({"ended": None}, Verdict.UNKNOWN),
        ({"planned": 2}, Verdict.UNKNOWN),
    ],
)
def test_a_run_passes_only_when_all_of_it_ran(change: dict[str, object], expected: Verdict) -> None:
    found = run(Verdict.PASS)
    for name, value in change.items():
        setattr(found, name, value)
    assert found.verdict is expected


def test_of_a_check_s_two_outcomes_the_worse_one_counts() -> None:
    found = Run("x", instant(0))
    found.record(Check("a", "t", Verdict.PASS, 1.0))
    found.record(Check("a", "t", Verdict.FAIL, 2.0, "healing failed"))
    found.record(Check("a", "t", Verdict.UNKNOWN, 1.0, "later"))
    assert found.checks == [Check("a", "t", Verdict.FAIL, 4.0, "healing failed")]


def test_folder_of_a_report(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    first, second = Report(run(Verdict.PASS), tmp_path), Report(run(Verdict.FAIL), tmp_path)
    second.write()
    assert first.folder.name == "20260102T030405Z-power-off"
    assert latest(tmp_path) == second.folder
    assert sorted(path.name for path in second.folder.iterdir()) == ["report.html", "timeline.json"]
    assert (tmp_path / "latest").readlink() == Path(second.folder.name)
