"""The short closing table: nodes, pods, volumes, verdicts, the moments of the fail-over and where the report lies."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.lab import kube
from outlive.lab.kube import Cluster
from outlive.report.model import REPORTS, SCHEMA, latest


def table(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text in columns under a title; nothing where there are no rows."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([title, *lines, ""])


def of_cluster(cluster: Cluster) -> str:
    """Return the nodes, the pods and the volumes as they are now."""
    nodes = [(each.name, each.state, each.kubelet, " ".join(each.addresses)) for each in cluster.nodes()]
    pods = [(f"{each.namespace}/{each.name}", each.node or "-", each.state) for each in cluster.all_pods()]
    volumes = [(each.name, each.phase, each.reclaim, each.claim or "-", f"{each.server}:{each.path}") for each in cluster.volumes()]
    return "\n".join(part for part in (table("Nodes", nodes), table("Pods", pods), table("Volumes", volumes)) if part)


def of_report(folder: Path) -> str:
    """Return what a report says: verdicts, moments, and where it lies."""
    data = read(folder)
    checks = [(each["verdict"], each["title"]) for each in data["checks"]]
    parts = [table("Verified", checks)]
    for timeline in data["timelines"]:
        moments = [(f"{each['seconds']:.1f} s", each["title"], each["detail"]) for each in timeline["moments"]]
        parts.append(table(timeline["title"], _right_aligned(moments)))
    passed = sum(verdict == "pass" for verdict, _ in checks)
    parts.append(f"Verdict: {data['verdict']} ({passed} of {data['planned']} checks passed)\nReport: {folder / 'report.html'}")
    return "\n".join(part for part in parts if part)


def show(chosen: Path | None = None) -> None:
    """Print what is in the lab now, as far as it is reached, and what a report says: the newest where none is chosen.

    Raises:
        LabError: there is no such report.
    """
    reports = Path(os.environ.get("OUTLIVE_REPORTS") or ROOT / REPORTS)
    folder = chosen or latest(reports)
    if folder is None:
        raise LabError(f"There is no report below {reports}: `outlive verify` writes one.")
    text = of_report(folder)
    try:
        print(of_cluster(kube.connect()))
    except LabError as error:
        # A report outlives its lab.
        print(f"The lab isn't reached: {error}\n")
    print(text)


def read(folder: Path) -> dict[str, Any]:
    """Return what the ``timeline.json`` of a report's folder says.

    Raises:
        LabError: there is none that can be read, or another version wrote it.
    """
    path = folder / "timeline.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise LabError(f"{folder} has no readable timeline.json ({error}): give a folder below {REPORTS}/.") from error
    if data.get("schema") != SCHEMA:
        raise LabError(f"{path} has schema {data.get('schema')!r}, and {SCHEMA} is what is read here: use the version that wrote it.")
    return data


def _right_aligned(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    width = max((len(row[0]) for row in rows), default=0)
    return [(first.rjust(width), second, third) for first, second, third in rows]
