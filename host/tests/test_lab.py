"""What `make test` runs, in which order, and what it leaves out when it is late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host import lab
from verify.lab.errors import LabError

pytestmark = pytest.mark.unit


class Run:
    """A lab that only notes what is asked of it; ``minutes`` is what making it takes."""

    def __init__(self, minutes: float = 0, broken: str = "") -> None:
        self.done: list[str] = []
        self.seconds = 100.0
        self.minutes = minutes
        self.broken = broken

    def make(self) -> None:
        """Take the time that it takes."""
        self.seconds += self.minutes * 60
        self._note("make")

    def pages(self, which: str) -> None:
        """Note the pages."""
        self._note(f"pages {which}")

    def drill(self, faults: str, profile: str) -> None:
        """Note the drills."""
        self._note(f"drill {profile} {faults}")

    def lifecycle(self) -> None:
        """Note that it is switched off and on."""
        self._note("lifecycle")

    def roles(self) -> None:
        """Note the roles' scenarios."""
        self._note("roles")

    def destroy(self) -> None:
        """Note the end."""
        self._note("destroy")

    def _note(self, what: str) -> None:
        self.done.append(what)
        if self.broken and what.startswith(self.broken):
            raise LabError("broken")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    run = Run()
    monkeypatch.setattr(lab, "make", run.make)
    monkeypatch.setattr(lab, "destroy", run.destroy)
    monkeypatch.setattr(lab, "_pages", run.pages)
    monkeypatch.setattr(lab, "_drill", run.drill)
    monkeypatch.setattr(lab, "_lifecycle", run.lifecycle)
    monkeypatch.setattr(lab, "roles", run.roles)
    monkeypatch.setattr(lab, "machine_ids", dict)
    monkeypatch.setattr(lab, "VERIFIED", tmp_path / "verified.json")
    monkeypatch.setattr(lab, "LOGS", tmp_path)
    monkeypatch.setattr(time, "monotonic", lambda: run.seconds)
    yield run


DRILLS = [f"drill {profile} {faults}" for faults, profile in lab.DRILLS]


def test_a_part_of_everything(run: Run) -> None:
    lab.test()
    assert run.done == ["make", f"pages {lab.PAGES}", *DRILLS, "destroy"]


def test_everything_however_late(run: Run) -> None:
    run.minutes = 300
    lab.test(everything=True)
    assert run.done == ["make", "pages ", *DRILLS, "lifecycle", "destroy", "roles"]


def test_late_run_says_what_it_left_out(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.minutes = 56
    lab.test()
    assert run.done == ["make", "destroy"]
    said = capsys.readouterr().out
    assert "pages: not run, 56 minutes have passed and they begin within 55: `make pages` runs them" in said
    assert "drills fenced (power-cut): not run" in said
    assert "`make drills FAULTS=power-cut PROFILES=fenced` runs them" in said


def test_lab_that_was_there_stays(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "machine_ids", lambda: {"k8s-master": "1"})
    lab.test()
    assert "destroy" not in run.done


def test_lab_that_was_there_is_in_the_way_of_the_scenarios(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "machine_ids", lambda: {"k8s-master": "1"})
    lab.test(everything=True)
    assert "roles" not in run.done
    assert "roles' scenarios: not run, since this checkout's lab stays: `make molecule` in another checkout" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["make", "pages", "drill"])
def test_failure_removes_the_lab_and_shows_the_newest_log(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    run.broken = broken
    (tmp_path / "step.log").write_text("why it failed\n")
    with pytest.raises(LabError, match="broken"):
        lab.test()
    assert run.done[-1] == "destroy"
    assert "why it failed" in capsys.readouterr().out
