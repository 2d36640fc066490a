"""The fencing watcher's log as moments of a drill."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from outlive.base.clock import Instant
from outlive.base.errors import LabError
from outlive.base.wait import WaitTimeoutError, wait_for
from outlive.drill.fencing import WatcherProcess
from tests.samples import BEGAN


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
    moments = WatcherProcess(log, ["n1", "n2"]).moments("n1", Instant(2.0, BEGAN))
    assert [(moment.key, moment.at.monotonic) for moment in moments] == [("fence_off", 2.0), ("fence_tainted", 4.0)]


def test_nodes_are_fenced_until_their_taint_is_taken_back(tmp_path: Path) -> None:
    log = tmp_path / "fence.jsonl"
    log.write_text("".join(line(*step) for step in [("tainted", "n1", 1), ("tainted", "n2", 2), ("untainted", "n1", 3)]))
    assert WatcherProcess(log, ["n1", "n2"]).fenced() == {"n2"}


def test_a_watcher_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(LabError, match=r"The kubeconfig .*none"), WatcherProcess(tmp_path / "fence.jsonl", ["n1"]):
        pass


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *steps: tuple[str, str]) -> None:
    """Put a program in the watcher's place that writes steps into its log, the last one a moment later, and waits for its end."""
    lines = [line(step, node, 1) for step, node in steps]
    program = folder / "watcher"
    program.write_text(f"#!/bin/sh\nprintf %s '{''.join(lines[:-1])}' >>$6\nsleep 0.3\nprintf %s '{lines[-1]}' >>$6\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("outlive.drill.fencing.sys.executable", str(program))


def test_a_watcher_that_ends_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured without it is another profile's; nor does anybody give back what it fenced."""
    stand_in(tmp_path, monkeypatch, ("tainted", "n1"), ("heard", "n1"))
    program = tmp_path / "watcher"
    program.write_text(program.read_text().replace("exec sleep 60", "read -r word <end; echo error: out of memory >&2; exit 1"))
    os.mkfifo(tmp_path / "end")
    monkeypatch.setattr("outlive.drill.fencing.ROOT", tmp_path)
    with WatcherProcess(tmp_path / "log", ["n1"]) as watcher:
        watcher.check()
        (tmp_path / "end").write_text("now\n")
        with pytest.raises(LabError, match=r"^out of memory$"):
            wait_for("watcher", "ended", watcher.check, lambda _: False, within=30, every=0.01)
        with pytest.raises(LabError, match=r"^out of memory$"):
            watcher.check()


def test_nothing_is_broken_before_the_watcher_has_heard_each_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that falls silent before it was heard counts as one that boots, and isn't fenced for minutes."""
    stand_in(tmp_path, monkeypatch, ("started", ""), ("heard", "n1"), ("heard", "n2"))
    log = tmp_path / "fence.jsonl"
    with WatcherProcess(log, ["n1", "n2"]):
        assert log.read_text().count("heard") == 2


def test_a_node_that_the_watcher_never_hears_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, ("started", ""), ("heard", "n1"))
    monkeypatch.setattr("outlive.drill.fencing.WATCHES_WITHIN", 1.5)
    with (
        pytest.raises(WaitTimeoutError, match="fencing watcher: wanted watching n1, n2, last seen heard n1"),
        WatcherProcess(tmp_path / "log", ["n1", "n2"]),
    ):
        pass
