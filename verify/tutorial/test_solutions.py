"""Each exercise is unsolved at its beginning and solved by its solution; while pages are walked through, others work on them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, wait

import pytest

from verify.lab.exercises import EXERCISES, Exercise
from verify.lab.walk import Ground
from verify.tutorial.class_room import is_of_an_exercise


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.slug)
def test_exercise(outcomes: Mapping[str, Future[None]], exercise: Exercise) -> None:
    """An exercise is unsolved at its beginning, its solution solves it, and nothing is left of it on the nodes."""
    outcomes[exercise.slug].result()


def test_nothing_is_left_of_the_exercises(outcomes: Mapping[str, Future[None]], ground: Ground) -> None:
    """Neither objects of the cluster nor files on the NFS server."""
    wait(outcomes.values())
    assert not [each for each in ground.look() if is_of_an_exercise(each)]
