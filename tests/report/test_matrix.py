"""All drills together: p50 and max by fault and profile, of what is proven only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outlive.base.verdict import Verdict
from outlive.drill.run import STORAGE
from outlive.drill.timeline import Moment, Span, Timeline
from outlive.report import matrix
from outlive.report.model import Check, Run, as_json
from tests.samples import instant

ORIGIN = instant(0)


def drill(
    reports: Path,
    number: int,
    name: str,
    verdict: Verdict,
    recovery: float | None,
    never: float | None = None,
    storage: str = "",
    **settings: str,
) -> None:
    """Write what a drill's report leaves."""
    run = Run(f"drill-{name}", ORIGIN, ended=instant(500))
    run.checks = [Check("lost", "No acknowledged write was lost", verdict, 0.0, "12 acknowledged")]
    moments = [Moment("fault", "fault injected", ORIGIN)]
    if never is not None:
        moments.append(Moment("stranded", "never", instant(never)))
    if recovery is not None:
        moments.append(Moment("first_write", "first committed write", instant(recovery)))
    run.timelines["drill"] = Timeline("A fault", ORIGIN, tuple(moments), (Span(0.0, 1.0, answered=True),))
    run.ledger = {"acknowledged, but lost": 0, "without an acknowledged write": "1.0 to 9.0 s"}
    run.ledger |= {STORAGE: storage} if storage else {}
    run.settings = dict(settings)
    run.versions = {"kubernetes": "v9.9.9"}
    data: dict[str, Any] = as_json(run) | {"files": ["mysqld.log"]}
    folder = reports / f"{number}-drill-{name}"
    folder.mkdir(parents=True)
    (folder / "timeline.json").write_text(json.dumps(data))


def test_table_of_all_drills(tmp_path: Path) -> None:
    drill(tmp_path, 1, "power-cut-default", Verdict.PASS, 350.0)
    drill(tmp_path, 2, "power-cut-fenced", Verdict.PASS, 30.0)
    drill(tmp_path, 3, "power-cut-fenced", Verdict.PASS, 40.0)
    drill(tmp_path, 4, "power-cut-fenced", Verdict.UNKNOWN, 1.0)
    drill(tmp_path, 5, "nfs-restart-default", Verdict.FAIL, None)
    (tmp_path / "6-drill-torn").mkdir()
    (tmp_path / "6-drill-torn" / "timeline.json").write_text('{"name": ')
    found = matrix.results(tmp_path)
    rows = matrix.table(found)
    assert [
        (each["fault"], each["profile"], each["verdict"], each["drills"], each["p50"], each["max"]) for each in matrix.as_json(rows)
    ] == [
        ("power-cut", "default", "pass", 1, 350.0, 350.0),
        ("power-cut", "fenced", "unknown", 3, 35.0, 40.0),
        ("nfs-restart", "default", "fail", 1, None, None),
    ]
    assert matrix.lines(rows, ["default", "fenced"])[1].split("  ")[0] == "power-cut"


def test_storages_are_compared(tmp_path: Path) -> None:
    """What MySQL's data lies on has rows of its own; a disk that stays with the lost node has no seconds, as those tell of the node's return."""
    drill(tmp_path, 1, "power-cut-default", Verdict.PASS, 350.0, storage="NFS")
    drill(tmp_path, 2, "power-cut-default", Verdict.PASS, 900.0, 830.0, "iSCSI")
    drill(tmp_path, 3, "power-cut-fenced", Verdict.PASS, 77.0, storage="iSCSI")
    rows = matrix.table(matrix.results(tmp_path))
    assert [(each["fault"], each["storage"], each["profile"], each["p50"], each["never"]) for each in matrix.as_json(rows)] == [
        ("power-cut", "NFS", "default", 350.0, 0),
        ("power-cut", "iSCSI", "default", None, 1),
        ("power-cut", "iSCSI", "fenced", 77.0, 0),
    ]
    assert matrix.lines(rows, ["default", "fenced"])[2].split("  ")[1].strip() == "never (n 1) pass"
    page = matrix.write(tmp_path)
    assert page is not None
    text = page.read_text()
    assert "power-cut, iSCSI, default</a>" in text
    assert 'never <span class="faint number">n 1</span>' in text
    assert "never before the node was back" in text


def test_page_over_all_drills(tmp_path: Path) -> None:
    assert matrix.write(tmp_path) is None
    drill(tmp_path, 1, "power-cut-default", Verdict.PASS, 350.0, lease="90")
    drill(tmp_path, 2, "power-cut-tuned", Verdict.PASS, 65.0, lease="15")
    page = matrix.write(tmp_path)
    assert page is not None
    text = page.read_text()
    for part in (
        "1-drill-power-cut-default/report.html",
        "2-drill-power-cut-tuned/mysqld.log",
        "<svg",
        "1.0 to 9.0 s",
        "<td>90</td><td>15</td>",
    ):
        assert part in text
    assert "<script" not in text
    assert json.loads((tmp_path / matrix.DATA).read_text())[0]["p50"] == 350.0


def test_a_report_of_an_older_version_has_its_place(tmp_path: Path) -> None:
    drill(tmp_path, 1, "power-cut-default", Verdict.PASS, 350.0)
    file = tmp_path / "1-drill-power-cut-default" / "timeline.json"
    data = json.loads(file.read_text())
    del data["timelines"][0]["asked"], data["files"]
    file.write_text(json.dumps(data))
    assert matrix.write(tmp_path) is not None


def test_what_all_profiles_share_is_told_once(tmp_path: Path) -> None:
    drill(tmp_path, 1, "power-cut-default", Verdict.PASS, 350.0, lease="90")
    drill(tmp_path, 2, "power-cut-tuned", Verdict.PASS, 65.0, lease="15")
    found = matrix.results(tmp_path)
    assert matrix.newest(found, "versions") == {"all": {"kubernetes": "v9.9.9"}}
    assert matrix.newest(found, "settings") == {"default": {"lease": "90"}, "tuned": {"lease": "15"}}
