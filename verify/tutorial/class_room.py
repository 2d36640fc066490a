"""Works on exercises: each is set, is unsolved, is solved by its solution, and leaves nothing behind.

Some are worked on at a time, as in a class: none disturbs another or a page, and the cluster's waits for one are time for the others.
"""

from __future__ import annotations

import re
from contextlib import closing

from outlive.base.paths import ROOT
from outlive.base.wait import wait_for
from outlive.course import pages
from outlive.course.exercises import PAGES, Exercise, Stage
from outlive.course.pages import Block
from outlive.course.walk import Shells
from outlive.lab import kube
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote

AT_ONCE = 3
"""How many exercises are worked on at a time; measured on two cores: docs/results.md. Other numbers weren't tried."""
UNSOLVED_SECONDS = 60
"""Seconds in which a stage has to come to what is wrong with it."""
SOLVED_SECONDS = 300
"""Seconds in which the cluster has to come to what a solution asked for: a kubelet tries a mount again after two minutes at most."""
FIRST = {
    1: r"The claim exercise-1/data is Pending; wanted: bound to exercise-1-data\.",
    2: r"The pod exercise-2/album is .*; wanted: Running\.",
    3: r"The claim exercise-3/new is Pending; wanted: bound to exercise-3-letters\.",
    4: r"The folder \S+/reports on the NFS server has no report; wanted: one, written by the pod\.",
    5: r"The claim exercise-5/ledger is Terminating; wanted: gone\.",
    6: r"The deployment exercise-6/diary has at /diary a volume of the kind emptyDir; wanted: storage that outlives its pods\.",
    7: r"The pod exercise-7/shop is held on a node by its spec; wanted: one that every worker may run\.",
    8: r"Of the pods in exercise-8, writer-1 is Running on \S+ and writer-2 is Running on \S+; wanted: one runs, the other gets no node\.",
    9: r"The deployment exercise-9/db has pods: 2, of its present template: 1, available: 1; wanted: one pod, of the new version, available\.",
}
"""For each exercise a finding that its stage has at the beginning."""


def is_of_an_exercise(name: str) -> bool:
    """Say whether an object, as ``kind/name``, or a path of the export is an exercise's."""
    return re.search(r"/exercise-\d", name) is not None


def blocks(path: str) -> tuple[Block, ...]:
    """Return the blocks of a page."""
    return pages.parse((PAGES / "en" / path).read_text(encoding="utf-8"), path).blocks


def solution(exercise: Exercise) -> tuple[Block, ...]:
    """Return the blocks of an exercise's solution."""
    return blocks(f"solutions/{exercise.slug}.md")


def follow(shells: Shells, found: tuple[Block, ...]) -> None:
    """Run the commands of blocks; a command that fails ends the test."""
    for block in found:
        for command in block.commands:
            ran = shells.run(command)
            assert ran.status == 0, "\n".join([f"line {command.line}: {command.prompt}", f"ended with status {ran.status}", *ran.lines])


def await_rest(cluster: Cluster) -> None:
    """Wait until no pod is on its way out: what an earlier check of the lab took away last isn't this test's."""
    wait_for(
        "pods of the cluster",
        "none Terminating",
        lambda: [pod.name for pod in cluster.all_pods() if pod.deleted],
        lambda leaving: not leaving,
        within=300,
        describe=", ".join,
    )


def work_on(exercise: Exercise, inventory: Inventory) -> None:
    """Set an exercise, look at it, follow its pages, and take it away; by connections of its own, which no other thread uses."""
    with closing(Remote(inventory)) as remote:
        lab = Lab(inventory, kube.connect(), remote)
        stage, shells = Stage(lab), Shells(lab)
        try:
            stage.set(exercise)
            wait_for(
                f"exercise {exercise.slug}, before its solution",
                FIRST[exercise.number],
                lambda: stage.check(exercise),
                lambda wrong: any(re.fullmatch(FIRST[exercise.number], each) for each in wrong),
                within=UNSOLVED_SECONDS,
                describe=" ".join,
            )
            follow(shells, blocks(f"{exercise.slug}.md"))
            assert stage.check(exercise), "to look at it solved it"
            follow(shells, solution(exercise))
            wait_for(
                f"exercise {exercise.slug}, after its solution",
                "no finding",
                lambda: stage.check(exercise),
                lambda wrong: not wrong,
                within=SOLVED_SECONDS,
                every=2.0,
                describe=" ".join,
            )
        finally:
            stage.reset([exercise])
        for worker in lab.workers:
            assert remote.run(worker, "test -e %s", exercise.node_folder).status != 0, f"{exercise.node_folder} is left on {worker}"
    assert not list((ROOT / ".lab/exercises").glob(f"{exercise.slug}*"))
