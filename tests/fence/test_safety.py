"""The rules of safety under random schedules; the simulation checks them at each call (see ``simulation``).

Events come between any two calls of the watcher, jobs in the background are overtaken by the foreground at each of their calls, and the
watcher is killed at any of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from outlive.fence.watcher import Lanes
from outlive.lab.power import State
from tests.fence.simulation import WORKERS, World


class Killed(BaseException):
    """The watcher was killed."""


class Late(Lanes):
    """Keeps jobs until the schedule lets them run."""

    def __init__(self, done: Callable[[], object]) -> None:
        super().__init__(done)
        self.jobs: dict[str, Callable[[], None]] = {}

    def start(self, lane: str, job: Callable[[], None]) -> bool:
        if lane in self.jobs:
            return False
        self.jobs[lane] = job
        return True


class Schedule:
    """Drives a world by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.unrest = self.random.choice([0.1, 0.02, 0.004])  # a lab that is never calm never gets as far as a power cut
        self.late: Late | None = None
        self.in_job = self.in_step = False
        self.world = World(lanes=self._lanes, runs_pods=True)
        self.world.hook = self._meanwhile

    def run(self, steps: int) -> None:
        """Let things happen, then heal everything."""
        for _ in range(steps):
            self._tick()
            self._guarded(self._step)
            for _ in range(self.random.choice([0, 1, 2, 4])):
                self._guarded(self._job)
        self.world.hook = lambda: None
        self._heal()
        for _ in range(900):
            for name in WORKERS:
                self.world.power_on(name)
            self.world.tick()
            self._step()
            while self.late is not None and self.late.jobs:
                self._job()

    def _lanes(self, done: Callable[[], object]) -> Lanes:
        self.late = Late(done)
        return self.late

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Killed:
            self.in_job = self.in_step = False
            self.world.restart()

    def _step(self) -> None:
        self.in_step = True
        self.world.watcher.step()
        self.in_step = False

    def _job(self) -> None:
        jobs = self.late.jobs if self.late is not None else {}
        if jobs:
            lane = self.random.choice(sorted(jobs))
            self.in_job = True
            jobs[lane]()  # the lane stays busy meanwhile
            self.in_job = False
            jobs.pop(lane, None)

    def _meanwhile(self) -> None:
        """Something leaves the watcher: the world goes on."""
        chance = self.random.random()
        if chance < 0.002:
            raise Killed
        if 0.002 <= chance < 0.002 + self.unrest:
            self._event()
        if chance > 0.7:
            for _ in range(self.random.choice([1, 1, 5, 30])):
                self._tick()
        if self.in_job and not self.in_step and chance > 0.5:
            self._step()

    def _tick(self) -> None:
        self.world.tick()
        if self.random.random() < self.unrest / 2:
            self._event()

    def _event(self) -> None:
        world, name = self.world, self.random.choice(list(WORKERS))
        vm = world.vms[name]
        match self.random.randrange(11):
            case 10:
                vm.paused = vm.state is State.ON and not vm.paused
            case 0 | 1:
                world.power_off(name)
            case 2 | 3 | 4:
                world.power_on(name)
            case 5:
                vm.frozen = vm.state is State.ON and not vm.frozen
            case 6:
                vm.cut_off = not vm.cut_off
            case 7:
                world.api_down = not world.api_down and self.random.random() < 0.3
            case 8:
                world.storage_down = not world.storage_down and self.random.random() < 0.3
            case 9:
                match self.random.randrange(4):
                    case 0:
                        world.save(name)
                    case 1:
                        world.reboot_server()
                    case 2:
                        world.blind = not world.blind
                    case 3:
                        world.stubborn = not world.stubborn

    def _heal(self) -> None:
        world = self.world
        world.api_down = world.storage_down = world.blind = world.stubborn = False
        for vm in world.vms.values():
            vm.frozen = vm.paused = vm.cut_off = False


@pytest.mark.parametrize("seed", range(25))
def test_no_schedule_breaks_the_rules(seed: int) -> None:
    schedule = Schedule(seed)
    schedule.run(250)
    assert all(schedule.world.free(name) for name in WORKERS), schedule.world.nodes


def test_schedules_do_reach_what_they_are_for() -> None:
    steps: set[str] = set()
    for seed in range(25, 40):
        schedule = Schedule(seed)
        schedule.run(150)
        steps.update(step for name in WORKERS for step in schedule.world.steps(name))
    assert {"cut", "off", "revoked", "expired", "tainted", "deleted", "aborted", "opened", "untainted", "failed", "held"} <= steps
