"""The fencing watcher's log as moments of a drill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verify.lab.clock import Instant
from verify.lab.errors import LabError
from verify.lab.fencing import Watcher
from verify.unit.samples import BEGAN


def line(step: str, node: str, at: float) -> str:
    return json.dumps({"wall": "2026-01-02T03:04:05+00:00", "monotonic": at, "step": step, "node": node, "text": ""}) + "\n"


def test_steps_about_the_node_become_moments(tmp_path: Path) -> None:
    log = tmp_path / "fence.jsonl"
    steps = [
        ("started", "", 1),
        ("off", "n1", 1.5),
        ("off", "n1", 2),
        ("off", "n2", 3),
        ("tainted", "n1", 4),
        ("held", "n1", 5),
        ("tainted", "n1", 6),
    ]
    log.write_text("".join(line(*step) for step in steps) + '{"wall": "2026')
    moments = Watcher(log).moments("n1", Instant(2.0, BEGAN))
    assert [(moment.key, moment.at.monotonic) for moment in moments] == [("fence_off", 2.0), ("fence_tainted", 4.0)]


def test_nodes_are_fenced_until_their_taint_is_taken_back(tmp_path: Path) -> None:
    log = tmp_path / "fence.jsonl"
    log.write_text("".join(line(*step) for step in [("tainted", "n1", 1), ("tainted", "n2", 2), ("untainted", "n1", 3)]))
    assert Watcher(log).fenced() == {"n2"}


def test_a_watcher_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(LabError, match=r"The kubeconfig .*none"), Watcher(tmp_path / "fence.jsonl"):
        pass
