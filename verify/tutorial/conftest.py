"""Fixtures of the tutorial's pages and exercises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial

import pytest

from outlive.base.clock import HOST_CLOCK
from outlive.base.errors import LabError
from outlive.base.paths import ROOT
from outlive.course import times
from outlive.course.exercises import EXERCISES, Exercise, Stage
from outlive.course.ownership import MANIFESTS
from outlive.course.pages import Page
from outlive.course.walk import Ground, Shells, Walk
from outlive.lab.inventory import Inventory
from outlive.lab.kube import Cluster
from outlive.lab.registry import mirror_lacks
from outlive.lab.session import Lab
from outlive.lab.ssh import Remote
from outlive.report.model import Report
from verify.tutorial.class_room import AT_ONCE, await_rest, is_of_an_exercise, work_on


@pytest.fixture(scope="session")
def spent() -> Callable[[Page, str, float], None]:
    """Return what is told the seconds of each step of a page that did what the page says; it writes down what a page took once all have."""
    steps: dict[str, dict[str, float]] = {}

    def take(page: Page, step: str, seconds: float) -> None:
        known = steps.setdefault(page.name, {})
        known[step] = seconds
        if len(known) == len(page.blocks) + 1:
            times.keep(page.name, times.Took(round(sum(known.values()), 1), f"{HOST_CLOCK.now().wall:%Y-%m-%d}"))

    return take


@pytest.fixture(scope="session", autouse=True)
def described(alone: None, report: Report) -> Report:
    """Hold the lab, so that no drill breaks it meanwhile, and put its description into the report."""
    del alone
    return report


@pytest.fixture(scope="session")
def whole(lab: Inventory, cluster: Cluster, remote: Remote) -> Lab:
    """Return the lab as one thing."""
    return Lab(lab, cluster, remote)


@pytest.fixture(scope="session")
def lacks(lab: Inventory, remote: Remote) -> Callable[[str], bool]:
    """Return what says whether the lab's mirror lacks an image; it asks once for each."""
    return cache(partial(mirror_lacks, remote, lab.workers[0].name))


@pytest.fixture(scope="session")
def ground(whole: Lab) -> Ground:
    """Return the look at what a page or an exercise could leave behind."""
    return Ground(whole)


@pytest.fixture(scope="session")
def chosen(request: pytest.FixtureRequest) -> list[Exercise]:
    """Return the exercises that are among the run's tests."""
    asked = {item.name for item in request.session.items}
    return [each for each in EXERCISES if f"test_exercise[{each.slug}]" in asked]


@pytest.fixture(scope="session")
def before(chosen: list[Exercise], whole: Lab, ground: Ground) -> frozenset[str]:
    """Return what there is before anything is worked on: nothing of the chosen exercises."""
    if chosen:
        Stage(whole).reset(chosen)
        await_rest(whole.cluster)
    return ground.look()


@pytest.fixture(scope="session")
def outcomes(chosen: list[Exercise], before: frozenset[str], lab: Inventory) -> Iterator[Mapping[str, Future[None]]]:
    """Return how each of the chosen exercises went, or will have gone: work on them begins with the first test that asks."""
    with ThreadPoolExecutor(AT_ONCE) as class_room:
        try:
            yield {each.slug: class_room.submit(work_on, each, lab) for each in chosen}
        finally:
            class_room.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def walk(whole: Lab, ground: Ground) -> Iterator[Walk]:
    """Return the way through the pages; what the last one left is taken away at its end."""
    if not (ROOT / MANIFESTS).is_dir():
        raise LabError(
            f"The folder {MANIFESTS} isn't there: the pages apply the manifests in it, so run `outlive tutorial apply`, which writes it."
        )

    way = Walk(Shells(whole), ground, is_of_an_exercise)
    yield way
    way.end()
