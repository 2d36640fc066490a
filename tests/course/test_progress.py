"""How far a learner is with all exercises: the table, and one who watches while somebody works on them."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from outlive import cli
from outlive.base.errors import EXIT_FAIL, EXIT_INTERRUPTED, EXIT_PASS, EXIT_UNKNOWN
from outlive.course.exercises import EXERCISES
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Output
from tests.course import stages
from tests.course.stages import FakeRemote, Scene
from tests.course.test_grading import begun, solved
from tests.fake_api import FakeApi
from tests.samples import ManualClock

pytestmark = pytest.mark.usefixtures("in_lab")

TITLES = [each.title for each in EXERCISES]


class Learner(ManualClock):
    """A clock in whose pauses somebody works: each is one of these steps, and there is no pause after the last."""

    def __init__(self) -> None:
        """Have nothing to do."""
        super().__init__()
        self.steps: list[Callable[[], object]] = []

    def rest(self, seconds: float) -> None:
        """Do the next step."""
        super().rest(seconds)
        self.steps.pop(0)()


@dataclass(frozen=True)
class Room:
    """A lab in which somebody learns."""

    api: FakeApi
    server: FakeRemote = field(default_factory=FakeRemote)
    learner: Learner = field(default_factory=Learner)

    def show(self, *scenes: Scene) -> None:
        """Let there be these exercises, and no other one."""
        stages.show(self.api, self.server, *scenes)

    def silence(self, status: int = 503) -> None:
        """Let the API server give no answer, for a reason that it tells."""
        self.api.answers["/api/v1/namespaces"] = [status]


@pytest.fixture
def room(api: FakeApi, fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Return a lab without exercises, on which the command line works."""
    room = Room(api)
    room.show()

    @contextmanager
    def prepared() -> Iterator[Lab]:
        yield stages.lab(fake_cluster, room.server, room.learner)

    monkeypatch.setattr("outlive.lab.session.connect", prepared)
    return room


def rows(out: str) -> dict[str, str]:
    """Return the states of a table, by the exercises' titles."""
    return {title: line.removeprefix(title).strip() for title, line in zip(TITLES, out.splitlines(), strict=True)}


@pytest.mark.usefixtures("room")
def test_no_exercise_is_started(capsys: pytest.CaptureFixture[str]) -> None:
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
        ({"labels": {}}, "open, its stage was set only in part"),
        ({"deletionTimestamp": "2026-01-02T03:04:05Z"}, "open, its stage is going away"),
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
    room.server.folders[f"{stages.EXPORT}/exercise-3"] = Output(1, "", "find: gone")
    assert cli.main(["exercise", "check"]) == EXIT_UNKNOWN
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error: Nothing is known of the exercise, as " in shown.err


def bound_first() -> Scene:
    """Return exercise 1 with its claim mended, and its pod not up yet."""
    it = solved(1)
    it.pods = begun(1).pods
    return it


BEGUN_1 = [
    "- The claim exercise-1/data is Pending; wanted: bound to exercise-1-data.",
    "- The pod exercise-1/app is Pending, on no node; wanted: Running.",
    "open, 2 left: 1. No volume fits",
]


def test_one_is_watched_until_it_is_solved(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    """In a log there is a line for what changed, and none where nothing did."""
    room.show(begun(1), begun(3))
    room.learner.steps = [lambda: None, lambda: room.show(bound_first(), begun(3)), lambda: room.show(solved(1), begun(3))]
    assert cli.main(["exercise", "check", "1", "--watch"]) == EXIT_PASS
    assert room.learner.steps == []
    assert capsys.readouterr().out.splitlines() == [
        "looking every 3 s until it is solved; Ctrl-C ends it",
        *BEGUN_1,
        "open, 1 left: 1. No volume fits",
        "solved: 1. No volume fits",
    ]


def test_all_are_watched_until_those_that_are_started_are_solved(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    room.show(begun(1), begun(3))
    room.learner.steps = [lambda: room.show(solved(1), begun(3)), lambda: room.show(solved(1), solved(3))]
    assert cli.main(["exercise", "check", "--watch"]) == EXIT_PASS
    assert room.learner.steps == []
    first, *table = capsys.readouterr().out.splitlines()
    assert first == "looking every 3 s until all that are started are solved; Ctrl-C ends it"
    assert [line.split("  ")[0] for line in table] == [*TITLES, TITLES[0], TITLES[2]]
    assert [line.split()[-1] for line in table[-2:]] == ["solved", "solved"]


def test_stage_that_is_set_anew_while_it_is_watched(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    """An exercise that is away for a while isn't solved by that, and its watcher stays."""
    room.show(begun(1))
    room.learner.steps = [room.show, lambda: room.show(solved(1))]
    assert cli.main(["exercise", "check", "1", "--watch"]) == EXIT_PASS
    assert capsys.readouterr().out.splitlines()[-2:] == ["not started: 1. No volume fits", "solved: 1. No volume fits"]
    room.show(begun(1))
    room.learner.steps = [room.show, lambda: room.show(solved(1))]
    assert cli.main(["exercise", "check", "--watch"]) == EXIT_PASS
    assert room.learner.steps == []


@pytest.mark.parametrize("number", [[], ["1"]])
def test_server_that_is_away_is_named_once_and_asked_again(room: Room, number: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """At the beginning and later."""
    room.silence()
    another_reason = partial(room.silence, 500)
    room.learner.steps = [another_reason, lambda: room.show(begun(1)), room.silence, another_reason, lambda: room.show(solved(1))]
    assert cli.main(["exercise", "check", *number, "--watch"]) == EXIT_PASS
    assert room.learner.steps == []
    out = capsys.readouterr().out.splitlines()
    silent = [number for number, line in enumerate(out) if line.startswith("Nothing is known now, as the API server http://127.0.0.1:")]
    assert len(silent) == 2
    assert silent[0] == 1
    assert any("2 left" in line for line in out[silent[0] : silent[1]])


@pytest.mark.parametrize(("number", "sentence"), [([], "No exercise is started"), (["1"], "The stage of exercise 1 .* isn't there")])
def test_nothing_to_watch(room: Room, number: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where that is known only after a while."""
    assert cli.main(["exercise", "check", *number, "--watch"]) == EXIT_UNKNOWN
    assert re.search(f"error: {sentence}", capsys.readouterr().err)
    room.silence()
    room.learner.steps = [room.show]
    assert cli.main(["exercise", "check", *number, "--watch"]) == EXIT_UNKNOWN
    assert re.search(f"error: {sentence}", capsys.readouterr().err)


def test_watcher_is_interrupted(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    room.show(begun(1))
    room.learner.steps = [lambda: signal.raise_signal(signal.SIGINT)]
    assert cli.main(["exercise", "check", "--watch"]) == EXIT_INTERRUPTED
    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    assert shown.err.startswith("interrupted: ")
