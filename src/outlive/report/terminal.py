"""The short closing table: nodes, pods, volumes, verdicts, the moments of the fail-over and where the report lies.

``python -m verify.summary [--report DIR]``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verify.lab import kube
from verify.lab.errors import LabError
from verify.lab.inventory import ROOT
from verify.lab.kube import Cluster
from verify.lab.report import REPORTS, SCHEMA, latest


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
    data = _read(folder)
    checks = [(each["verdict"], each["title"]) for each in data["checks"]]
    parts = [table("Verified", checks)]
    for timeline in data["timelines"]:
        moments = [(f"{each['seconds']:.1f} s", each["title"], each["detail"]) for each in timeline["moments"]]
        parts.append(table(timeline["title"], _right_aligned(moments)))
    passed = sum(verdict == "pass" for verdict, _ in checks)
    parts.append(f"Verdict: {data['verdict']} ({passed} of {data['planned']} checks passed)\nReport: {folder / 'report.html'}")
    return "\n".join(part for part in parts if part)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the status is 0 where there is a report, whatever its verdict."""
    parser = argparse.ArgumentParser(prog="python -m verify.summary", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--report", type=Path, metavar="DIR", help=f"folder of a report (default: the newest below {REPORTS}/)")
    chosen: Path | None = parser.parse_args(arguments).report
    try:
        reports = Path(os.environ.get("OUTLIVE_REPORTS") or ROOT / REPORTS)
        folder = chosen or latest(reports)
        if folder is None:
            raise LabError(f"There is no report below {reports}: `make verify` writes one.")
        text = of_report(folder)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        print(of_cluster(kube.connect()))
    except LabError as error:
        # A report outlives its lab.
        print(f"The lab isn't reached: {error}\n")
    print(text)
    return 0


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "timeline.json"
    try:
        data: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise LabError(f"--report {folder} has no readable timeline.json ({error}): give a folder below {REPORTS}/.") from error
    if data.get("schema") != SCHEMA:
        raise LabError(f"{path} has schema {data.get('schema')!r}, and {SCHEMA} is what is read here: use the version that wrote it.")
    return data


def _right_aligned(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    width = max((len(row[0]) for row in rows), default=0)
    return [(first.rjust(width), second, third) for first, second, third in rows]


if __name__ == "__main__":
    sys.exit(main())
