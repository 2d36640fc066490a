"""A file is handed to a pod by the command of exercise 7's solution, again and again, some at a time: none is lost.

Input that `kubectl exec -i` hands over is lost now and then, with status 0 (kubernetes/kubernetes#112834): docs/results.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.course.exercises import WRITTEN, Exercise, Stage, numbered
from outlive.course.pages import Ran
from outlive.course.walk import on_host
from outlive.lab.session import Lab
from verify.tutorial.class_room import solution

TIMES = 300
SIDE_BY_SIDE = 6
SECONDS = 300.0
"""Seconds that one file may take to arrive."""
FOLDER = "/orders"
"""Where the exercise's pod has its files."""


@dataclass(frozen=True)
class Shop:
    """The pod of exercise 7 as its stage has it, with a folder of its node."""

    lab: Lab
    exercise: Exercise
    command: str
    """The command of the solution that hands the file over."""

    def hand_over(self, number: int) -> Ran:
        """Hand a file that no other number has over to a folder of its own."""
        folder = WRITTEN / f"hand-over-{number}"
        (ROOT / folder).mkdir()
        (ROOT / folder / "list").write_text(text(number), encoding="utf-8")
        command = self.command.replace(str(WRITTEN), str(folder)).replace(
            f"cd {FOLDER}", f"mkdir -p {FOLDER}/{number}; cd {FOLDER}/{number}"
        )
        return on_host(command, self.lab.cluster.environment, SECONDS)

    def arrived(self) -> dict[str, str]:
        """Return the checksum of each file, as the pod's node has it."""
        node = self.lab.cluster.pod(self.exercise.namespace, "shop").node
        said = self.lab.remote.check(node, "cd %s && sha256sum */list", self.exercise.node_folder)
        return {path: checksum for checksum, path in (line.split() for line in said.splitlines())}


def text(number: int) -> str:
    """Return what one file holds."""
    return f"order {number}: new\n" * (1 + number % 50)


@pytest.fixture
def shop(whole: Lab) -> Iterator[Shop]:
    """Set the stage of exercise 7; take it and the files away."""
    exercise, stage = numbered("7"), Stage(whole)
    handing = [each.text for block in solution(exercise) for each in block.commands if " exec -i " in each.text]
    if len(handing) != 1:
        raise LabError(f"The solution of exercise 7 has {len(handing)} commands with `exec -i`: one has to hand the file over.")
    try:
        stage.set(exercise)
        yield Shop(whole, exercise, handing[0])
    finally:
        stage.reset([exercise])
        for folder in (ROOT / WRITTEN).glob("hand-over-*"):
            shutil.rmtree(folder)


def test_no_file_is_lost(shop: Shop, remark: Callable[[object], None]) -> None:
    """Of 300 files that are handed to a pod, six at a time, each arrives as it is."""
    numbers = range(1, TIMES + 1)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as hands:
        ran = list(hands.map(shop.hand_over, numbers))
    assert [number for number, each in zip(numbers, ran, strict=True) if each.status != 0] == []
    arrived = shop.arrived()
    wanted = {f"{number}/list": sha256(text(number).encode()).hexdigest() for number in numbers}
    assert {path: checksum for path, checksum in arrived.items() if path in wanted} == wanted
    assert not list(Path(ROOT / WRITTEN).glob("hand-over-*/list")), "the solution leaves its copy on the host"
    again = sum(each.lines != ("list: OK",) for each in ran)
    remark(f"{TIMES} handed over, {SIDE_BY_SIDE} at a time; {again} of them more than once")
