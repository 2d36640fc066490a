"""How far a learner is with all exercises: the table, and one who watches while somebody works on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from outlive import cli
from outlive.base.errors import EXIT_FAIL, EXIT_PASS, EXIT_UNKNOWN
from outlive.course.exercises import EXERCISES
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from tests.course import stages
from tests.course.stages import FakeRemote, Scene
from tests.course.test_grading import begun, solved
from tests.fake_api import FakeApi

pytestmark = pytest.mark.usefixtures("in_lab")

TITLES = [each.title for each in EXERCISES]


@dataclass(frozen=True)
class Room:
    """A lab in which somebody learns."""

    api: FakeApi
    server: FakeRemote

    def show(self, *scenes: Scene) -> None:
        """Let there be these exercises, and no other one."""
        stages.show(self.api, self.server, *scenes)


@pytest.fixture
def room(api: FakeApi, fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Return a lab without exercises, on which the command line works."""
    room = Room(api, FakeRemote())
    room.show()

    @contextmanager
    def prepared() -> Iterator[Lab]:
        yield stages.lab(fake_cluster, room.server)

    monkeypatch.setattr("outlive.lab.session.connect", prepared)
    return room


def rows(out: str) -> dict[str, str]:
    """Return the states of a table, by the exercises' titles."""
    return {title: line.removeprefix(title).strip() for title, line in zip(TITLES, out.splitlines(), strict=True)}


def test_no_exercise_is_started(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    assert "/api/v1/namespaces" in room.api.answers
    assert cli.main(["exercise", "check"]) == EXIT_UNKNOWN
    assert "No exercise is started, so there is nothing to check: run `outlive exercise start 1`" in capsys.readouterr().err


def test_table_of_all(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its row: not started, open with the first finding, solved."""
    room.show(begun(1), solved(3))
    assert cli.main(["exercise", "check"]) == EXIT_FAIL
    assert rows(capsys.readouterr().out) == {
        **dict.fromkeys(TITLES, "not started"),
        TITLES[0]: "open, 2 left: The claim exercise-1/data is Pending; wanted: bound to exercise-1-data.",
        TITLES[2]: "solved",
    }


def test_all_that_are_started_are_solved(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    room.show(solved(1), solved(3))
    assert cli.main(["exercise", "check"]) == EXIT_PASS
    assert set(rows(capsys.readouterr().out).values()) == {"not started", "solved"}


@pytest.mark.parametrize(
    ("metadata", "state"),
    [
        ({"labels": {}}, "open: its stage was set only in part"),
        ({"deletionTimestamp": "2026-01-02T03:04:05Z"}, "open: its stage is going away"),
    ],
)
def test_stage_that_is_not_set_is_not_solved(
    room: Room, metadata: dict[str, object], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    room.show(solved(1), solved(3))
    room.api.answers["/api/v1/namespaces"][0]["items"][2]["metadata"].update(metadata)
    assert cli.main(["exercise", "check"]) == EXIT_FAIL
    assert rows(capsys.readouterr().out)[TITLES[2]] == state


def test_no_answer_is_no_table(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the cluster or of the NFS server: the exercise that was looked at before counts for nothing."""
    room.show(solved(1), solved(3))
    room.server.folders[f"{stages.EXPORT}/exercise-3"] = stages.Output(1, "", "find: gone")
    assert cli.main(["exercise", "check"]) == EXIT_UNKNOWN
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error: Nothing is known of the exercise, as " in shown.err
