"""All drills together: p50 and max by fault and profile, of what is proven only."""

from __future__ import annotations

import json
from pathlib import Path

from verify.lab import overview


def drill(reports: Path, run: str, name: str, verdict: str, recovery: float | None) -> None:
    moments = [] if recovery is None else [{"key": "first_write", "seconds": recovery}]
    data = {"name": name, "verdict": verdict, "timelines": [{"moments": moments}], "ledger": {"acknowledged, but lost": 0}}
    (reports / run).mkdir(parents=True)
    (reports / run / "timeline.json").write_text(json.dumps(data))


def test_table_of_all_drills(tmp_path: Path) -> None:
    drill(tmp_path, "1-drill-power-cut-default", "drill-power-cut-default", "pass", 350.0)
    drill(tmp_path, "2-drill-power-cut-fenced", "drill-power-cut-fenced", "pass", 30.0)
    drill(tmp_path, "3-drill-power-cut-fenced", "drill-power-cut-fenced", "pass", 40.0)
    drill(tmp_path, "4-drill-power-cut-fenced", "drill-power-cut-fenced", "unknown", 1.0)
    drill(tmp_path, "5-drill-nfs-restart-default", "drill-nfs-restart-default", "fail", None)
    (tmp_path / "6-drill-torn").mkdir()
    (tmp_path / "6-drill-torn" / "timeline.json").write_text('{"name": ')
    found = overview.results(tmp_path)
    rows = overview.table(found)
    assert [
        (each["fault"], each["profile"], each["verdict"], each["drills"], each["p50"], each["max"]) for each in overview.as_json(rows)
    ] == [
        ("power-cut", "default", "pass", 1, 350.0, 350.0),
        ("power-cut", "fenced", "unknown", 3, 35.0, 40.0),
        ("nfs-restart", "default", "fail", 1, None, None),
    ]
    assert overview.lines(rows, ["default", "fenced"])[1].split("  ")[0] == "power-cut"


def test_page_over_all_drills(tmp_path: Path) -> None:
    assert overview.write(tmp_path) is None
    drill(tmp_path, "1-drill-power-cut-default", "drill-power-cut-default", "pass", 350.0)
    page = overview.write(tmp_path)
    assert page is not None
    assert "1-drill-power-cut-default/report.html" in page.read_text()
    assert json.loads((tmp_path / overview.DATA).read_text())[0]["p50"] == 350.0
