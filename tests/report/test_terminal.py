"""The closing table."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.verdict import Verdict
from outlive.lab.kube import Cluster
from outlive.report import terminal
from outlive.report.model import Report
from tests.report.test_model import run


def test_report_s_part(tmp_path: Path) -> None:
    report = Report(run(Verdict.PASS, Verdict.FAIL), tmp_path)
    report.write()
    text = terminal.of_report(report.folder)
    assert "380.5 s  first query" in text
    assert "  0.0 s  power-off issued" in text
    assert "Verdict: fail (1 of 2 checks passed)" in text
    assert str(report.folder / "report.html") in text


def test_cluster_s_part(fake_cluster: Cluster) -> None:
    text = terminal.of_cluster(fake_cluster)
    assert "n1  Ready  v9.9.9  192.0.2.11" in text
    assert "default/mysql-u1  n1  Running" in text
    assert "mysql-pv  Bound  Retain  default/mysql-pvc  192.0.2.10:/nfsdata/mysql-pv" in text


def test_both(fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(run(Verdict.PASS), tmp_path)
    report.write()
    monkeypatch.setenv("KUBECONFIG", str(fake_cluster.kubeconfig))
    terminal.show(report.folder)
    printed = capsys.readouterr().out
    assert printed.index("Nodes") < printed.index("Pods") < printed.index("Volumes") < printed.index("Verified") < printed.index("Report:")


def test_report_outlives_its_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Report(run(Verdict.PASS), tmp_path / "reports").write()
    monkeypatch.setattr(terminal, "ROOT", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    terminal.show()
    assert "The lab isn't reached: The kubeconfig" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "has no readable timeline.json"),
        ("{", "has no readable timeline.json"),
        ('{"schema": 99}', "has schema 99, and 1 is what is read"),
    ],
)
def test_report_that_can_not_be_read(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "timeline.json").write_text(content)
    with pytest.raises(LabError, match=sentence):
        terminal.show(tmp_path)


def test_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "ROOT", tmp_path)
    with pytest.raises(LabError, match="There is no report below"):
        terminal.show()


def test_table() -> None:
    assert terminal.table("T", [("a", "bb"), ("ccc", "d")]) == "T\n  a    bb\n  ccc  d\n"
    assert terminal.table("T", []) == ""
