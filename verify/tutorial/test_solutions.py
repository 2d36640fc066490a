"""Each exercise is unsolved at its beginning and solved by its solution; while pages are walked through, others work on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait

import pytest

from outlive.course.exercises import EXERCISES, Exercise
from outlive.course.walk import Ground


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(before: frozenset[str], outcomes: Mapping[str, Future[None]], ground: Ground) -> Iterator[None]:
    """Hold that after the exercises, and the pages beside them, the cluster's objects and the NFS server's files are those that there were."""
    yield
    wait(outcomes.values())
    assert ground.look() == before


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.slug)
def test_exercise(outcomes: Mapping[str, Future[None]], exercise: Exercise) -> None:
    """An exercise is unsolved at its beginning, its solution solves it, and nothing is left of it."""
    outcomes[exercise.slug].result()
